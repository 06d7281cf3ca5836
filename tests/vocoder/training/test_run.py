"""A run trains, resumes bit for bit, survives a bad step, and publishes a checkpoint that loads."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from vocoder import audio as shore
from vocoder import checkpoint
from vocoder.errors import CheckpointError, InvalidConfig, InvalidInput
from vocoder.training.data import Cut
from vocoder.training.objective import Objective, Weights
from vocoder.training.recipes import Optimiser, Recipe, small
from vocoder.training.run import Run, train

SHAPE = small(flows=2, channels=16, cond_channels=16, cond_layers=1)
RECIPE = Recipe(
    name="test",
    config=SHAPE,
    cut=Cut(batch=4, frames=12),
    weights=Weights(spectral=1.0, likelihood_every=2),
    optimiser=Optimiser(rate=3e-3, warmup=4),
    steps=6,
    validate_every=3,
    save_every=3,
    validation_clips=1,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of four clips of one second of coloured noise for training and one for validation."""
    place, rng = tmp_path_factory.mktemp("speech"), np.random.default_rng(0)
    names = [f"{index}.wav" for index in range(5)]
    for name in names:
        white = rng.standard_normal(22051)
        swell = 0.1 + np.sin(np.linspace(0, 7, 22050)) ** 2
        shore.save(
            place / name, torch.from_numpy(0.05 * swell * (white[1:] + 0.9 * white[:-1])).float(), 22050
        )
    rows = [f"{name}\t{'val' if name == names[-1] else 'train'}\t-" for name in names]
    (place / "metadata.tsv").write_text("\n".join(["file\tsplit\tflags", *rows]))
    return place


def run(folder: Path, out: Path, recipe: Recipe = RECIPE, warm_start: Path | None = None) -> Run:
    """A run of one process on the CPU, not yet started."""
    return Run(Fabric(accelerator="cpu", devices=1), recipe, [folder], out, warm_start)


def weights(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The trained and the averaged weights of a state, under distinct names."""
    return {**state["model"], **{f"average/{name}": value for name, value in state["average"].items()}}


def test_training_lowers_its_objective_and_publishes(folder: Path, tmp_path: Path) -> None:
    """Sixty steps lower both terms, and the published voice is the averaged model in half precision."""
    weights = Weights(spectral=1.0)
    trained = run(folder, tmp_path, replace(RECIPE, steps=60, weights=weights))
    batch = trained.batches(0)
    untrained = {name: value.item() for name, value in Objective(trained.model, weights)(*batch).items()}
    trained.go(float("inf"))
    after = {name: value.item() for name, value in Objective(trained.model, weights)(*batch).items()}
    assert after["nll"] < untrained["nll"] - 0.02 and after["spectral"] < untrained["spectral"] - 0.02
    assert json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])["step"] == 60
    model, header = checkpoint.load(tmp_path / "voice.safetensors")
    assert (header.step, header.temperature, model.config) == (60, RECIPE.temperature, SHAPE)
    for name, value in trained.averaged.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-3, atol=1e-3)


def test_resume_is_bit_exact(folder: Path, tmp_path: Path) -> None:
    """Three steps, everything built anew, three more: the same state as six steps without a break."""
    run(folder, tmp_path / "whole").go(float("inf"))
    cut = run(folder, tmp_path / "cut")
    with stopped_at(cut, 3):
        cut.go(float("inf"))
    assert cut.step == 3
    resumed = run(folder, tmp_path / "cut")
    assert resumed.step == 3
    resumed.go(float("inf"))
    whole = torch.load(tmp_path / "whole" / "state.pt", weights_only=True)
    again = torch.load(tmp_path / "cut" / "state.pt", weights_only=True)
    assert all(torch.equal(value, weights(again)[name]) for name, value in weights(whole).items())
    torch.testing.assert_close(again["optimiser"], whole["optimiser"], rtol=0, atol=0)


@contextmanager
def stopped_at(run: Run, step: int) -> Iterator[None]:
    """Make the run believe that its time is over once it has done so many steps."""
    run._agree = lambda stop: run.step >= step  # type: ignore[method-assign]
    yield


def test_a_step_that_is_not_finite_is_skipped_and_counted(folder: Path, tmp_path: Path) -> None:
    """One batch with an infinite sample changes no weight, and the run goes on and says so."""
    broken = run(folder, tmp_path)
    batches = broken.batches

    def poisoned(step: int) -> tuple[torch.Tensor, ...]:
        audio, mel, noise = batches(step)
        return (audio / 0 if step == 2 else audio), mel, noise

    broken.batches = poisoned  # type: ignore[assignment]
    broken.go(float("inf"))
    assert (broken.step, broken.skipped) == (6, 1)
    assert all(torch.isfinite(value).all() for value in broken.model.state_dict().values())


def test_warm_start_takes_the_weights_and_refuses_another_shape(folder: Path, tmp_path: Path) -> None:
    """A run begins with the published weights; a checkpoint of another shape is an error."""
    first = run(folder, tmp_path / "first")
    first.go(float("inf"))
    voice = tmp_path / "first" / "voice.safetensors"
    warm = run(folder, tmp_path / "second", warm_start=voice)
    published, _ = checkpoint.load(voice)
    assert all(torch.equal(warm.model.state_dict()[n], v) for n, v in published.state_dict().items())
    other = replace(RECIPE, config=replace(SHAPE, channels=24))
    with pytest.raises(InvalidConfig, match="warm-start"):
        run(folder, tmp_path / "third", other, voice)


def test_warm_start_never_meets_a_run_to_resume(folder: Path, tmp_path: Path) -> None:
    """A folder that holds a run is not warm-started over: one of the two would be ignored."""
    run(folder, tmp_path, replace(RECIPE, steps=1)).go(float("inf"))
    with pytest.raises(InvalidConfig, match="holds a run to resume"):
        run(folder, tmp_path, RECIPE, tmp_path / "voice.safetensors")


def test_state_of_another_recipe_or_a_damaged_one_is_refused(folder: Path, tmp_path: Path) -> None:
    """A state belongs to its recipe as it was, and damage is named instead of trained on."""
    run(folder, tmp_path, replace(RECIPE, steps=1)).go(float("inf"))
    with pytest.raises(CheckpointError, match="belongs to the recipe"):
        run(folder, tmp_path, replace(RECIPE, name="another"))
    with pytest.raises(CheckpointError, match="had other cut, weights"):
        run(folder, tmp_path, replace(RECIPE, cut=Cut(batch=2, frames=12), weights=Weights()))
    (tmp_path / "state.pt").write_bytes((tmp_path / "state.pt").read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="not a readable training state"):
        run(folder, tmp_path)


def test_a_broken_file_is_left_out(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One file that is no audio is named in the log, and the others are trained on."""
    shutil.copytree(folder, tmp_path / "speech")
    (tmp_path / "speech" / "0.wav").write_text("no audio")
    assert len(run(tmp_path / "speech", tmp_path / "out").batches.recordings.clips) == 3
    assert "left out" in caplog.text
    assert "0.wav" in caplog.text


@pytest.mark.parametrize("device", ["banana", "mps", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(folder: Path, tmp_path: Path, device: str) -> None:
    """Training never falls back silently to another device."""
    with pytest.raises(InvalidInput, match="device"):
        train(RECIPE, [folder], tmp_path, device=device)
    assert not list(tmp_path.iterdir())


def test_ctrl_c_saves_and_ends(folder: Path, tmp_path: Path) -> None:
    """A signal ends the run after its step: its state is there, the caller told, the handler as before."""

    def interrupt() -> None:
        while not (tmp_path / "tensorboard").exists():  # the run has begun
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    before, sender = signal.getsignal(signal.SIGINT), threading.Thread(target=interrupt)
    sender.start()
    with pytest.raises(KeyboardInterrupt):
        train(replace(RECIPE, steps=10**6), [folder], tmp_path, processes=1, device="cpu")
    sender.join()
    assert signal.getsignal(signal.SIGINT) is before
    assert run(folder, tmp_path).step > 0


PROGRAM = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[4])
from tests.vocoder.training.test_run import RECIPE
from vocoder.training.run import train
torch.set_num_threads(1)  # another number rounds otherwise, which quiet bins of the spectral distance magnify
recipe, folder, out = replace(RECIPE, steps=1), Path(sys.argv[2]), Path(sys.argv[3])
train(recipe, [folder], out, processes=int(sys.argv[1]) or None, device="cpu")
"""


LAUNCHERS = {
    "one process": [sys.executable, "{program}", "1"],
    "two processes": [sys.executable, "{program}", "2"],
    "torchrun": [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "{program}", "0"],
}


@pytest.mark.timeout(280)
def test_two_processes_take_the_step_of_one(folder: Path, tmp_path: Path) -> None:
    """Adam's first moment, which keeps the gradient, is the same for two real processes as for one."""
    (tmp_path / "program.py").write_text(PROGRAM)
    root = Path(__file__).parents[3]
    moments = {}
    for name, launcher in LAUNCHERS.items():
        command = [part.format(program=tmp_path / "program.py") for part in launcher]
        command += [str(folder), str(tmp_path / name), str(root)]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=150, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        state = torch.load(tmp_path / name / "state.pt", weights_only=True)
        moments[name] = [entry["exp_avg"] for entry in state["optimiser"]["state"].values()]
    assert sum(float(moment.abs().sum()) for moment in moments["one process"]) > 0
    for name in ("two processes", "torchrun"):
        torch.testing.assert_close(moments[name], moments["one process"], rtol=1e-3, atol=1e-6)
