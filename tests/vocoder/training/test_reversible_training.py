"""`--reversible` trains the same voice with fewer activations kept, and says that it did."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor

from tests.vocoder.flows.test_reversible import saved_bytes
from vocoder import audio, checkpoint
from vocoder.cli import main
from vocoder.training.data import Cut
from vocoder.training.objective import Weights
from vocoder.training.recipes import Optimiser, Recipe, small
from vocoder.training.run import Run

RECIPE = Recipe(
    name="test",
    config=small(flows=3, channels=16, cond_channels=16, cond_layers=1),
    cut=Cut(batch=4, frames=12),
    weights=Weights(spectral=1.0, likelihood_every=2),
    optimiser=Optimiser(rate=3e-3, warmup=1),
    steps=1000,
    validate_every=1000,
    validation_clips=1,
)

Start = Callable[..., Run]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two clips of two seconds of noise for training and one for validation."""
    place = tmp_path / "speech"
    place.mkdir()
    for name in "abc":
        audio.save(place / f"{name}.wav", 0.1 * torch.randn(44100), 22050)
    (place / "metadata.tsv").write_text("file\tsplit\na.wav\ttrain\nb.wav\ttrain\nc.wav\tval\n")
    return place


@pytest.fixture
def start(folder: Path, tmp_path: Path) -> Start:
    """Begin or resume the run of that name."""

    def begin(name: str, *, reversible: bool) -> Run:
        fabric = Fabric(accelerator="cpu", devices=1)
        return Run(fabric, RECIPE, [folder], tmp_path / name, None, reversible=reversible)

    return begin


def train(run: Run, until: int) -> dict[str, Any]:
    """Go on to that step and stop there; the state that it has left."""
    run._agree = lambda stop: run.step >= until  # type: ignore[method-assign]
    run.go(float("inf"))
    state: dict[str, Any] = torch.load(run.out / "state.pt", weights_only=True)
    assert state["step"] == until
    return state


def loss(run: Run) -> list[Tensor]:
    """That of the first batch."""
    return [run.objective(*run.batches(0))["loss"]]


def test_it_keeps_less_and_learns_the_same(start: Start) -> None:
    """A first step takes half of the memory or less, and leaves the same gradient in Adam's moments."""
    moments, sizes = [], []
    for reversible in (False, True):
        run = start(f"{reversible}", reversible=reversible)
        sizes.append(saved_bytes(partial(loss, run), run.model.parameters()))
        optimiser = train(run, 1)["optimiser"]["state"]
        moments.append(torch.cat([entry["exp_avg"].flatten() for entry in optimiser.values()]))
    assert sizes[1] < 0.5 * sizes[0]
    assert moments[0].norm() > 0
    assert (moments[1] - moments[0]).norm() < 1e-3 * moments[0].norm()


def test_a_run_is_resumed_bit_for_bit_the_same_way(start: Start) -> None:
    """Two steps, everything built anew, two more: the state of four steps without a break."""
    whole = train(start("whole", reversible=True), 4)
    train(start("cut", reversible=True), 2)
    again = train(start("cut", reversible=True), 4)
    for name in ("model", "average"):
        torch.testing.assert_close(again[name], whole[name], rtol=0, atol=0)


def test_a_run_may_go_on_the_other_way(start: Start) -> None:
    """What was begun with stored activations goes on without; state and voice say which it was last."""
    assert train(start("run", reversible=False), 2)["reversible"] is False
    resumed = start("run", reversible=True)
    assert resumed.step == 2
    state = train(resumed, 4)
    assert state["reversible"] is True
    assert checkpoint.load(resumed.out / "voice.safetensors")[1].extra["reversible"] is True
    straight = start("straight", reversible=False)
    train(straight, 4)
    torch.testing.assert_close(loss(resumed), loss(straight), rtol=0.02, atol=0)  # Adam magnifies rounding


def test_the_command_has_the_switch(folder: Path, tmp_path: Path) -> None:
    """`vocoder train --reversible` leaves a voice that says so."""
    place = ["--data", str(folder), "--out", str(tmp_path / "run")]
    limits = ["--steps", "1", "--processes", "1", "--device", "cpu", "--reversible"]
    assert main(["train", "--recipe", "waveglow-small", *place, *limits]) == 0
    assert checkpoint.load(tmp_path / "run" / "voice.safetensors")[1].extra["reversible"] is True
