"""How a density is trained: the optimiser's numbers, and how long."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vocoder.errors import InvalidConfig


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run besides the model, the data and the length.

    Attributes:
        name: of the run.
        batch: B, examples a step.
        rate: of AdamW, at the top of the warm-up; from there it falls along half a cosine.
        floor: part of the rate that is left at the end.
        warmup: steps of linear rise.
        betas: AdamW's.
        weight_decay: AdamW's, of the weights of networks; what belongs to a flow itself (its mixing matrices,
            its scales) and what is one number a channel does not decay.
        clip: largest norm of a gradient.
        ema: decay of the averaged weights, which are validated and kept; 0 for none.
        validations: how often the run is validated, at equal parts of its length.
        validation_draws: fixed draws of noise that a validation averages over.
        held_out: the first so many validation images are scored.
        flip: whether half of the images of a batch are mirrored.
        seed: of batches and noise; that of the weights' start is the caller's.
    """

    name: str
    batch: int = 128
    rate: float = 1e-3
    floor: float = 0.0
    warmup: int = 20
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    clip: float = 50.0
    ema: float = 0.0
    validations: int = 30
    validation_draws: int = 4
    held_out: int = 1000
    flip: bool = False
    seed: int = 0

    def factor(self, step: int, progress: float) -> float:
        """The learning rate at ``step``, so far through the run, as a part of the top.

        >>> recipe = Recipe("example", warmup=10)
        >>> [round(recipe.factor(*at), 3) for at in ((0, 0.0), (9, 0.0), (50, 0.5), (99, 1.0))]
        [0.1, 1.0, 0.5, 0.0]
        """
        falling = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        return min(1.0, (step + 1) / max(1, self.warmup)) * (self.floor + (1 - self.floor) * falling)


@dataclass(frozen=True)
class Length:
    """How long a run is: so many steps, or so many seconds of training, validation not counted.

    A run of steps is the same on every machine, bit for bit; one of seconds learns as much as the machine
    can in them. Exactly one of the two is given, above zero, else `InvalidConfig`.
    """

    steps: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.steps, self.seconds) if value is not None]
        if len(given) != 1 or not given[0] > 0:
            told = f"steps (= {self.steps}) and seconds (= {self.seconds})"
            raise InvalidConfig(f"exactly one of {told} must be given, above 0")

    def progress(self, step: int, seconds: float) -> float:
        """How far a run is that has done so many steps in so many seconds: 0 at its start, 1 at its end."""
        return step / self.steps if self.steps is not None else seconds / (self.seconds or 1.0)
