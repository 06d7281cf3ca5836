"""SqueezeWave's cheaper WaveNet: depthwise-separable convolutions, and a residual stream without skips."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vocoder.padding import cleared


class SeparableWaveNet(nn.Module):
    """A stack of gated depthwise-separable convolutions with residual paths.

    Layer i, with the dilation d_i: ``h ← h + R_i g``, ``g = tanh(a) ⊙ σ(b)``,
    ``(a, b) = P_i (D_i ∗_{d_i} (α_i ⊙ h + β_i)) + V_i cond``, D depthwise, P pointwise; α and β, one number a
    channel, are what batch normalisation is once training is over. The result is a last convolution of h,
    which starts at zero, so that a coupling starts as the identity (Zhai et al. 2020, SqueezeWave,
    arXiv:2001.05685, section 3, and its code, whose dilations are all 1). A layer costs a kernel-th of a
    `WaveNet`'s.

    β is added before D pads with zeros, so that α and β cannot be folded into D: at the ends of a clip, D
    would see β where there is nothing.

    Args:
        in_channels: channels of ``x``.
        out_channels: channels of the result.
        cond_channels: channels of ``cond``.
        channels: C, the width.
        dilations: one layer each, at least one; "same" zero padding keeps the length S.
        kernel: taps of the depthwise convolutions, odd.

    Shapes: ``x [B, in, S]``, ``cond [B, cond, S]``, ``lengths [B]`` → ``[B, out, S]``; a group sees
    ``Σ dilations · (kernel − 1) / 2`` neighbours each side, and none behind its clip's end.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        cond_channels: int,
        *,
        channels: int,
        dilations: tuple[int, ...],
        kernel: int = 3,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.start = nn.Conv1d(in_channels, channels, 1)
        self.cond_layer = nn.Conv1d(cond_channels, 2 * channels * len(dilations), 1)
        self.in_layers = nn.ModuleList(_Separable(channels, kernel, dilation) for dilation in dilations)
        self.res_skip_layers = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in dilations)
        self.end = nn.Conv1d(channels, out_channels, 1)
        nn.init.zeros_(self.end.weight)
        nn.init.zeros_(self.end.bias)  # type: ignore[arg-type]  # nn.Conv1d types its bias as optional

    def forward(self, x: Tensor, cond: Tensor, lengths: Tensor | None = None) -> Tensor:
        hidden = self.start(x)
        conds = self.cond_layer(cond).split(2 * self.channels, 1)
        for layer, residual, layer_cond in zip(self.in_layers, self.res_skip_layers, conds, strict=True):
            content, gate = (layer(hidden, lengths) + layer_cond).chunk(2, 1)
            hidden = hidden + residual(torch.tanh(content) * torch.sigmoid(gate))
        return self.end(hidden)


class _Separable(nn.Module):
    """``P (D ∗ (α h + β))``: the names are ours, as their author has a sequence of three without names."""

    def __init__(self, channels: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        padding = dilation * (kernel - 1) // 2
        self.depthwise = nn.Conv1d(
            channels, channels, kernel, dilation=dilation, padding=padding, groups=channels
        )
        self.pointwise = nn.Conv1d(channels, 2 * channels, 1)

    def forward(self, hidden: Tensor, lengths: Tensor | None) -> Tensor:
        scaled = hidden * self.scale[:, None] + self.shift[:, None]
        return self.pointwise(self.depthwise(cleared(scaled, lengths)))
