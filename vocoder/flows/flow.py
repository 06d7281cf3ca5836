"""The contract of every flow: an invertible map that knows its own log-determinant.

Shape letters: B batch, T samples, G group size (channels of a squeezed signal), S groups in time.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from vocoder.errors import InvalidInput
from vocoder.padding import cleared


class Flow(nn.Module, ABC):
    """An invertible map ``z = f(x; cond)`` with a tractable Jacobian.

    ``forward`` is data → latent, always; ``inverse`` is latent → data::

        z, log_det = flow(x, cond)           log_det = log |det ∂z/∂x|   [B]
        x, log_det = flow.inverse(z, cond)   log_det = log |det ∂x/∂z|   [B]

    so that the density of the data follows by change of variables,
    ``log p(x) = log p(z) + log_det`` (Dinh et al. 2014, NICE, arXiv:1410.8516, section 2).

    A batch of clips of unequal length is padded with zeros, and ``lengths [B]`` says how many positions of
    the last axis belong to each item. Inside an item the answer is then what it is for the item alone,
    ``log_det`` counts the item only, and the padding stays zeros. Without ``lengths`` all of it is data.
    Vectors ``[B, D]``, whose channels are their entries, and images ``[B, C, H, W]`` have no lengths.

    Each ``log_det`` belongs to the direction called, is ``[B]``, and is accumulated in at least float32.
    Shapes in are shapes out, except for flows whose whole purpose is to reshape (``Squeeze``). A flow holds
    no randomness and names neither device nor dtype. The items of a batch do not touch one another. Both
    directions raise `InvalidInput` for a tensor of another rank or with a size that the flow cannot divide.

    Attributes:
        rank: number of dimensions of ``x`` and ``z``, the batch included; ``None`` takes any from 2 on.
        undoing: set while a reversible chain undoes a call of this flow. Its buffers are then what that call
            left in them, and either direction must invert that very call. A flow that normalises by moments
            of the batch keeps those it used in a buffer, and uses them now; no other has to look.
    """

    rank: int | None = None
    undoing: bool = False

    @abstractmethod
    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Map data ``x`` to latent ``z`` and return it with ``log |det ∂z/∂x|`` ``[B]``."""

    @abstractmethod
    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Map latent ``z`` to data ``x`` and return it with ``log |det ∂x/∂z|`` ``[B]``."""

    def local(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """``z`` and where its log-determinant comes from: ``[B, S]`` by position, summing to ``log_det``.

        Of sequences ``x [B, …, S]``, whose last axis every part of the flow keeps. A flow that scales each
        element gives a position what it adds there; one that treats all alike, as here, gives equal shares.
        By the same rule the positions of an image are its columns, and those of a vector its entries.
        """
        z, log_det = self(x, cond, lengths)
        share = (log_det / positions(x, lengths))[:, None].expand(-1, x.shape[-1])
        return z, cleared(share, lengths)

    def steps(self) -> list[Flow]:
        """The single flows that this one is composed of, in the order of ``forward``; itself if it is one."""
        return [self]

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


def positions(x: Tensor, lengths: Tensor | None) -> Tensor | int:
    """How many positions of the last axis of ``x [B, …, S]`` are data: S, or each item's own ``[B]``."""
    return x.shape[-1] if lengths is None else lengths.to(log_det_dtype(x))


def refuse_lengths(x: Tensor, lengths: Tensor | None) -> None:
    """Lengths are of sequences ``[B, C, S]``: vectors and images of a batch are all of one size."""
    if lengths is not None and x.ndim != 3:
        raise InvalidInput(f"lengths belong to sequences [B, C, S], got x of shape {tuple(x.shape)}")


def cells(x: Tensor, lengths: Tensor | None) -> Tensor | int:
    """How many channel vectors of ``x [B, C, …]`` are data: 1 of a vector, S of a sequence, or its length."""
    refuse_lengths(x, lengths)
    return math.prod(x.shape[2:]) if lengths is None else lengths.to(log_det_dtype(x))


def per_channel(values: Tensor, x: Tensor) -> Tensor:
    """``values [C]``, to be broadcast over ``x [B, C, …]`` and typed as it is."""
    return values.to(x.dtype).view(-1, *[1] * (x.ndim - 2))


def over_cells(log_det: Tensor, x: Tensor, lengths: Tensor | None) -> Tensor:
    """The log-determinant ``[B]`` of a map that does to every channel vector what adds ``log_det``."""
    return (cells(x, lengths) * log_det).to(log_det_dtype(x)).expand(x.shape[0])


def bounded(log_s: Tensor, bound: float) -> Tensor:
    """``log_s`` itself up to half the bound, and from there on smoothly less, never beyond the bound.

    So a scale that drifts cannot make an inverse explode, and one that does not is none the worse for it::

        |log_s|     0 … b/2     b        3b/2     …          b = bound
        bounded     |log_s|     0.88 b   0.98 b   → b        b/2 + b/2 · tanh((|log_s| − b/2) / (b/2))
    """
    half = bound / 2
    inner = log_s.clamp(-half, half)
    return inner + half * torch.tanh((log_s - inner) / half)


def zero_log_det(x: Tensor) -> Tensor:
    """The log-determinant ``[B]`` of a volume-preserving map of ``x``."""
    return torch.zeros(x.shape[0], device=x.device, dtype=log_det_dtype(x))


def sum_log_det(log_s: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Sum a log-diagonal ``[B, …, S]`` to ``[B]``; half precision would lose nats on a long clip."""
    return cleared(log_s, lengths).flatten(1).sum(1, dtype=log_det_dtype(log_s))


def local_log_det(log_s: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Sum a log-diagonal ``[B, …, S]`` position by position, to ``[B, S]``."""
    by_position = cleared(log_s, lengths).reshape(len(log_s), -1, log_s.shape[-1])
    return by_position.sum(1, dtype=log_det_dtype(log_s))


def log_det_dtype(x: Tensor) -> torch.dtype:
    """At least float32; float64 stays float64."""
    return torch.promote_types(x.dtype, torch.float32)
