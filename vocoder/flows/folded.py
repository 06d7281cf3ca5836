"""Grouping of neighbouring positions of a sequence of vectors, and flows that work inside such a grouping."""

from __future__ import annotations

from torch import Tensor

from vocoder.errors import InvalidConfig, InvalidInput
from vocoder.flows.flow import Flow

__all__ = ["Folded", "fold", "unfold"]


def fold(x: Tensor, group: int) -> Tensor:
    """G neighbouring positions side by side: ``[B, C, S] → [B, G·C, S / G]``, vector after vector.

    ::

        x  a0 a1 a2 a3      G = 2   a0 a2    the first of each pair
           b0 b1 b2 b3              b0 b2
                                    a1 a3    the second
                                    b1 b3

    (Kim et al. 2020, Glow-TTS, arXiv:2005.11129, section 3.1.) `InvalidInput` where G does not divide S.
    """
    batch, channels, positions = x.shape
    if positions % group:
        raise InvalidInput(f"positions (= {positions}) must be a multiple of group (= {group})")
    return x.view(batch, channels, -1, group).permute(0, 3, 1, 2).reshape(batch, group * channels, -1)


def unfold(z: Tensor, group: int) -> Tensor:
    """The inverse of `fold`: ``[B, G·C, S] → [B, C, G·S]``."""
    return z.unflatten(1, (group, -1)).permute(0, 2, 3, 1).flatten(2)


class Folded(Flow):
    """Run ``inner`` on a sequence with neighbouring positions folded together: ``[B, C, S] → [B, C, S]``.

    ``z = unfold(inner(fold(x)))``: z is as long as x and as local. Folding moves elements only, so the
    log-determinant is ``inner``'s. ``cond`` goes to ``inner`` as it is. ``lengths`` are whole groups.

    Args:
        group: G, at least 1 (else `InvalidConfig`); S must be a multiple of it (else `InvalidInput`).
        inner: a flow ``[B, G·C, S / G] → [B, G·C, S / G]``.

    Example:
        >>> import torch
        >>> from vocoder.flows import Reverse
        >>> Folded(2, Reverse())(torch.arange(4.0)[None, None])[0].tolist()
        [[[1.0, 0.0, 3.0, 2.0]]]
    """

    rank = 3

    def __init__(self, group: int, inner: Flow) -> None:
        super().__init__()
        if group < 1:
            raise InvalidConfig(f"group (= {group}) must be at least 1")
        self.group, self.inner = group, inner

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        self.check_rank(x)
        z, log_det = self.inner(fold(x, self.group), cond, self._groups(lengths))
        return unfold(z, self.group), log_det

    def local(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        self.check_rank(x)
        z, log_det = self.inner.local(fold(x, self.group), cond, self._groups(lengths))
        shares = (log_det / self.group).repeat_interleave(self.group, 1)
        return unfold(z, self.group), shares  # a group's positions are told apart by no flow inside

    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        self.check_rank(z)
        x, log_det = self.inner.inverse(fold(z, self.group), cond, self._groups(lengths))
        return unfold(x, self.group), log_det

    def steps(self) -> list[Flow]:
        return [Folded(self.group, step) for step in self.inner.steps()]

    def _groups(self, lengths: Tensor | None) -> Tensor | None:
        return None if lengths is None else lengths // self.group
