"""Named, typed training runs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from vocoder.features import MelSpec
from vocoder.models.waveglow import WaveGlowConfig
from vocoder.training.data import Cut
from vocoder.training.objective import Weights


@dataclass(frozen=True)
class Optimiser:
    """AdamW with warm-up, plateau and a linear cool-down over the last part of the run.

    Attributes:
        rate: the plateau's learning rate.
        warmup: steps of linear rise.
        cooldown: part of all steps over which the rate falls to a twentieth.
        betas, weight_decay: AdamW's.
        clip: largest gradient norm.
        ema: decay of the averaged weights, which are the ones published.
    """

    rate: float = 1e-3
    warmup: int = 100
    cooldown: float = 0.25
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 1e-3
    clip: float = 3.0
    ema: float = 0.999

    def factor(self, step: int, steps: int) -> float:
        """The learning rate at ``step`` as a part of the plateau's.

        >>> [round(Optimiser().factor(step, 1000), 3) for step in (0, 99, 500, 875, 999)]
        [0.01, 1.0, 1.0, 0.5, 0.05]
        """
        left = (steps - step) / max(1.0, self.cooldown * steps)
        return min(1.0, (step + 1) / self.warmup, max(0.05, left))


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run, besides the recordings and the machine.

    Attributes:
        steps: the length of the run; the cool-down ends there.
        validate_every, save_every: in steps.
        validation_clips: how many of the validation clips are scored each time.
        temperature: the default that the published checkpoint carries.
        precision: of the networks on a GPU, where it has bfloat16; on a CPU always ``32-true``. bfloat16
            costs a trained small voice the gradient of its spectral term (`benchmarks/reversible.py`).
    """

    name: str
    config: WaveGlowConfig
    spec: MelSpec = field(default_factory=MelSpec)
    cut: Cut = field(default_factory=Cut)
    weights: Weights = field(default_factory=Weights)
    optimiser: Optimiser = field(default_factory=Optimiser)
    steps: int = 20_000
    validate_every: int = 500
    save_every: int = 500
    validation_clips: int = 25
    temperature: float = 0.8
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    seed: int = 0


def small(**shape: object) -> WaveGlowConfig:
    """The small shape: one group a mel frame, a whitening filter in front, conditioning at the frame rate."""
    defaults: dict[str, object] = {
        "group": 256,
        "flows": 8,
        "early_every": 0,
        "early_size": 0,
        "channels": 192,
        "dilations": (1, 3),
        "conditioning": "encoder",
        "cond_channels": 128,
        "cond_layers": 2,
        "front": "filter",
        "bound": 0.7,
    }
    return WaveGlowConfig(**{**defaults, **shape})  # type: ignore[arg-type]  # the fields are checked by WaveGlowConfig


SMALL = Recipe(
    name="waveglow-small",
    config=small(),
    weights=Weights(likelihood=0.3, spectral=2.0, temperature=0.7, likelihood_every=4),
    optimiser=Optimiser(clip=1.0),
    temperature=0.7,
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        SMALL,
        replace(SMALL, name="nice-small", config=small(coupling="additive", mix="swap", bound=None)),
        replace(SMALL, name="realnvp-small", config=small(mix="swap")),
        Recipe(
            name="waveglow-256",
            config=WaveGlowConfig(),
            cut=Cut(batch=12, frames=62),
            optimiser=Optimiser(rate=1e-4, betas=(0.9, 0.999), weight_decay=0.0, cooldown=0.0),
            precision="bf16-mixed",
            steps=580_000,
        ),
    )
}
"""The runs by name: ``waveglow-small`` makes the embedded voice, ``waveglow-256`` is the published one.

``realnvp-small`` and ``nice-small`` are what that would have been before Glow's convolution, and before
RealNVP's scale.
"""
