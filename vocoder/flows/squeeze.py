"""Grouping of samples into channels, and a flow that works inside such a grouping."""

from __future__ import annotations

from torch import Tensor

from vocoder.errors import InvalidConfig, InvalidInput
from vocoder.flows.flow import Flow, zero_log_det


class Squeeze(Flow):
    """Fold G neighbouring samples into channels (Prenger et al. 2018, WaveGlow, arXiv:1811.00002, section 2).

    ::

        x [B, T]      x0 x1 x2 x3 | x4 x5 x6 x7 | …           G = 4, S = T / G
        z [B, G, S]   x0 x4 …
                      x1 x5 …      channel g of group s is sample s·G + g
                      x2 x6 …
                      x3 x7 …

    A permutation of the samples, hence ``log_det = 0``.

    Args:
        group: G, at least 1 (else `InvalidConfig`); T must be a multiple of it (else `InvalidInput`).

    Example:
        >>> import torch
        >>> Squeeze(2)(torch.arange(4.0)[None])[0].tolist()
        [[[0.0, 2.0], [1.0, 3.0]]]
    """

    rank = 2

    def __init__(self, group: int) -> None:
        super().__init__()
        if group < 1:
            raise InvalidConfig(f"group (= {group}) must be at least 1")
        self.group = group

    def forward(self, x: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.check_rank(x)
        if x.shape[1] == 0 or x.shape[1] % self.group:
            rule = f"must be a positive multiple of group (= {self.group})"
            raise InvalidInput(f"samples (= {x.shape[1]}) {rule}")
        return x.unflatten(1, (-1, self.group)).transpose(1, 2), zero_log_det(x)

    def inverse(self, z: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if z.ndim != 3 or z.shape[1] != self.group:
            raise InvalidInput(f"Squeeze takes z of shape [B, {self.group}, S], got {tuple(z.shape)}")
        return z.transpose(1, 2).flatten(1), zero_log_det(z)


class Squeezed(Flow):
    """Run ``inner`` on the squeezed signal and un-squeeze on exit: ``[B, T] → [B, T]``.

    ``z = squeeze⁻¹(inner(squeeze(x)))``; the log-determinant is ``inner``'s, and ``cond`` goes to ``inner``
    as it is. Sample s·G + c of z is the latent channel c of group s.

    Args:
        group: G, as in `Squeeze`, and with its errors.
        inner: a flow ``[B, G, S] → [B, G, S]``.

    Example:
        >>> import torch
        >>> from vocoder.flows import Reverse, Squeezed
        >>> Squeezed(2, Reverse())(torch.arange(4.0)[None])[0].tolist()
        [[1.0, 0.0, 3.0, 2.0]]
    """

    rank = 2

    def __init__(self, group: int, inner: Flow) -> None:
        super().__init__()
        self.squeeze = Squeeze(group)
        self.inner = inner

    def forward(self, x: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        groups, _ = self.squeeze(x)
        z, log_det = self.inner(groups, cond)
        return self.squeeze.inverse(z)[0], log_det

    def inverse(self, z: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.check_rank(z)
        groups, _ = self.squeeze(z)
        x, log_det = self.inner.inverse(groups, cond)
        return self.squeeze.inverse(x)[0], log_det
