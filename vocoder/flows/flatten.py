"""A flow of vectors, for data of any shape."""

from __future__ import annotations

from torch import Tensor

from vocoder.errors import InvalidInput
from vocoder.flows.flow import Flow


class Flattened(Flow):
    """Run ``inner`` on the numbers of an item in a row, ``[B, …] → [B, D]``, and give z the shape of x.

    The log-determinant is ``inner``'s, and ``cond`` goes to it as it is; ``lengths`` are `InvalidInput`.

    Args:
        inner: a flow ``[B, D] → [B, D]``.

    Shapes: ``[B, …]``, kept.

    Example:
        >>> import torch
        >>> from vocoder.flows import Reverse
        >>> Flattened(Reverse())(torch.arange(4.0).view(1, 2, 2))[0].tolist()
        [[[3.0, 2.0], [1.0, 0.0]]]
    """

    def __init__(self, inner: Flow) -> None:
        super().__init__()
        self.inner = inner

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        z, log_det = self.inner(self._row(x, lengths), cond)
        return z.view_as(x), log_det

    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        x, log_det = self.inner.inverse(self._row(z, lengths), cond)
        return x.view_as(z), log_det

    def steps(self) -> list[Flow]:
        return [Flattened(step) for step in self.inner.steps()]

    def _row(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        self.check_rank(x)
        if lengths is not None:
            raise InvalidInput(f"lengths have no meaning in a row, got x of shape {tuple(x.shape)}")
        return x.flatten(1)
