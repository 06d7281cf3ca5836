"""A run in a folder: resumable at any moment, its best weights as a checkpoint, its course as a log."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from vocoder import checkpoint
from vocoder.errors import CheckpointError
from vocoder.flows import make_reversible
from vocoder.models.catalogue import build
from vocoder.models.density import DensityModel
from vocoder.models.density_config import DensityConfig
from vocoder.training.density.data import Dataset
from vocoder.training.density.recipe import Length, Recipe
from vocoder.training.density.trainer import TEST_DRAWS, Clock, Trainer, score
from vocoder.training.interrupt import signals_stop
from vocoder.training.state import load_state, save_state

SAVE_EVERY = 60.0  # seconds of training between two states on the way
SCORED_AT_ALL = 20_000  # test images, each as often as it is drawn; many images need few draws


@dataclass(frozen=True)
class Result:
    """How a run ended.

    Attributes:
        model, data: what was trained, on what.
        bits_per_dim: mean over the test part, of the best weights.
        draws: of the noise that it is a mean of; 20, and fewer where there are more than 1000 test images.
        validation: bits per dimension of the validation part, of the best weights.
        parameters: how many numbers.
        steps, seconds: of training, all calls together; validation is not counted.
        best_step: the step of the best weights.
        skipped: steps left out because their gradient was not finite.
    """

    model: str
    data: str
    bits_per_dim: float
    draws: int
    validation: float
    parameters: int
    steps: int
    seconds: float
    best_step: int
    skipped: int

    def to_dict(self) -> dict[str, Any]:
        """The fields, for JSON."""
        return asdict(self)

    def to_markdown(self) -> str:
        """One row of a table, with its head."""
        head = "| model | data | bits/dim (test) | validation | parameters | steps | seconds |"
        rule = "|---|---|---|---|---|---|---|"
        scores = f"{self.bits_per_dim:.4f} | {self.validation:.4f}"
        counts = f"{self.parameters} | {self.steps} | {self.seconds:.1f}"
        return f"{head}\n{rule}\n| {self.model} | {self.data} | {scores} | {counts} |"


class Run:
    """A `Trainer` whose state lies in ``out/state.pt``; the same call again goes on with it.

    ``out/model.safetensors`` holds the best weights so far, ``out/log.jsonl`` a line for each validation.

    Args:
        config: of the model, whose weights start from the recipe's seed.
        reversible: train in memory that does not grow with depth. A choice of this call, like its device.
        source: by what `vocoder.images.load` found the data, for the checkpoint to tell.
    """

    def __init__(
        self,
        config: DensityConfig,
        data: Dataset,
        recipe: Recipe,
        out: Path,
        length: Length,
        *,
        device: torch.device | str = "cpu",
        reversible: bool = False,
        source: str | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.recipe, self.out, self.source, self.stopping = recipe, out, source, False
        self.about = {"config": config.to_dict(), "data": data.name}
        torch.manual_seed(recipe.seed)
        model = build(config).to(device)
        make_reversible(model, reversible)
        self.trainer = Trainer(model, data, recipe, length, clock)
        out.mkdir(parents=True, exist_ok=True)
        if self._state.is_file():
            self._resume()

    def go(self) -> Result | None:
        """Train to the end, save, and score the best weights; None if a wish to stop came first."""
        saved = self.trainer.seconds
        with tqdm(total=1000, unit="‰", dynamic_ncols=True, disable=None, file=sys.stderr) as bar:
            while self.trainer.progress < 1 and not self.stopping:
                loss = self.trainer.train_step()
                if self.trainer.due:
                    self._validate(bar.write)
                if self.trainer.seconds - saved > SAVE_EVERY:
                    self.save()
                    saved = self.trainer.seconds
                self._show(bar, loss)
        self.save()
        return None if self.trainer.progress < 1 else self._result()

    def stop(self) -> None:
        """End after the step that is being done."""
        self.stopping = True

    def save(self) -> None:
        """Write the state whole or not at all."""
        save_state(self._state, {"recipe": self._description(), **self.about, **self.trainer.state()})

    def finished(self) -> DensityModel:
        """The model with its best weights, in evaluation mode."""
        model = self.trainer.finished()
        assert isinstance(model, DensityModel)
        return model

    @property
    def _state(self) -> Path:
        return self.out / "state.pt"

    def _description(self) -> str:
        return json.dumps({**asdict(self.recipe), "steps": None}, sort_keys=True)

    def _resume(self) -> None:
        state = load_state(self._state, self.recipe)
        for name, value in self.about.items():
            if json.dumps(state.get(name)) != json.dumps(value):
                raise CheckpointError(f"{self._state} was made with another {name}; choose another folder")
        self.trainer.load_state(state)

    def _validate(self, say: Callable[..., None]) -> None:
        trainer = self.trainer
        before = trainer.best["step"]
        value = trainer.validate()
        line = {"step": trainer.step, "seconds": round(trainer.seconds, 2), "bits_per_dim": value}
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        if trainer.best["step"] != before:
            self._publish()
        say(f"step {trainer.step}: validation {value:.4f} bits/dim", file=sys.stderr)

    def _publish(self) -> None:
        best = self.trainer.best
        model = self.finished()
        extra = {"recipe": self.recipe.name, "source": self.source, "validation": best["bits"]}
        checkpoint.save(
            self.out / "model.safetensors", model, name=self.recipe.name, step=best["step"], extra=extra
        )

    def _show(self, bar: Any, loss: float) -> None:
        bar.set_postfix(step=self.trainer.step, bits=f"{loss:.3f}", refresh=False)
        bar.update(int(1000 * self.trainer.progress) - bar.n)

    def _result(self) -> Result:
        trainer, model = self.trainer, self.finished()
        test = trainer.data.test
        draws = max(1, min(TEST_DRAWS, SCORED_AT_ALL // len(test)))
        return Result(
            model=self.recipe.name,
            data=trainer.data.name,
            bits_per_dim=score(model, test, trainer.data, draws),
            draws=draws,
            validation=trainer.best["bits"],
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            steps=trainer.step,
            seconds=round(trainer.seconds, 2),
            best_step=trainer.best["step"],
            skipped=trainer.skipped,
        )


def train(run: Run) -> Result | None:
    """Let a run go; Ctrl-C and SIGTERM end it after its step, saved, and are then a `KeyboardInterrupt`."""
    with signals_stop(run.stop):
        return run.go()
