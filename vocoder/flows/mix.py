"""Invertible 1×1 convolution: a learned mixing of the channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vocoder.errors import InvalidInput
from vocoder.flows.flow import Flow, full_precision, log_det_dtype


class InvertibleConv1x1(Flow):
    """Multiply the channels of every group by one dense matrix ``W`` ``[C, C]``.

    ``z[:, :, s] = W x[:, :, s]``, ``log_det = S · log |det W|`` (Kingma & Dhariwal 2018, Glow,
    arXiv:1807.03039, eq. 9; Prenger et al. 2018, WaveGlow, arXiv:1811.00002, section 2.2). The determinant
    comes from ``slogdet``: ``logdet`` is NaN as soon as training carries ``det W`` below zero, and a negative
    determinant is as invertible as a positive one. W starts as a random orthonormal matrix.

    Args:
        channels: C.

    Shapes: ``[B, C, S]``, kept.

    Example:
        >>> import torch
        >>> mix = InvertibleConv1x1(4)
        >>> x = torch.randn(2, 4, 3)
        >>> torch.allclose(mix.inverse(mix(x)[0])[0], x, atol=1e-5)
        True
    """

    rank = 3

    def __init__(self, channels: int) -> None:
        super().__init__()
        q, _ = torch.linalg.qr(torch.randn(channels, channels))
        self.weight = nn.Parameter(q.contiguous())
        self._solved: tuple[Tensor, Tensor, Tensor] | None = None

    def forward(self, x: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._check(x)
        return self._mix(self.weight, x), _per_clip(_log_abs_det(self._precise_weight()), x)

    def inverse(self, z: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._check(z)
        inverse, log_abs_det = self._solution()
        return self._mix(inverse, z), -_per_clip(log_abs_det, z)

    def _check(self, x: Tensor) -> None:
        self.check_rank(x)
        if x.shape[1] != self.weight.shape[0]:
            rule = f"InvertibleConv1x1 takes x of shape [B, {self.weight.shape[0]}, S]"
            raise InvalidInput(f"{rule}, got {tuple(x.shape)}")

    @staticmethod
    def _mix(weight: Tensor, x: Tensor) -> Tensor:
        with full_precision(x):
            return torch.matmul(weight.to(x.dtype), x)

    def _precise_weight(self) -> Tensor:
        # Half precision has no LU, and a determinant in it would be noise.
        return self.weight.to(log_det_dtype(self.weight))

    def _solution(self) -> tuple[Tensor, Tensor]:
        """``W⁻¹`` and ``log |det W|``; afresh while gradients flow, else kept beside their own weight.

        Comparing values, not version counters, is what makes what is kept unable to go stale: whatever wrote
        the weight (an optimiser, ``load_state_dict``, ``.data``, a move to another device), a different
        weight is seen. Threads may share the module: all three are read and replaced as one, and computed
        from a copy that none writes.
        """
        weight = self._precise_weight()
        if torch.is_grad_enabled() and self.weight.requires_grad:
            return torch.linalg.inv(weight), _log_abs_det(weight)
        solved = self._solved
        if solved is None or not _same(solved[0], weight):
            with torch.inference_mode(False):  # what inference mode makes could never meet a gradient again
                kept = weight.detach().clone()
                self._solved = solved = kept, torch.linalg.inv(kept), _log_abs_det(kept)
        return solved[1:]


def _log_abs_det(weight: Tensor) -> Tensor:
    return torch.linalg.slogdet(weight).logabsdet


def _per_clip(log_abs_det: Tensor, x: Tensor) -> Tensor:
    """``S · log |det W|`` for every clip: ``[B]``."""
    return (x.shape[2] * log_abs_det).expand(x.shape[0])


def _same(a: Tensor, b: Tensor) -> bool:
    return a.device == b.device and a.dtype == b.dtype and torch.equal(a, b)
