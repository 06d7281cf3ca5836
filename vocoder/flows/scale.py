"""Diagonal scaling: how much every channel matters, learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vocoder.errors import InvalidConfig, InvalidInput
from vocoder.flows.flow import Flow, bounded, log_det_dtype, over_cells, per_channel


class Scale(Flow):
    """Scale every channel: ``z[:, c] = exp(s_c) · x[:, c]``, ``log_det = S · Σ_c s_c`` for S positions.

    Additive couplings keep volume; this is what lets a flow of them weigh its dimensions (Dinh et al. 2014,
    NICE, arXiv:1410.8516, section 3.3). Before a prior N(0, I) it is a prior of learned deviations: log p is
    that of N(0, σ²) with ``σ_c = exp(−s_c)`` and no scale. s starts at zero.

    Args:
        channels: C, at least 1 (else `InvalidConfig`).
        bound: largest ``|s|``, neared smoothly from half of it on; ``None`` leaves s free. Not above zero, it
            is `InvalidConfig`.

    Shapes: ``[B, C, …]``, kept; another C is `InvalidInput`. ``lengths`` only with sequences ``[B, C, S]``.

    Example:
        >>> import torch
        >>> z, log_det = Scale(2)(torch.ones(1, 2, 3))
        >>> z.sum().item(), log_det.tolist()
        (6.0, [0.0])
    """

    def __init__(self, channels: int, *, bound: float | None = None) -> None:
        super().__init__()
        if channels < 1:
            raise InvalidConfig(f"channels (= {channels}) must be at least 1")
        if bound is not None and not bound > 0:
            raise InvalidConfig(f"bound (= {bound}) must be above zero, or None")
        self.bound = bound
        self.log_scale = nn.Parameter(torch.zeros(channels))

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        log_s = self._log_scale(x)
        return x * per_channel(log_s.exp(), x), over_cells(log_s.sum(), x, lengths)

    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        log_s = self._log_scale(z)
        return z * per_channel((-log_s).exp(), z), -over_cells(log_s.sum(), z, lengths)

    def _log_scale(self, x: Tensor) -> Tensor:
        self.check_rank(x)
        if x.shape[1] != len(self.log_scale):
            rule = f"Scale takes x of shape [B, {len(self.log_scale)}, …]"
            raise InvalidInput(f"{rule}, got {tuple(x.shape)}")
        log_s = self.log_scale.to(log_det_dtype(self.log_scale))
        return log_s if self.bound is None else bounded(log_s, self.bound)
