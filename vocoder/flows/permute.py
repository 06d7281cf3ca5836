"""Fixed reorderings of the channels."""

from __future__ import annotations

from torch import Tensor

from vocoder.flows.flow import Flow, zero_log_det


class Reverse(Flow):
    """Reverse the order of the channels: ``z[:, c] = x[:, C − 1 − c]``, ``log_det = 0``.

    It lets couplings take turns: what one kept, the next changes (Dinh et al. 2014, NICE, arXiv:1410.8516,
    its code).

    Shapes: ``[B, C, …]``, kept.

    Example:
        >>> import torch
        >>> Reverse()(torch.tensor([[1.0, 2.0, 3.0]]))[0].tolist()
        [[3.0, 2.0, 1.0]]
    """

    def forward(self, x: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.check_rank(x)
        return x.flip(1), zero_log_det(x)

    def inverse(self, z: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.check_rank(z)
        return z.flip(1), zero_log_det(z)
