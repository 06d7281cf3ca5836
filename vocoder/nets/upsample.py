"""From mel frames to the rate of the groups: the conditioning networks of a WaveGlow.

Shape letters: B batch, T samples, M mel bands, L mel frames, G group size, S = T / G groups, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vocoder.padding import cleared


class TransposedUpsample(nn.Module):
    """The published conditioning: a dense transposed convolution to the audio rate, squeezed like the audio.

    Kernel = window, stride = hop, no padding, the tail cut: frame k reaches the samples
    ``k·hop … k·hop + window − 1``, so that sample t sees, with the published 1024 and 256, the frames
    ``⌊t/hop⌋ − 3 … ⌊t/hop⌋`` and none to come (Prenger et al. 2018, WaveGlow, arXiv:1811.00002, section 3;
    NVIDIA's ``glow.py``). Channel ``m·G + g`` of the result is band m at sample g of the group.

    Args:
        bands: M.
        window: kernel in samples, at least hop.
        hop: stride in samples.
        group: G.

    Attributes:
        reach: frames to the left that a sample sees besides its own.

    Shapes: ``mel [B, M, L]``, ``groups = S`` with S · G ≤ L · hop → ``[B, M·G, S]``.
    """

    def __init__(self, bands: int, window: int, hop: int, group: int) -> None:
        super().__init__()
        self.group = group
        self.reach = (window - 1) // hop
        self.conv = nn.ConvTranspose1d(bands, bands, window, stride=hop)

    def forward(self, mel: Tensor, groups: int, lengths: Tensor | None = None) -> Tensor:
        """What stands behind a clip's end reaches later samples only, so ``lengths`` change nothing."""
        audio_rate = self.conv(mel)[:, :, : groups * self.group]
        return audio_rate.unflatten(2, (groups, self.group)).transpose(2, 3).flatten(1, 2)


class Repeat(nn.Module):
    """No network at all: every mel frame, as often as there are groups in a hop.

    "Nearest" upsampling, as in SqueezeWave (Zhai et al. 2020, arXiv:2001.05685, its code), whose couplings
    read the mel themselves.

    Shapes: ``mel [B, M, L]``, ``groups = S``, a multiple of L → ``[B, M, S]``.

    Example:
        >>> import torch
        >>> Repeat()(torch.tensor([[[1.0, 2.0]]]), groups=4).tolist()
        [[[1.0, 1.0, 2.0, 2.0]]]
    """

    reach = 0

    def forward(self, mel: Tensor, groups: int, lengths: Tensor | None = None) -> Tensor:
        return mel.repeat_interleave(groups // mel.shape[2], 2)


class FrameEncoder(nn.Module):
    """Cheap conditioning: a small residual network at the frame rate, read at the centre of each group.

    ``h_0 = W ∗ (mel − μ)/σ``, ``h_{i+1} = h_i + V_i ∗ gelu(U_i ∗ gelu(h_i))``, result ``gelu(h)`` by
    `at_groups`. W has 5 taps, U 3 and V 1, with zero ("same") padding of the normalised mel.

    Args:
        bands: M.
        channels: C of the result.
        layers: number of residual layers.
        hop: samples of a frame.
        group: G, samples of a group.

    Attributes:
        reach: frames each side that a group sees besides its own: 2 by W, 1 by each layer, and to the right 1
            by reading between frames.

    Shapes: ``mel [B, M, L]``, ``groups = S``, ``lengths [B]`` in frames → ``[B, C, S]``.
    """

    MEAN, STD = -6.0, 2.5  # of natural-log mels of speech; only the scale of the first layer depends on them

    def __init__(self, bands: int, channels: int, layers: int, hop: int, group: int) -> None:
        super().__init__()
        self.hop, self.group = hop, group
        self.reach = 2 + layers + 1
        self.start = nn.Conv1d(bands, channels, 5, padding=2)
        self.layers = nn.ModuleList(_Residual(channels) for _ in range(layers))

    def forward(self, mel: Tensor, groups: int, lengths: Tensor | None = None) -> Tensor:
        hidden = cleared(self.start(cleared((mel - self.MEAN) / self.STD, lengths)), lengths)
        for layer in self.layers:
            hidden = cleared(layer(hidden), lengths)
        return at_groups(F.gelu(hidden), groups, self.hop, self.group, lengths)


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spread = nn.Conv1d(channels, channels, 3, padding=1)
        self.mix = nn.Conv1d(channels, channels, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + self.mix(F.gelu(self.spread(F.gelu(hidden))))


def at_groups(
    frames: Tensor, groups: int, hop: int, group: int, lengths: Tensor | None = None
) -> Tensor:
    """Read a sequence of frames at the centres of the groups, linearly between the two nearest frames.

    Frame k is centred on sample ``k·hop``, group s on sample ``(s + ½)·G``; behind the last frame, which is
    each clip's own where ``lengths [B]`` say so, its value is kept::

        frames      k         k+1        k+2          hop = 2·G
        samples     |---------|----------|
        groups      [  s ][s+1][s+2][s+3]
                       ↑ ¾ k + ¼ (k+1)

    Shapes: ``frames [B, C, L]``, ``groups = S`` → ``[B, C, S]``.

    Example:
        >>> import torch
        >>> at_groups(torch.tensor([[[0.0, 8.0]]]), groups=4, hop=4, group=2).tolist()
        [[[2.0, 6.0, 8.0, 8.0]]]
    """
    centre = (torch.arange(groups, device=frames.device) * 2 + 1) * group  # in half samples, hence an integer
    before = centre.div(2 * hop, rounding_mode="floor")
    if lengths is None:
        left, right = (index.clamp(max=frames.shape[2] - 1) for index in (before, before + 1))
        near, far = frames[..., left], frames[..., right]
    else:
        left, right = (torch.minimum(index, lengths[:, None] - 1) for index in (before, before + 1))
        near, far = (_gather(frames, index) for index in (left, right))
    weight = ((centre - left * 2 * hop).to(frames.dtype) / (2 * hop)).clamp(max=1)
    return torch.lerp(near, far, weight if lengths is None else weight[:, None])


def _gather(frames: Tensor, index: Tensor) -> Tensor:
    """``frames [B, C, L]`` at ``index [B, S]``: ``[B, C, S]``."""
    return frames.gather(2, index[:, None].expand(-1, frames.shape[1], -1))
