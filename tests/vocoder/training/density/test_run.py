"""A run in a folder: it publishes a model that loads, resumes bit for bit, and refuses what is not its."""

import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vocoder import checkpoint
from vocoder.errors import CheckpointError, InvalidConfig
from vocoder.models.density import DensityModel
from vocoder.models.nice import NICEConfig
from vocoder.models.realnvp import RealNVPConfig
from vocoder.training.density.data import Dataset, Part
from vocoder.training.density.presets import configure
from vocoder.training.density.recipe import Length, Recipe
from vocoder.training.density.run import Run, train
from vocoder.training.density.trainer import score

CONFIG = NICEConfig((4,), 8, "logit", 0.2, couplings=3, layers=1, width=8)
RECIPE = Recipe("test", batch=16, rate=1e-2, ema=0.9, validations=3)


def data() -> Dataset:
    """Numbers that follow from one another."""
    x = (torch.arange(96)[:, None] * 5 + torch.arange(4)) % 8
    return Dataset("tiny", 8, Part(x[:64]), Part(x[64:80]), Part(x[80:]))


def run(out: Path, steps: int = 6, config: NICEConfig = CONFIG, recipe: Recipe = RECIPE) -> Run:
    """A run, not yet started."""
    return Run(config, data(), recipe, out, Length(steps=steps), source="tiny.npz")


def test_a_run_publishes_its_best_weights(tmp_path: Path) -> None:
    """The checkpoint is the finished model, and scores what the result says; the log has every validation."""
    done = run(tmp_path)
    result = train(done)
    assert result is not None
    model, header = checkpoint.load(tmp_path / "model.safetensors", DensityModel)
    assert (header.name, header.step, header.extra["source"]) == ("test", result.best_step, "tiny.npz")
    assert score(model, data().test, data()) == result.bits_per_dim
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [2, 4, 6]
    assert min(line["bits_per_dim"] for line in log) == result.validation == header.extra["validation"]
    assert result.to_markdown().splitlines()[2].startswith("| test | tiny | ")
    assert result.to_dict()["steps"] == 6


def test_resume_is_bit_exact(tmp_path: Path) -> None:
    """Stopped after three steps and called again, a run ends with the very file of one without a break."""
    train(run(tmp_path / "whole"))
    cut = run(tmp_path / "cut")
    step = cut.trainer.train_step

    def until_three() -> float:
        value = step()
        if cut.trainer.step == 3:
            cut.stop()
        return value

    cut.trainer.train_step = until_three  # type: ignore[method-assign]
    assert train(cut) is None
    resumed = run(tmp_path / "cut")
    assert resumed.trainer.step == 3
    train(resumed)
    whole, again = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut"))
    assert whole == again


def test_a_finished_run_only_tells_its_result(tmp_path: Path) -> None:
    """The same command again trains nothing; with more steps it goes on."""
    first, again = train(run(tmp_path)), train(run(tmp_path))
    assert first is not None and again is not None
    assert (again.steps, again.bits_per_dim) == (6, first.bits_per_dim)
    longer = train(run(tmp_path, steps=9))
    assert longer is not None
    assert longer.steps == 9


def test_a_state_of_another_run_is_refused(tmp_path: Path) -> None:
    """Another model, recipe or data set does not go on with a state, and damage is named."""
    train(run(tmp_path))
    with pytest.raises(CheckpointError, match="another config"):
        run(tmp_path, config=replace(CONFIG, width=9))
    with pytest.raises(CheckpointError, match="other ema"):
        run(tmp_path, recipe=replace(RECIPE, ema=0.5))
    with pytest.raises(CheckpointError, match="belongs to the recipe"):
        run(tmp_path, recipe=replace(RECIPE, name="another"))
    (tmp_path / "state.pt").write_bytes((tmp_path / "state.pt").read_bytes()[:500])
    with pytest.raises(CheckpointError, match="not a readable training state"):
        run(tmp_path)


def test_ctrl_c_saves_and_ends(tmp_path: Path) -> None:
    """A signal ends the run after its step, with its state saved, and the caller is told."""

    def interrupt() -> None:
        while not (tmp_path / "model.safetensors").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    long = run(tmp_path, steps=10**6, recipe=replace(RECIPE, validations=10**5))
    sender = threading.Thread(target=interrupt)
    sender.start()
    with pytest.raises(KeyboardInterrupt):
        train(long)
    sender.join()
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["step"] == long.trainer.step >= 10


@pytest.mark.parametrize("name", ["tiny", "digits", "cifar10"])
def test_vectors_have_a_preset(name: str) -> None:
    """A RealNVP of vectors is shaped as that of the moons, with the levels of the data and a logit."""
    vectors = replace(data(), name=name)
    config, recipe = configure("realnvp", vectors)
    moons = RealNVPConfig.moons()
    assert config == replace(moons, shape=(4,), levels=8, preprocess="logit")
    assert recipe.name == f"realnvp-{name}"
    assert configure("realnvp", vectors, "moons")[0] == replace(moons, shape=(4,), levels=8)


def test_vectors_of_a_file_train(tmp_path: Path) -> None:
    """Integers [N, D] of any levels are learned by a RealNVP from start to end."""
    config, recipe = configure("realnvp", data())
    result = train(Run(config, data(), recipe, tmp_path, Length(steps=3)))
    assert result is not None
    assert 0 < result.bits_per_dim < 5


def test_configurations_fit_the_data() -> None:
    """A preset gets the shape and the levels of the data, and the recipe its name; glow takes images only."""
    config, recipe = configure("nice", data())
    assert (config.shape, config.levels, recipe.name) == ((4,), 8, "nice-tiny")
    with pytest.raises(InvalidConfig, match="image"):
        configure("glow", data())
    with pytest.raises(InvalidConfig, match="preset"):
        configure("glow", data(), "nothing")
