"""Named, typed training runs of acoustic models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from vocoder.features import MelSpec
from vocoder.models.glowtts import GlowTTSConfig
from vocoder.training.recipes import Optimiser

__all__ = ["RECIPES", "Recipe"]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run, besides the recordings and the machine.

    Attributes:
        frames: padded mel frames of a batch.
        guided, guided_steps: how strongly the first alignments are held near to where symbols are expected
            (`vocoder.training.acoustic.nudge`), and over how many steps that fades away.
        steps: the length of the run; the cool-down ends there.
        validate_every, save_every: in steps.
        validation_clips: how many of the validation clips are scored each time.
        temperature: the default that the published checkpoint carries.
        precision: of the couplings' networks, where the machine has bfloat16 in its vector units; what
            aligns, and what mixes channels, is in float32 always.
    """

    name: str
    config: GlowTTSConfig = field(default_factory=GlowTTSConfig)
    spec: MelSpec = field(default_factory=MelSpec)
    optimiser: Optimiser = field(default_factory=lambda: Optimiser(warmup=500, cooldown=0.4, clip=1.0))
    frames: int = 4096
    guided: float = 10.0
    guided_steps: int = 300
    steps: int = 20_000
    validate_every: int = 500
    save_every: int = 250
    validation_clips: int = 25
    temperature: float = 0.667
    precision: Literal["32-true", "bf16-mixed"] = "bf16-mixed"
    seed: int = 0


RECIPES: dict[str, Recipe] = {"glowtts-small": Recipe(name="glowtts-small")}
"""The runs by name: ``glowtts-small`` makes the embedded acoustic model."""
