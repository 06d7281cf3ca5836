"""What users of NVIDIA/waveglow have as `glow.py` and `glow_old.py`, written anew from the equations.

Names and shapes are theirs. Layout A is what there is since August 2019; B (`split_cond`) has a conditioning
layer for every layer, C (and `split_skip`) residual and skip apart as well. Imported as `glow_old`, odd
steps feed the second half of the channels to their network. Letters: B batch, T samples, M bands, L frames,
S groups.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import weight_norm

ALTERNATE = __name__.endswith("glow_old")


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


class WN(nn.Module):
    """The network of a coupling."""

    def __init__(
        self,
        n_in_channels: int,
        n_cond: int,
        n_layers: int,
        n_channels: int,
        kernel_size: int,
        split_cond: bool = False,
        split_skip: bool = False,
    ) -> None:
        super().__init__()
        self.n_layers, self.n_channels = n_layers, n_channels
        self.start = weight_norm(nn.Conv1d(n_in_channels, n_channels, 1))
        self.end = nn.Conv1d(n_channels, 2 * n_in_channels, 1)
        self.in_layers = nn.ModuleList()
        for i in range(n_layers):
            pad = 2**i * (kernel_size - 1) // 2
            layer = nn.Conv1d(n_channels, 2 * n_channels, kernel_size, dilation=2**i, padding=pad)
            self.in_layers.append(weight_norm(layer))
        if split_cond:
            self.cond_layers = _pointwise(n_cond, [2 * n_channels] * n_layers)
        else:
            self.cond_layer = weight_norm(nn.Conv1d(n_cond, 2 * n_channels * n_layers, 1))
        if split_skip:
            self.res_layers = _pointwise(n_channels, [n_channels] * (n_layers - 1))
            self.skip_layers = _pointwise(n_channels, [n_channels] * n_layers)
        else:
            self.res_skip_layers = _pointwise(n_channels, [2 * n_channels] * (n_layers - 1) + [n_channels])

    def forward(self, audio: Tensor, spect: Tensor) -> Tensor:
        """[B, half, S] and [B, 8M, S] → [B, 2 half, S]."""
        hidden, output = self.start(audio), torch.zeros(1, dtype=audio.dtype)
        for i in range(self.n_layers):
            content, gate = (self.in_layers[i](hidden) + self.condition(i, spect)).chunk(2, 1)
            residual, skip = self.say(i, torch.tanh(content) * torch.sigmoid(gate))
            hidden, output = hidden + residual, output + skip
        return self.end(output)

    def condition(self, i: int, spect: Tensor) -> Tensor:
        """What layer i hears of the mel."""
        if hasattr(self, "cond_layers"):
            return self.cond_layers[i](spect)
        return self.cond_layer(spect)[:, 2 * i * self.n_channels : 2 * (i + 1) * self.n_channels]

    def say(self, i: int, gated: Tensor) -> tuple[Tensor, Tensor]:
        """Residual and skip of layer i; the last has no residual."""
        none, last = torch.zeros(1, dtype=gated.dtype), i == self.n_layers - 1
        if hasattr(self, "skip_layers"):
            return none if last else self.res_layers[i](gated), self.skip_layers[i](gated)
        both = self.res_skip_layers[i](gated)
        return (none, both) if last else (both[:, : self.n_channels], both[:, self.n_channels :])


class WaveGlow(nn.Module):
    """Flows of a 1×1 convolution and an affine coupling, with early outputs, behind a dense upsampler."""

    def __init__(
        self,
        n_mel_channels: int,
        n_flows: int,
        n_group: int,
        n_early_every: int,
        n_early_size: int,
        WN_config: Any,
    ) -> None:
        super().__init__()
        self.upsample: nn.Module = nn.ConvTranspose1d(n_mel_channels, n_mel_channels, 1024, stride=256)
        self.n_flows, self.n_group = n_flows, n_group
        self.n_early_every, self.n_early_size = n_early_every, n_early_size
        self.WN, self.convinv = nn.ModuleList(), nn.ModuleList()
        rest = n_group
        for k in range(n_flows):
            rest -= n_early_size if self.leaves(k) else 0
            self.convinv.append(Invertible1x1Conv(rest))
            self.WN.append(WN(rest // 2, n_mel_channels * n_group, **WN_config))
        self.n_remaining_channels = rest

    def leaves(self, k: int) -> bool:
        """Whether channels leave before step k."""
        return k % self.n_early_every == 0 and k > 0

    def condition(self, mel: Tensor, samples: int) -> Tensor:
        """[B, M, L] → [B, 8M, S]."""
        spect = self.upsample(mel)[:, :, :samples].unfold(2, self.n_group, self.n_group).permute(0, 2, 1, 3)
        return spect.flatten(2).permute(0, 2, 1)

    def forward(self, mel: Tensor, audio: Tensor) -> Tensor:
        """Audio [B, T] → z [B, 8, S], in the order early, early, …, final."""
        cond = self.condition(mel, audio.size(1))
        x = audio.unfold(1, self.n_group, self.n_group).permute(0, 2, 1)
        out = []
        for k in range(self.n_flows):
            if self.leaves(k):
                out.append(x[:, : self.n_early_size])
                x = x[:, self.n_early_size :]
            x_a, x_b = _halves(k, *self.convinv[k](x).tensor_split(2, 1))
            b, log_s = self.WN[k](x_a, cond).chunk(2, 1)
            x = torch.cat(_halves(k, x_a, log_s.exp() * x_b + b), 1)
        return torch.cat([*out, x], 1)

    def infer(self, mel: Tensor, z: Tensor) -> Tensor:
        """z [B, 8, S], in the order of `forward`, → audio [B, T]."""
        cond = self.condition(mel, z.size(2) * self.n_group)
        early, x = z.size(1) - self.n_remaining_channels, z[:, -self.n_remaining_channels :]
        for k in reversed(range(self.n_flows)):
            x_a, x_b = _halves(k, *x.tensor_split(2, 1))
            b, log_s = self.WN[k](x_a, cond).chunk(2, 1)
            mixed = torch.cat(_halves(k, x_a, (x_b - b) / log_s.exp()), 1)
            x = self.convinv[k].inverse(mixed)  # type: ignore[operator]  # of a list of modules
            if self.leaves(k):
                x = torch.cat([z[:, early - self.n_early_size : early], x], 1)
                early -= self.n_early_size
        return x.permute(0, 2, 1).flatten(1)


def _halves(k: int, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """What feeds the network of step k and what it changes; and back, into the order of the channels."""
    return (second, first) if ALTERNATE and k % 2 else (first, second)


def _pointwise(n_in: int, widths: list[int]) -> nn.ModuleList:
    return nn.ModuleList(weight_norm(nn.Conv1d(n_in, width, 1)) for width in widths)
