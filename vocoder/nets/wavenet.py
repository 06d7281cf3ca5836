"""WaveNet without causality: dilated, gated, conditioned convolutions, the network of a WaveGlow coupling."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vocoder.padding import cleared


class WaveNet(nn.Module):
    """A stack of gated dilated convolutions with residual and skip paths.

    Layer i, with the dilation d_i: ``h ← h + R_i g``, ``skip ← skip + S_i g``, ``g = tanh(a) ⊙ σ(b)``,
    ``(a, b) = W_i ∗_{d_i} h + V_i cond`` (van den Oord et al. 2016, WaveNet, arXiv:1609.03499, eq. 2 and 5;
    Prenger et al. 2018, WaveGlow, section 2.1). The result is a last convolution of ``skip``, which starts at
    zero, so that a coupling starts as the identity. The layers' names are those of NVIDIA's ``glow.py``,
    without its weight normalisation.

    Args:
        in_channels: channels of ``x``.
        out_channels: channels of the result.
        cond_channels: channels of ``cond``.
        channels: C, the width.
        dilations: one layer each, at least one; "same" zero padding keeps the length S.
        kernel: taps of the dilated convolutions, odd.

    Shapes: ``x [B, in, S]``, ``cond [B, cond, S]`` → ``[B, out, S]``; a group sees
    ``Σ dilations · (kernel − 1) / 2`` neighbours each side. ``lengths [B]``, in groups, keep a shorter clip
    from hearing the padding behind it.
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
        last = len(dilations) - 1
        self.start = nn.Conv1d(in_channels, channels, 1)
        self.cond_layer = nn.Conv1d(cond_channels, 2 * channels * len(dilations), 1)
        self.in_layers = nn.ModuleList(
            nn.Conv1d(channels, 2 * channels, kernel, dilation=d, padding=d * (kernel - 1) // 2)
            for d in dilations
        )
        self.res_skip_layers = nn.ModuleList(
            nn.Conv1d(channels, channels if i == last else 2 * channels, 1) for i in range(len(dilations))
        )
        self.end = nn.Conv1d(channels, out_channels, 1)
        nn.init.zeros_(self.end.weight)
        nn.init.zeros_(self.end.bias)  # type: ignore[arg-type]  # nn.Conv1d types its bias as optional

    def forward(self, x: Tensor, cond: Tensor, lengths: Tensor | None = None) -> Tensor:
        hidden = cleared(self.start(x), lengths)
        skips = []
        conds = self.cond_layer(cond).split(2 * self.channels, 1)
        for layer, res_skip, layer_cond in zip(self.in_layers, self.res_skip_layers, conds, strict=True):
            content, gate = (layer(hidden) + layer_cond).chunk(2, 1)
            out = res_skip(torch.tanh(content) * torch.sigmoid(gate))
            skips.append(out[:, -self.channels :])
            if out.shape[1] > self.channels:
                hidden = cleared(hidden + out[:, : self.channels], lengths)
        return self.end(torch.stack(skips).sum(0) if len(skips) > 1 else skips[0])
