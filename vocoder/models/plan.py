"""When each symbol is spoken and how high: what a caller gives is obeyed, the rest is as predicted.

Letters: N symbols, L mel frames.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vocoder.errors import InvalidInput
from vocoder.models.intonation import filled, through

__all__ = ["Plan", "Predicted", "planned"]

PACES = (0.25, 4.0)
LONGEST = 2000.0  # frames that a symbol is predicted to last at most, 23 seconds at the default hop


class Predicted(NamedTuple):
    """What a text leads one to expect, ``[B, N]`` each: ln frames, and ln f0 in hertz."""

    log_duration: Tensor
    log_f0: Tensor


class Plan(NamedTuple):
    """Durations ``[N]`` in frames, and ln f0 ``[L]`` in hertz without gaps, L the sum of the durations."""

    durations: Tensor
    log_f0: Tensor


def planned(
    predicted: Predicted, durations: Tensor | None = None, f0: Tensor | None = None, pace: float = 1.0
) -> Plan:
    """The plan of one utterance, of which ``predicted`` is a batch of one.

    Args:
        durations: ``[N]`` whole frames, not negative, one at least in all; obeyed as they are.
        f0: ``[N]`` or ``[L]`` hertz, finite, 0 where nothing is voiced. One for each symbol is read in the
            middle of it, and the contour is a straight line in between. All zeros are no pitch at all.
        pace: predicted durations are divided by it, 0.25 … 4.

    Raises `InvalidInput` for values that are not of this kind.
    """
    if not PACES[0] <= pace <= PACES[1]:
        raise InvalidInput(f"pace (={pace}) must be within {PACES[0]} … {PACES[1]}")
    log_duration, expected = predicted.log_duration[0], predicted.log_f0
    if durations is None:
        durations = _rounded(log_duration.double().exp().clamp(max=LONGEST) / pace)
    _require_durations(durations, len(log_duration))
    return Plan(durations, _contour(expected, durations, f0))


def _contour(expected: Tensor, durations: Tensor, f0: Tensor | None) -> Tensor:
    frames = int(durations.sum())
    if f0 is not None:
        _require_f0(f0, len(durations), frames)
        if f0.any():
            expected = filled(f0[None].to(expected))
            if len(f0) == frames:
                return expected[0]
    return through(expected, durations[None], frames)[0]


def _rounded(durations: Tensor) -> Tensor:
    """Whole frames, 1 at least, whose running sum is never off by more than half a frame."""
    ends = durations.clamp(min=1.0).cumsum(0).round().long()
    return torch.diff(ends, prepend=ends.new_zeros(1))


def _require_durations(durations: Tensor, symbols: int) -> None:
    if durations.shape != (symbols,) or durations.is_floating_point() or durations.is_complex():
        rule = f"whole frames, one for each of {symbols} symbols"
        raise InvalidInput(f"durations is {durations.dtype} {tuple(durations.shape)}, expected {rule}")
    if bool((durations < 0).any()) or not bool(durations.any()):
        raise InvalidInput("durations must not be negative, and one frame at least in all")


def _require_f0(f0: Tensor, symbols: int, frames: int) -> None:
    if f0.ndim != 1 or len(f0) not in (symbols, frames):
        rule = f"one for each of {symbols} symbols or of {frames} frames"
        raise InvalidInput(f"f0 has shape {tuple(f0.shape)}, expected {rule}")
    if not (bool(f0.isfinite().all()) and bool((f0 >= 0).all())):
        raise InvalidInput("f0 must be finite, in hertz, and 0 where nothing is voiced")
