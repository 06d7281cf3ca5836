"""What a user of SqueezeWave has as `glow.py`, written anew from the equations: names and shapes are theirs.

Letters as in NVIDIA's `glow.py`; the channels of a group are `n_audio_channel` here.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import weight_norm


class Invertible1x1Conv(nn.Module):
    """A plain matrix [c, c, 1] that mixes channels; keeps its inverse as an attribute, as the original."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(c, c, 1, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.linalg.qr(torch.randn(c, c))[0][..., None])

    def forward(self, z: Tensor) -> Tensor:
        """Mix."""
        return self.conv(z)

    def inverse(self, z: Tensor) -> Tensor:
        """Unmix."""
        self.W_inverse = self.conv.weight.detach().squeeze(-1).inverse()[..., None]
        return nn.functional.conv1d(z, self.W_inverse)


class Upsample1d(nn.Module):
    """Every frame twice."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, L] → [B, C, 2L]."""
        return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")


class WN(nn.Module):
    """Batch norm, a depthwise and a pointwise convolution a layer; a residual stream without skips."""

    def __init__(
        self, n_in_channels: int, n_cond: int, n_layers: int, n_channels: int, kernel_size: int
    ) -> None:
        super().__init__()
        self.n_layers, self.n_channels = n_layers, n_channels
        self.upsample = Upsample1d()
        self.start = weight_norm(nn.Conv1d(n_in_channels, n_channels, 1))
        self.end = nn.Conv1d(n_channels, 2 * n_in_channels, 1)
        self.cond_layer = weight_norm(nn.Conv1d(n_cond, 2 * n_channels * n_layers, 1))
        self.in_layers, self.res_skip_layers = nn.ModuleList(), nn.ModuleList()
        for _ in range(n_layers):
            pad = (kernel_size - 1) // 2
            depthwise = nn.Conv1d(n_channels, n_channels, kernel_size, padding=pad, groups=n_channels)
            pointwise = nn.Conv1d(n_channels, 2 * n_channels, 1)
            self.in_layers.append(nn.Sequential(nn.BatchNorm1d(n_channels), depthwise, pointwise))
            self.res_skip_layers.append(weight_norm(nn.Conv1d(n_channels, n_channels, 1)))

    def forward(self, audio: Tensor, spect: Tensor) -> Tensor:
        """[B, half, S] and [B, M, L] → [B, 2 half, S]."""
        hidden = self.start(audio)
        conds = self.cond_layer(spect).split(2 * self.n_channels, 1)
        for i in range(self.n_layers):
            cond = self.upsample(conds[i]) if audio.size(2) > spect.size(2) else conds[i]
            content, gate = (self.in_layers[i](hidden) + cond).chunk(2, 1)
            hidden = hidden + self.res_skip_layers[i](torch.tanh(content) * torch.sigmoid(gate))
        return self.end(hidden)

    def fuse(self) -> None:
        """Batch norm into the depthwise layers, as the author's `remove_weightnorm` does, padding and all."""
        for i, layer in enumerate(self.in_layers):
            norm, depthwise, pointwise = (cast("Any", part) for part in layer.children())
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            shift = norm.bias - norm.running_mean * scale
            with torch.no_grad():
                depthwise.bias += (depthwise.weight.squeeze(1) * shift[:, None]).sum(1)
                depthwise.weight *= scale[:, None, None]
            self.in_layers[i] = nn.Sequential(depthwise, pointwise)


class SqueezeWave(nn.Module):
    """Flows of a 1×1 convolution and an affine coupling, with early outputs; the mel goes in as it is."""

    def __init__(
        self,
        n_mel_channels: int,
        n_flows: int,
        n_audio_channel: int,
        n_early_every: int,
        n_early_size: int,
        WN_config: Any,
    ) -> None:
        super().__init__()
        self.n_flows, self.n_audio_channel = n_flows, n_audio_channel
        self.n_early_every, self.n_early_size = n_early_every, n_early_size
        self.WN, self.convinv = nn.ModuleList(), nn.ModuleList()
        rest = n_audio_channel
        for k in range(n_flows):
            rest -= n_early_size if self.leaves(k) else 0
            self.convinv.append(Invertible1x1Conv(rest))
            self.WN.append(WN(rest // 2, n_mel_channels, **WN_config))
        self.n_remaining_channels = rest

    def leaves(self, k: int) -> bool:
        """Whether channels leave before step k."""
        return k % self.n_early_every == 0 and k > 0

    def forward(self, mel: Tensor, audio: Tensor) -> Tensor:
        """Audio [B, T] → z [B, G, S], in the order early, early, …, final."""
        x = audio.unfold(1, self.n_audio_channel, self.n_audio_channel).permute(0, 2, 1)
        out = []
        for k in range(self.n_flows):
            if self.leaves(k):
                out.append(x[:, : self.n_early_size])
                x = x[:, self.n_early_size :]
            x_a, x_b = self.convinv[k](x).tensor_split(2, 1)
            b, log_s = self.WN[k](x_a, mel).chunk(2, 1)
            x = torch.cat([x_a, log_s.exp() * x_b + b], 1)
        return torch.cat([*out, x], 1)

    def infer(self, mel: Tensor, z: Tensor) -> Tensor:
        """z [B, G, S], in the order of `forward`, → audio [B, T]."""
        early, x = z.size(1) - self.n_remaining_channels, z[:, -self.n_remaining_channels :]
        for k in reversed(range(self.n_flows)):
            x_a, x_b = x.tensor_split(2, 1)
            b, log_s = self.WN[k](x_a, mel).chunk(2, 1)
            mixed = torch.cat([x_a, (x_b - b) / log_s.exp()], 1)
            x = self.convinv[k].inverse(mixed)  # type: ignore[operator]  # of a list of modules
            if self.leaves(k):
                x = torch.cat([z[:, early - self.n_early_size : early], x], 1)
                early -= self.n_early_size
        return x.permute(0, 2, 1).flatten(1)
