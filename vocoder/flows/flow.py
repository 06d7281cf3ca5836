"""The contract of every flow: an invertible map that knows its own log-determinant.

Shape letters: B batch, T samples, G group size (channels of a squeezed signal), S groups in time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from vocoder.errors import InvalidInput


class Flow(nn.Module, ABC):
    """An invertible map ``z = f(x; cond)`` with a tractable Jacobian.

    ``forward`` is data → latent, always; ``inverse`` is latent → data::

        z, log_det = flow(x, cond)           log_det = log |det ∂z/∂x|   [B]
        x, log_det = flow.inverse(z, cond)   log_det = log |det ∂x/∂z|   [B]

    so that the density of the data follows by change of variables,
    ``log p(x) = log p(z) + log_det`` (Dinh et al. 2014, NICE, arXiv:1410.8516, section 2).

    Each ``log_det`` belongs to the direction called, is ``[B]``, and is accumulated in at least float32.
    Shapes in are shapes out, except for flows whose whole purpose is to reshape (``Squeeze``). A flow holds
    no randomness and names neither device nor dtype. The items of a batch do not touch one another. Both
    directions raise `InvalidInput` for a tensor of another rank or with a size that the flow cannot divide.

    Attributes:
        rank: number of dimensions of ``x`` and ``z``, the batch included; ``None`` takes any from 2 on.
    """

    rank: int | None = None

    @abstractmethod
    def forward(self, x: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map data ``x`` to latent ``z`` and return it with ``log |det ∂z/∂x|`` ``[B]``."""

    @abstractmethod
    def inverse(self, z: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map latent ``z`` to data ``x`` and return it with ``log |det ∂x/∂z|`` ``[B]``."""

    def check_rank(self, x: Tensor) -> None:
        """Refuse a tensor of another rank: a broadcast would pass silently and give a wrong density."""
        fits = x.ndim == self.rank if self.rank else x.ndim >= 2
        if not fits:
            rule = f"{self.rank or 'at least 2'} dimensions"
            raise InvalidInput(f"{type(self).__name__} takes a tensor of {rule}, got shape {tuple(x.shape)}")


def full_precision(x: Tensor) -> torch.autocast:
    """Where products keep the precision of ``x``: the autocast of a mixed-precision run, switched off.

    A network forgives rounding to half precision, a change of variables does not: in one sum of a loud
    partial and a quiet one, bfloat16 keeps 48 dB, and a whitening that then lifts the quiet one by 60 dB
    lifts noise.
    """
    return torch.autocast(x.device.type, enabled=False)


def zero_log_det(x: Tensor) -> Tensor:
    """The log-determinant ``[B]`` of a volume-preserving map of ``x``."""
    return torch.zeros(x.shape[0], device=x.device, dtype=log_det_dtype(x))


def sum_log_det(log_s: Tensor) -> Tensor:
    """Sum a log-diagonal ``[B, …]`` to ``[B]``; half precision would lose nats on a long clip."""
    return log_s.flatten(1).sum(1, dtype=log_det_dtype(log_s))


def log_det_dtype(x: Tensor) -> torch.dtype:
    """At least float32; float64 stays float64."""
    return torch.promote_types(x.dtype, torch.float32)
