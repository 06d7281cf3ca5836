"""The network that reads pitch: where the harmonics of a voice fall among the mel bands.

Shape letters: B batch, L mel frames, K bands.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vocoder.padding import cleared

__all__ = ["CombEncoder"]

MIDDLE = math.log(200.0)
SPAN = 0.25  # about the deviation of ln f0 within a voice
HEARD = 2500.0  # hertz: above, bands are wider than the distance of two harmonics


class CombEncoder(nn.Module):
    """Pitch to features: a comb of the mel bands, and two convolutions.

    A band centred at c is on a harmonic of f0 where ``c / f0`` is whole, so ``cos 2π c / f0`` is 1 there and
    −1 half-way between two harmonics; the sine says to which side. They are written down and not learned: a
    network would have to make them of a number whose thousandth part matters.

    Args:
        centres: K, the centres of the mel bands in hertz; those above 2500 are left out.
        channels: of the result.

    Shapes: ``log_f0 [B, L]``, natural logarithm of hertz, a number everywhere → ``[B, channels, L]``.
    """

    centres: Tensor

    def __init__(self, centres: Tensor, channels: int) -> None:
        super().__init__()
        self.register_buffer("centres", centres[centres < HEARD].float(), persistent=False)
        self.first = nn.Conv1d(2 * len(self.centres) + 1, channels, 3, padding=1)
        self.second = nn.Conv1d(channels, channels, 3, padding=1)

    def forward(self, log_f0: Tensor, lengths: Tensor | None = None) -> Tensor:
        features = cleared(self._features(log_f0), lengths)
        hidden = cleared(F.gelu(self.first(features)), lengths)
        return cleared(self.second(hidden), lengths)

    def _features(self, log_f0: Tensor) -> Tensor:
        angle = 2 * math.pi * self.centres[:, None].to(log_f0.dtype) * (-log_f0[:, None]).exp()
        level = (log_f0[:, None] - MIDDLE) / SPAN
        return torch.cat([angle.cos(), angle.sin(), level], 1)
