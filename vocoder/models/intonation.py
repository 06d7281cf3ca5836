"""Pitch contours: from symbols to frames and back, and over the gaps where nothing is voiced.

Letters: B batch, N symbols, L mel frames.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["UNKNOWN", "by_symbol", "filled", "through"]

UNKNOWN = math.log(200.0)
"""The contour of what is voiced nowhere: it is not heard, and has to be some number."""


def filled(f0: Tensor, lengths: Tensor | None = None) -> Tensor:
    """The natural logarithm of ``f0 [B, L]`` in hertz, with a straight line wherever f0 is 0.

    Where nothing is voiced there is no pitch, and a straight line is a guess that jumps nowhere. It is level
    before the first voiced frame of an item and behind the last. ``lengths [B]``: what stands behind is not
    looked at.

    Example:
        >>> import torch
        >>> filled(torch.tensor([[0.0, 100.0, 0.0, 400.0]])).exp().round().tolist()
        [[100.0, 100.0, 200.0, 400.0]]
    """
    place = torch.arange(f0.shape[1], device=f0.device).expand_as(f0)
    voiced = f0 > 0
    if lengths is not None:
        voiced = voiced & (place < lengths[:, None])
    last = f0.shape[1] - 1
    before = torch.where(voiced, place, -1).cummax(1).values
    after = last - torch.where(voiced, last - place, -1).flip(1).cummax(1).values.flip(1)
    left = torch.where(before < 0, after, before).clamp(0, last)
    right = torch.where(after > last, before, after).clamp(0, last)
    known = torch.where(voiced, f0.clamp(min=1e-3).log(), UNKNOWN)
    share = (place - left) / (right - left).clamp(min=1)
    return torch.lerp(known.gather(1, left), known.gather(1, right), share.to(known.dtype))


def through(values: Tensor, durations: Tensor, frames: int) -> Tensor:
    """A contour ``[B, L]`` of straight lines that has ``values [B, N]`` in the middle of each symbol.

    Symbols of duration 0 do not count. Level before the first middle and behind the last one.

    Example:
        >>> import torch
        >>> through(torch.tensor([[1.0, 9.0, 3.0]]), torch.tensor([[2, 0, 2]]), 4).tolist()
        [[1.0, 1.5, 2.5, 3.0]]
    """
    ends = durations.cumsum(1).to(values.dtype)
    middles = ends - 0.5 * durations.to(values.dtype)
    lines = []
    for middle, value, spoken in zip(middles, values, durations > 0, strict=True):
        lines.append(_line(middle[spoken], value[spoken], frames))
    return torch.stack(lines)


def by_symbol(values: Tensor, weights: Tensor, owner: Tensor, symbols: int) -> tuple[Tensor, Tensor]:
    """The weighted mean of ``values [B, L]`` over each symbol's frames, and the weights' sum: ``[B, N]``.

    ``owner [B, L]`` says whose each frame is. Without any weight the mean is 0.

    Example:
        >>> import torch
        >>> values, owner = torch.tensor([[1.0, 3.0, 5.0]]), torch.tensor([[0, 0, 1]])
        >>> by_symbol(values, torch.ones(1, 3), owner, 2)[0].tolist()
        [[2.0, 5.0]]
    """
    zeros, weights = values.new_zeros(len(values), symbols), weights.to(values.dtype)
    total = zeros.scatter_add(1, owner, values * weights)
    weight = zeros.scatter_add(1, owner, weights)
    return total / weight.clamp(min=1e-6), weight


def _line(middles: Tensor, values: Tensor, frames: int) -> Tensor:
    place = torch.arange(frames, device=values.device, dtype=values.dtype) + 0.5
    right = torch.searchsorted(middles, place).clamp(max=len(middles) - 1)
    left = torch.where(middles[right] > place, right - 1, right).clamp(min=0)
    share = (place - middles[left]) / (middles[right] - middles[left]).clamp(min=0.5)
    return torch.lerp(values[left], values[right], share.clamp(0, 1))
