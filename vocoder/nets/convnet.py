"""The networks of the couplings of images: Glow's, with three convolutions, and RealNVP's residual one.

Letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import register_parametrization

GAIN = 3.0  # a logarithm that is learned counts this many times: Glow's "logscale_factor"


class BorderConv(nn.Conv2d):
    """A 3×3 convolution that knows where the image ends.

    To the padded image comes one more channel, which is 1 in the padding and 0 inside, so that zeros of the
    image and zeros around it are told apart (Glow's code, ``add_edge_padding``; the paper has no word of it).
    Weights, those of that channel last, start as N(0, 0.05²).

    Shapes: ``[B, in, H, W]`` → ``[B, out, H, W]``.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool) -> None:
        super().__init__(in_channels + 1, out_channels, 3, padding=1, bias=bias)
        nn.init.normal_(self.weight, std=0.05)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # what nn.Conv2d calls it
        # The channel is the same in every image: its share of the sum is computed once, not B times.
        edge = F.pad(input.new_zeros(1, 1, *input.shape[2:]), (1, 1, 1, 1), value=1.0)
        inside = F.conv2d(input, self.weight[:, :-1], self.bias, padding=1)
        return inside + F.conv2d(edge, self.weight[:, -1:])


class ZeroConv(nn.Module):
    """A `BorderConv` that starts at zero, times a learned gain: ``exp(3·g) ⊙ (W ∗ x + b)``.

    (Kingma & Dhariwal 2018, Glow, section 3.3: "zero initialization"; the gain is in the code only,
    ``conv2d_zeros``.) What reads it starts as the identity, or as a standard normal.

    Shapes: ``[B, in, H, W]`` → ``[B, out, H, W]``.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = BorderConv(in_channels, out_channels, bias=True)
        self.log_gain = nn.Parameter(torch.zeros(out_channels))
        for weight in self.conv.parameters():
            nn.init.zeros_(weight)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.conv(x) * (GAIN * self.log_gain).exp()[:, None, None]


class GlowNet(nn.Module):
    """Glow's network: a 3×3, a 1×1 and a 3×3 convolution, the first two normalised and rectified.

    ``h ← relu(norm(W₁ ∗ x))``, ``h ← relu(norm(W₂ h))``, ``ZeroConv(h)`` (Kingma & Dhariwal 2018, Glow,
    section 4; that the layers are normalised, and that they see the border, is in the code only).

    Args:
        in_channels: channels of ``x``.
        out_channels: channels of the result.
        width: of the hidden layers, 512 in the paper.
        norm: makes the normalisation of so many channels, a module that answers with a pair whose first is
            the normalised ``[B, width, H, W]``, as an ``ActNorm`` does.
        dropout: in training, part of the channels that the last convolution reads that is dropped.

    Shapes: ``x [B, in, H, W]`` → ``[B, out, H, W]``; a pixel sees two others each way.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int,
        norm: Callable[[int], nn.Module],
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.start = BorderConv(in_channels, width, bias=False)
        self.start_norm = norm(width)
        self.middle = nn.Conv2d(width, width, 1, bias=False)
        nn.init.normal_(self.middle.weight, std=0.05)
        self.middle_norm = norm(width)
        self.dropout = nn.Dropout2d(dropout)
        self.end = ZeroConv(width, out_channels)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        hidden, _ = self.start_norm(self.start(x))
        hidden, _ = self.middle_norm(self.middle(torch.relu(hidden)))
        return self.end(self.dropout(torch.relu(hidden)))


class ResidualConvNet(nn.Module):
    """RealNVP's network: pre-activation residual blocks, each heard at the end through a path of its own.

    ``r = norm(x)``, ``h₀ = V ∗ relu([r, −r])``, ``h_i = h_{i−1} + block_i(h_{i−1})``,
    ``out = U relu(norm(Σ_i S_i h_i))``; a block is norm, relu, 3×3, norm, relu, 3×3, and S and U are 1×1
    (Dinh et al. 2016, RealNVP, arXiv:1605.08803, section 3.7 and its code, ``resnet``). All convolutions are
    weight-normalised (Salimans & Kingma 2016, arXiv:1602.07868), with a learned gain where no normalisation
    follows that would undo it.

    Args:
        in_channels: channels of ``x``.
        out_channels: channels of the result.
        width: of the hidden layers.
        blocks: residual blocks.
        shown: of a checkerboard, which pixels of ``x`` are shown, those with an even (0) or an odd (1) sum
            of row and column; the others are zeros. The network is told by a channel more, and r is doubled,
            as half of what it is a norm of is zeros. ``None``: all are shown.
        dropout: in training, part of the channels that the last convolution reads that is dropped.

    Shapes: ``x [B, in, H, W]`` → ``[B, out, H, W]``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int,
        blocks: int,
        shown: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.shown = shown
        self.norm = _Norm(in_channels)
        self.start = _convolution(2 * in_channels + (shown is not None), width, 3, gain=False)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(blocks))
        self.skips = nn.ModuleList(_convolution(width, width, 1) for _ in range(blocks + 1))
        self.end_norm = _Norm(width)
        self.dropout = nn.Dropout2d(dropout)
        self.end = _convolution(width, out_channels, 1)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        hidden = self.start(self._rectified(x))
        heard = self.skips[0](hidden)
        for block, skip in zip(self.blocks, self.skips[1:], strict=True):
            hidden = hidden + block(hidden)
            heard = heard + skip(hidden)
        return self.end(self.dropout(torch.relu(self.end_norm(heard))))

    def _rectified(self, x: Tensor) -> Tensor:
        """Both signs of the normalised image, rectified, and the mask if there is one."""
        r = self.norm(x)
        if self.shown is None:
            return torch.relu(torch.cat([r, -r], 1))
        mask = checkerboard(x, self.shown).expand(len(x), 1, -1, -1)
        return torch.relu(torch.cat([2 * r, -2 * r, mask], 1))


class _Norm(nn.Module):
    """Batch normalisation that learns a shift and no gain, as the authors have it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, eps=1e-4, affine=False)
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x) + self.shift[:, None, None]


class _Block(nn.Module):
    """What a residual block adds."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first_norm, self.second_norm = _Norm(width), _Norm(width)
        self.first = _convolution(width, width, 3, gain=False, bias=False)
        self.second = _convolution(width, width, 3)

    def forward(self, hidden: Tensor) -> Tensor:
        inner = self.first(torch.relu(self.first_norm(hidden)))
        return self.second(torch.relu(self.second_norm(inner)))


class _UnitNorm(nn.Module):
    """Weight normalisation without a gain: every filter has norm one."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight / torch.linalg.vector_norm(weight, dim=(1, 2, 3), keepdim=True)


def checkerboard(x: Tensor, parity: int) -> Tensor:
    """``[H, W]`` of ones where row + column has this parity, and zeros elsewhere, like ``x [B, C, H, W]``.

    Example:
        >>> checkerboard(torch.zeros(1, 1, 2, 3), 1).tolist()
        [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]
    """
    row, column = (torch.arange(size, device=x.device) for size in x.shape[2:])
    return ((row[:, None] + column) % 2 == parity).to(x.dtype)


def _convolution(
    in_channels: int, out_channels: int, kernel: int, *, gain: bool = True, bias: bool = True
) -> nn.Module:
    """A weight-normalised convolution with the authors' start: uniform filters, and gains to match."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=bias)
    limit = math.sqrt(2 / in_channels)
    nn.init.uniform_(conv.weight, -limit, limit)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    if not gain:
        return register_parametrization(conv, "weight", _UnitNorm())
    normed = weight_norm(conv)
    gains = normed.get_parameter("parametrizations.weight.original0")
    nn.init.constant_(gains, limit * math.sqrt(in_channels * kernel**2 / 12))
    return normed
