"""A flow that sees the two colours of a checkerboard as two halves of the channels."""

from __future__ import annotations

import torch
from torch import Tensor

from vocoder.errors import InvalidInput
from vocoder.flows.flow import Flow, refuse_lengths


class Chequered(Flow):
    """Run ``inner`` on an image whose pixels of one colour stand behind those of the other, as channels.

    ::

        a b c d        even  a c     channels 0 … C − 1: pixels whose row + column is even
        e f g h   →          f h
                       odd   b d     channels C … 2C − 1: the others
                             e g

    and put everything back in its place on exit. What works on half of the channels (a `Split`) thereby works
    on one colour. The log-determinant is ``inner``'s.

    Args:
        inner: a flow ``[B, 2C, H, W / 2]``, kept.

    Shapes: ``[B, C, H, W]``, kept; H and W even, else `InvalidInput`.

    Example:
        >>> from vocoder.flows import Swap
        >>> Chequered(Swap(1))(torch.arange(4.0).view(1, 1, 2, 2))[0].tolist()
        [[[[1.0, 0.0], [3.0, 2.0]]]]
    """

    rank = 4

    def __init__(self, inner: Flow) -> None:
        super().__init__()
        self.inner = inner

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        refuse_lengths(x, lengths)
        z, log_det = self.inner(self._sorted(x), cond)
        return _mixed(z), log_det

    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        refuse_lengths(z, lengths)
        x, log_det = self.inner.inverse(self._sorted(z), cond)
        return _mixed(x), log_det

    def steps(self) -> list[Flow]:
        return [Chequered(step) for step in self.inner.steps()]

    def _sorted(self, x: Tensor) -> Tensor:
        self.check_rank(x)
        if x.shape[2] % 2 or x.shape[3] % 2:
            raise InvalidInput(f"a checkerboard has even sides, got shape {tuple(x.shape)}")
        return torch.cat(_turned(*x.unflatten(3, (-1, 2)).unbind(4)), 1)


def _mixed(z: Tensor) -> Tensor:
    even, odd = z.chunk(2, 1)
    return torch.stack(_turned(even, odd), 4).flatten(3)


def _turned(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Two images with their odd rows exchanged, which undoes itself."""
    rows = (torch.arange(left.shape[2], device=left.device) % 2 == 0)[:, None]
    return torch.where(rows, left, right), torch.where(rows, right, left)
