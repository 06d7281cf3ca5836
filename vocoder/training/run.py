"""The training run: batches in, averaged weights out, resumable at any moment."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from vocoder import checkpoint
from vocoder.clips import find_clips
from vocoder.device import choose_device
from vocoder.errors import InvalidConfig
from vocoder.flows import make_reversible
from vocoder.models.waveglow import WaveGlow
from vocoder.training.data import Batches, Recordings, shortest_clip
from vocoder.training.interrupt import signals_stop
from vocoder.training.objective import Objective
from vocoder.training.optimiser import adamw, moving_average
from vocoder.training.recipes import Recipe
from vocoder.training.report import Report
from vocoder.training.state import describe, load_state, save_state
from vocoder.training.validation import Validation

TORCHRUN = "TORCHELASTIC_RUN_ID"  # torchrun sets it in the processes that it starts


def train(
    recipe: Recipe,
    data: Sequence[Path],
    out: Path,
    *,
    warm_start: Path | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    processes: int | None = None,
    device: str | None = None,
    reversible: bool = False,
) -> None:
    """Run a recipe on folders of recordings; everything it makes is under ``out``.

    ``out/state.pt`` resumes the run bit for bit (same command again), ``out/voice.safetensors`` holds the
    averaged weights in half precision, ``out/log.jsonl`` and ``out/tensorboard`` tell how it went.

    Args:
        warm_start: a published checkpoint whose weights the run begins with.
        steps: length of the run, instead of the recipe's; more steps than before continue a finished run.
        minutes: stop (resumably) after so many minutes of this call.
        processes: data-parallel processes; by default one for each GPU, and on a CPU one with all threads,
            which `benchmarks/training_speed.py` measured ahead of several for the small voice. Under
            ``torchrun`` its own number counts.
        device: ``cpu`` or ``cuda``; by default CUDA where there is one.
        reversible: train in memory that does not grow with the number of flows, and more time
            (`vocoder.flows.reversible`). A choice of this call like its device: a run may go on with either,
            and is resumed bit for bit with the same. State and voice say which the last call made.
    """
    if steps is not None:
        recipe = replace(recipe, steps=steps)
    fabric = _fabric(choose_device(device), processes, recipe.precision)
    fabric.launch()
    run = Run(fabric, recipe, data, out, warm_start, reversible=reversible)
    with signals_stop(run.stop):
        run.go(float("inf") if minutes is None else 60 * minutes)


def _fabric(
    device: torch.device, processes: int | None, precision: Literal["32-true", "bf16-mixed"]
) -> Fabric:
    processes = processes or _default_processes(device)
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        one = [device.index] if device.index is not None else processes
        return Fabric(accelerator="cuda", devices=one, precision=precision if native else "32-true")
    if processes > 1:
        torch.set_num_threads(1)
    parallel = processes > 1 or TORCHRUN in os.environ
    strategy = DDPStrategy(process_group_backend="gloo") if parallel else "auto"
    return Fabric(accelerator="cpu", devices=processes, strategy=strategy)


def _default_processes(device: torch.device) -> int:
    if TORCHRUN in os.environ:
        return int(os.environ["LOCAL_WORLD_SIZE"])
    return torch.cuda.device_count() if device.type == "cuda" else 1


class Run:
    """One process of a run: its model, its averaged copy, its optimiser and its place in the schedule."""

    def __init__(
        self,
        fabric: Fabric,
        recipe: Recipe,
        data: Sequence[Path],
        out: Path,
        warm_start: Path | None,
        *,
        reversible: bool = False,
    ) -> None:
        self.fabric, self.recipe, self.out, self.reversible = fabric, recipe, out, reversible
        quiet = not fabric.is_global_zero
        shortest = shortest_clip(recipe.spec, recipe.cut)
        recordings = Recordings(_clips(data, "train"), recipe.spec, shortest, quiet=quiet)
        self.batches = Batches(
            recordings, recipe.spec, recipe.cut, recipe.seed, fabric.global_rank, fabric.world_size
        )
        self.model = self._model(warm_start)
        make_reversible(self.model, reversible)
        self.held_out = self._held_out(data)
        out.mkdir(parents=True, exist_ok=True)
        average = moving_average(recipe.optimiser.ema)
        self.average = AveragedModel(self.model, multi_avg_fn=average).to(fabric.device)
        self.optimiser = adamw(self.model, recipe.optimiser)
        self.step, self.skipped, self.seconds, self.stopping = 0, 0, 0.0, False
        self.nll: float | None = None  # of the averaged model, when it was last validated
        self._resume(fresh=warm_start is not None)
        self.objective, self.wrapped = fabric.setup(Objective(self.model, recipe.weights), self.optimiser)

    def go(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Train until the last step, or for so many seconds by the clock; save on the way and at the end."""
        self.report = (
            Report(self.out, self.recipe.spec, self.recipe.steps, self.step)
            if self.fabric.is_global_zero
            else None
        )
        begun = clock()
        before = self.seconds
        while self.step < self.recipe.steps and not self._agree(self.stopping or clock() - begun > seconds):
            started = time.monotonic()
            terms = self._train_step()
            self.step += 1
            self.seconds = before + clock() - begun
            self._tell(terms, time.monotonic() - started)
        self.save()
        if self.report:
            self.report.say(f"step {self.step}: wrote {self.out / 'voice.safetensors'}")
            self.report.close()

    def stop(self) -> None:
        """End after the step that is being done."""
        self.stopping = True

    def save(self) -> None:
        """Write the state and publish the averaged weights (first process only)."""
        if not self.fabric.is_global_zero:
            return
        save_state(self.out / "state.pt", self.state())
        checkpoint.save(
            self.out / "voice.safetensors",
            self.averaged,
            name=self.recipe.name,
            temperature=self.recipe.temperature,
            dtype=torch.float16,
            step=self.step,
            extra={
                "recipe": self.recipe.name,
                "hours": round(self.seconds / 3600, 3),
                "skipped": self.skipped,
                "reversible": self.reversible,
                "nll": self.nll,
            },
        )

    @property
    def averaged(self) -> WaveGlow:
        """The model of the averaged weights: what is validated and published."""
        model = self.average.module.eval()
        assert isinstance(model, WaveGlow)
        return model

    def state(self) -> dict[str, Any]:
        return {
            "recipe": describe(self.recipe),
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "skipped": self.skipped,
            "seconds": self.seconds,
            "reversible": self.reversible,
        }

    def _model(self, warm_start: Path | None) -> WaveGlow:
        if warm_start is None:
            torch.manual_seed(self.recipe.seed)
            return WaveGlow(self.recipe.config, self.recipe.spec).to(self.fabric.device)
        model, _ = checkpoint.load(warm_start)
        if (model.config, model.spec) != (self.recipe.config, self.recipe.spec):
            raise InvalidConfig(
                f"warm-start checkpoint {warm_start.name} is not of the shape of recipe {self.recipe.name}"
            )
        return model.to(self.fabric.device)

    def _held_out(self, data: Sequence[Path]) -> list[np.ndarray]:
        # In every process, though one alone validates: what cannot be read should end all of them alike.
        clips = _clips(data, "val")[: self.recipe.validation_clips]
        return Recordings(clips, self.recipe.spec, self.recipe.spec.n_fft, quiet=True).clips

    def _resume(self, fresh: bool) -> None:
        if not (self.out / "state.pt").is_file():
            return
        if fresh:
            raise InvalidConfig(f"out (= {self.out}) holds a run to resume, which a warm start would undo")
        state = load_state(self.out / "state.pt", self.recipe)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.skipped, self.seconds = state["step"], state["skipped"], state["seconds"]

    def _train_step(self) -> dict[str, Tensor]:
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.optimiser.rate * self.recipe.optimiser.factor(
                self.step, self.recipe.steps
            )
        audio, mel, noise = (part.to(self.fabric.device) for part in self.batches(self.step))
        terms: dict[str, Tensor] = self.objective(audio, mel, noise)
        self.fabric.backward(terms["loss"])
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.optimiser.clip)
        # The gradients are already averaged over the processes, so that all of them skip the same steps.
        if torch.isfinite(norm):
            self.wrapped.step()
            self.average.update_parameters(self.model)
        else:
            self.skipped += 1
        self.wrapped.zero_grad()
        return {**terms, "gradient_norm": norm}

    def _tell(self, terms: dict[str, Tensor], seconds: float) -> None:
        if not self.report:
            return
        recipe = self.recipe
        if self.step % 10 == 1 or self.step == recipe.steps:
            audio = recipe.cut.batch * recipe.cut.frames * recipe.spec.hop_length / recipe.spec.sample_rate
            values = {name: float(value.detach()) for name, value in terms.items()}
            self.report.step(self.step, {**values, "skipped": self.skipped}, audio / seconds)
        if self.step % recipe.validate_every == 0 or self.step == recipe.steps:
            self._validate()
        if self.step % recipe.save_every == 0:
            self.save()

    def _validate(self) -> None:
        assert self.report
        validation = Validation(self.held_out, self.model)
        model = self.averaged
        self.nll = validation(model)
        line = {"nll": self.nll, "hours": self.seconds / 3600, "skipped": self.skipped}
        self.report.validation(self.step, line)
        self.report.sample(self.step, *validation.sample(model, self.recipe.temperature))

    def _agree(self, stop: bool) -> bool:
        """All processes stop at the same step: one that went on alone would wait for the others for ever."""
        if self.fabric.world_size == 1:
            return stop
        return bool(self.fabric.broadcast(stop, src=0))


def _clips(data: Sequence[Path], split: str) -> list[Path]:
    return [clip for folder in data for clip in find_clips(Path(folder), split, flagged=split != "train")]
