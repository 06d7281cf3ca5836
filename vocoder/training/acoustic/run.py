"""The training run of an acoustic model: batches in, averaged weights out, resumable at any moment."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from vocoder import checkpoint
from vocoder.device import choose_device
from vocoder.errors import InvalidConfig
from vocoder.flows import make_reversible
from vocoder.models.glowtts import GlowTTS
from vocoder.text.symbols import SYMBOLS
from vocoder.training.acoustic.batches import Batches
from vocoder.training.acoustic.corpus import Clip, prepare
from vocoder.training.acoustic.objective import Objective
from vocoder.training.acoustic.recipes import Recipe
from vocoder.training.acoustic.validation import Validation
from vocoder.training.interrupt import signals_stop
from vocoder.training.optimiser import adamw, moving_average
from vocoder.training.report import Report, mel_figure
from vocoder.training.state import describe, load_state, save_state

__all__ = ["Run", "train"]


def train(
    recipe: Recipe,
    data: Sequence[Path],
    out: Path,
    *,
    warm_start: Path | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    device: str | None = None,
    reversible: bool = False,
) -> None:
    """Run a recipe on data sets with texts; everything it makes is under ``out``.

    ``out/state.pt`` resumes the run bit for bit (same command again), ``out/voice.safetensors`` holds the
    averaged weights in half precision, ``out/log.jsonl`` and ``out/tensorboard`` tell how it went;
    ``out/train.npz`` and ``out/val.npz`` keep mels and pitch, so that recordings are analysed once.

    Args:
        warm_start: a published checkpoint whose weights the run begins with.
        steps: length of the run, instead of the recipe's; more steps than before continue a finished run.
        minutes: stop (resumably) after so many minutes of this call.
        device: ``cpu`` or ``cuda``; by default CUDA where there is one.
        reversible: train in memory that does not grow with the number of flows, and more time.
    """
    if steps is not None:
        recipe = replace(recipe, steps=steps)
    target = choose_device(device)
    clips = {split: prepare(data, split, recipe.spec, out / f"{split}.npz") for split in ("train", "val")}
    run = Run(recipe, clips["train"], clips["val"], out, warm_start, device=target, reversible=reversible)
    with signals_stop(run.stop):
        run.go(float("inf") if minutes is None else 60 * minutes)


class Run:
    """A run: its model, its averaged copy, its optimiser and its place in the schedule."""

    def __init__(
        self,
        recipe: Recipe,
        clips: Sequence[Clip],
        held_out: Sequence[Clip],
        out: Path,
        warm_start: Path | None = None,
        *,
        device: torch.device | str = "cpu",
        reversible: bool = False,
    ) -> None:
        self.recipe, self.out, self.device, self.reversible = recipe, out, torch.device(device), reversible
        self.batches = Batches(clips, recipe.frames, recipe.seed)
        self.heard = sorted({int(each) for clip in clips for each in clip.ids})
        self.validation = Validation(held_out[: recipe.validation_clips], recipe.temperature)
        self.model = self._model(warm_start).to(self.device)
        make_reversible(self.model, reversible)
        self.objective = Objective(self.model)
        self._initialise()
        out.mkdir(parents=True, exist_ok=True)
        self.average = AveragedModel(self.model, multi_avg_fn=moving_average(recipe.optimiser.ema))
        self.optimiser = adamw(self.model, recipe.optimiser)
        self.step, self.skipped, self.seconds, self.stopping = 0, 0, 0.0, False
        self.scores: dict[str, float] = {}  # of the averaged model, when it was last validated
        self._resume(fresh=warm_start is not None)

    def go(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Train until the last step, or for so many seconds by the clock; save on the way and at the end."""
        self.report = _AcousticReport(self.out, self.recipe.spec, self.recipe.steps, self.step)
        begun, before = clock(), self.seconds
        while self.step < self.recipe.steps and not self.stopping and clock() - begun <= seconds:
            started = time.monotonic()
            terms = self._train_step()
            self.step += 1
            self.seconds = before + clock() - begun
            self._tell(terms, time.monotonic() - started)
        self.save()
        self.report.say(f"step {self.step}: wrote {self.out / 'voice.safetensors'}")
        self.report.close()

    def stop(self) -> None:
        """End after the step that is being done."""
        self.stopping = True

    def save(self) -> None:
        """Write the state and publish the averaged weights."""
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
                "heard": [SYMBOLS[each] for each in self.heard],
                **{name: round(value, 5) for name, value in self.scores.items()},
            },
        )

    @property
    def averaged(self) -> GlowTTS:
        """The model of the averaged weights: what is validated and published."""
        model = self.average.module.eval()
        assert isinstance(model, GlowTTS)
        return model

    def state(self) -> dict[str, Any]:
        """What a bit-exact resume needs: tensors and plain values only."""
        return {
            "recipe": describe(self.recipe),
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            **{name: getattr(self, name) for name in ("step", "skipped", "seconds", "scores")},
        }

    def _model(self, warm_start: Path | None) -> GlowTTS:
        if warm_start is None:
            torch.manual_seed(self.recipe.seed)
            return GlowTTS(self.recipe.config, self.recipe.spec)
        model, _ = checkpoint.load(warm_start, GlowTTS)
        if (model.config, model.spec) != (self.recipe.config, self.recipe.spec):
            raise InvalidConfig(
                f"warm-start checkpoint {warm_start.name} is not of the shape of recipe {self.recipe.name}"
            )
        return model

    @torch.no_grad()
    def _initialise(self) -> None:
        """Let every ActNorm see its first batch, before the weights are copied for their average."""
        self.model.train()
        self.objective(self.batches(0).to(self.device))

    def _resume(self, fresh: bool) -> None:
        if not (self.out / "state.pt").is_file():
            return
        if fresh:
            raise InvalidConfig(f"out (= {self.out}) holds a run to resume, which a warm start would undo")
        state = load_state(self.out / "state.pt", self.recipe)
        for name in ("model", "average", "optimiser"):
            getattr(self, name).load_state_dict(state[name])
        for name in ("step", "skipped", "seconds", "scores"):
            setattr(self, name, state[name])

    def _train_step(self) -> dict[str, Tensor]:
        optimiser = self.recipe.optimiser
        for group in self.optimiser.param_groups:
            group["lr"] = optimiser.rate * optimiser.factor(self.step, self.recipe.steps)
        self.model.train()
        with self._dropping(), self._precision():
            batch = self.batches(self.step).to(self.device)
            terms: dict[str, Tensor] = self.objective(batch, self._guided())
            terms["loss"].backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), optimiser.clip)
        if torch.isfinite(norm):
            self.optimiser.step()
            self.average.update_parameters(self.model)
        else:
            self.skipped += 1
        self.optimiser.zero_grad()
        return {**terms, "gradient_norm": norm}

    def _guided(self) -> float:
        recipe = self.recipe
        return recipe.guided * max(0.0, 1 - self.step / max(1, recipe.guided_steps))

    @contextmanager
    def _dropping(self) -> Iterator[None]:
        """What a network drops in a step is a function of (seed, step) too."""
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self.recipe.seed * 2**32 + self.step)
            yield

    def _precision(self) -> torch.autocast:
        wanted = self.recipe.precision == "bf16-mixed" and _has_bfloat16(self.device)
        return torch.autocast(self.device.type, torch.bfloat16, enabled=wanted)

    def _tell(self, terms: dict[str, Tensor], seconds: float) -> None:
        recipe = self.recipe
        if self.step % 10 == 1 or self.step == recipe.steps:
            values = {name: float(value.detach()) for name, value in terms.items()}
            audio = recipe.frames * recipe.spec.hop_length / recipe.spec.sample_rate
            self.report.step(self.step, {**values, "skipped": self.skipped}, audio / seconds)
        if self.step % recipe.validate_every == 0 or self.step == recipe.steps:
            self._validate()
        if self.step % recipe.save_every == 0:
            self.save()

    def _validate(self) -> None:
        self.scores = self.validation(self.averaged)
        self.report.scores(self.step, {**self.scores, "hours": self.seconds / 3600, "skipped": self.skipped})
        self.report.mels(self.step, *self.validation.sample(self.averaged))


class _AcousticReport(Report):
    """The log of a run whose samples are mels."""

    def scores(self, step: int, line: dict[str, float]) -> None:
        for name, value in line.items():
            self.board.add_scalar(f"val/{name}", value, step)
        shown = ", ".join(f"{name} {value:.3f}" for name, value in line.items() if name != "skipped")
        self.say(f"step {step}: validation {shown}")
        with self.log.open("a", encoding="utf-8") as log:
            log.write(json.dumps({"step": step, **line}) + "\n")

    def mels(self, step: int, *mels: Tensor) -> None:
        """Mels ``[M, L]`` one below the other: the recording's, one with its durations, one of its text."""
        figure = mel_figure(mels)  # type: ignore[arg-type]  # it takes any sequence of them
        self.board.add_figure("mel: recording, as it was spoken, of the text alone", figure, step)
        figure.savefig(self.log.with_name("mels.png"), dpi=60)


def _has_bfloat16(device: torch.device) -> bool:
    """Whether products in bfloat16 are fast there; where they are emulated, they are slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu._is_avx512_bf16_supported())


