"""Glow: steps of ActNorm, invertible 1×1 convolution and coupling, at several scales.

Kingma & Dhariwal 2018, "Glow: Generative Flow with Invertible 1×1 Convolutions", arXiv:1807.03039.

Letters: B batch, C channels, H height, W width, K steps of a scale, L scales.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from vocoder.flows import (
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    Chain,
    Flow,
    GaussianPrior,
    InvertibleConv1x1,
    Reverse,
    Shuffle,
    Split,
    Squeezed2d,
    Swap,
    Trailing,
)
from vocoder.flows.flow import bounded, refuse_lengths, sum_log_det
from vocoder.models.density import DensityModel, preprocessing
from vocoder.models.density_config import DensityConfig, Preprocess
from vocoder.nets.convnet import GAIN, GlowNet, ZeroConv

__all__ = ["Glow", "GlowConfig"]

Coupling = Literal["affine", "additive"]
Mix = Literal["dense", "plu", "swap", "reverse", "shuffle"]


@dataclass(frozen=True)
class GlowConfig(DensityConfig):
    """Every choice that shapes a Glow; `InvalidConfig` where two contradict one another.

    What is not chosen is the published affine model with two differences, for its samples to be finite: its
    log-scales have bounds, and its matrices are triangular. `cifar10` is the published model itself.

    Published runs (README of the authors' code; L scales, K steps, width 512 everywhere):

    ================== == == ======== ====== =====================
    data               L  K  coupling levels bits a dimension
    ================== == == ======== ====== =====================
    CIFAR-10           3  32 affine   256    3.35
    ImageNet 32        3  48 affine   256    4.09
    ImageNet 64        4  48 affine   256    3.81
    LSUN 64            3  48 affine   256    2.38, 2.46, 2.67
    CelebA-HQ 256      6  32 additive 32
    ================== == == ======== ====== =====================

    Attributes:
        levels: of a pixel, 2ⁿ for the paper's ``n_bits`` (see `vocoder.models.density.fewer_bits`).
        preprocess: ``centre`` is the authors'.
        scales: L; the image is squeezed before each, and half of it factored out after each but the last.
        steps: K, of every scale.
        width: of the couplings' networks.
        coupling: ``affine``, or ``additive``, which is cheaper, more stable and a little worse.
        mix: the channels are mixed by a 1×1 convolution with a ``plu`` decomposition, or with a ``dense``
            matrix, as published, or just reordered: ``swap`` of the halves, ``reverse``, ``shuffle``.
        classes: how many, of a class-conditional prior; 0 for none.
        bound: largest |log-scale| of couplings and priors, smoothly; ``None`` leaves it free, as published.
    """

    _choices: ClassVar = {"preprocess": Preprocess, "coupling": Coupling, "mix": Mix}
    _least: ClassVar = {"scales": 1, "steps": 1, "width": 1, "classes": 0}

    preprocess: Preprocess = "centre"
    scales: int = 3
    steps: int = 32
    width: int = 512
    coupling: Coupling = "affine"
    mix: Mix = "plu"
    classes: int = 0
    bound: float | None = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("shape", len(self.shape) == 3, "be that of an image, (C, H, W)")
        self._require_halvings(self.scales)
        self._require_bound(self.bound)

    @classmethod
    def cifar10(cls) -> GlowConfig:
        """The published affine model, without bounds: 44.6 million weights, 3.35 bits on CIFAR-10."""
        return cls((3, 32, 32), mix="dense", bound=None)

    @classmethod
    def digits(cls) -> GlowConfig:
        """For scikit-learn's digits, 8×8 of 17 levels: a minute on a CPU."""
        return cls((1, 8, 8), 17, "logit", 0.35, scales=2, steps=8, width=64)


class Glow(DensityModel):
    """L scales of K steps, with what each factors out standardised by what it keeps.

    ::

        image [B, C, H, W]
          squeeze                                   4C channels, H/2 × W/2
          K × (ActNorm → 1×1 conv → coupling)
          half leaves: (· − μ) / σ given the rest ────────┐
            squeeze                                       │
            K × (ActNorm → 1×1 conv → coupling)           │
            …                                             │
            the last all: (· − μ) / σ, learned ───────────┼──► z [B, C, H, W], standard normal

    Where the paper and its authors' code differ, this is the code: ``(x + b) · s`` in ActNorm and coupling,
    ``s = sigmoid(h + 2)``, ActNorm within the networks too, and no logit. The priors of the parts that leave
    are learned, Gaussian, and written here as what they are, affine couplings: so z is a standard normal
    under any weights, and a temperature acts at every scale (the code's ``eps``).

    The published form leaves the log-scales of couplings and priors free, and little data can drive them to
    where draws overflow; that is what ``bound`` is for. An ActNorm's and, with ``plu``, those of the matrices
    have bounds of their own, 14. A ``dense`` matrix has none: what keeps it from becoming singular is the
    likelihood alone, which holds its log-determinant.

    Example:
        >>> model = Glow(GlowConfig((1, 4, 4), 17, scales=2, steps=1, width=4))
        >>> model.sample(2, temperature=0.7).shape
        torch.Size([2, 1, 4, 4])
    """

    config: GlowConfig

    def __init__(self, config: GlowConfig) -> None:
        super().__init__(
            Chain([*preprocessing(config.preprocess), _scale(config, 4 * config.shape[0], 0)]),
            GaussianPrior(),
            config.shape,
            config.levels,
            config.classes,
        )
        self.config = config


class TopPrior(Flow):
    """What is left at the top, standardised: ``z = (x − μ) · exp(−log σ)``, ``log_det = −Σ log σ``.

    ``[μ | log σ]`` is a `ZeroConv` of an image of zeros, and so a bias and what the border makes of it, plus,
    given classes, a row of a table (``prior`` in the authors' code). The weights that would meet the zeros
    are there and stay as they are, for the count to be the published one.

    Args:
        channels: C.
        classes: how many; ``cond`` is then the class of every item, ``[B]``.
        bound: largest |log σ|, smoothly; ``None`` for any.

    Shapes: ``[B, C, H, W]``, kept.
    """

    rank = 4

    def __init__(self, channels: int, *, classes: int = 0, bound: float | None = None) -> None:
        super().__init__()
        self.net = ZeroConv(2 * channels, 2 * channels)
        self.table = _ClassTable(classes, 2 * channels) if classes else None
        self.bound = bound

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        refuse_lengths(x, lengths)
        mean, log_std = self._moments(x, cond)
        return (x - mean) * (-log_std).exp(), -sum_log_det(log_std)

    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        refuse_lengths(z, lengths)
        mean, log_std = self._moments(z, cond)
        return z * log_std.exp() + mean, sum_log_det(log_std)

    def _moments(self, x: Tensor, cond: Tensor | None) -> tuple[Tensor, Tensor]:
        self.check_rank(x)
        moments = self.net(x.new_zeros(1, 2 * x.shape[1], *x.shape[2:]))
        if self.table is not None:
            moments = moments + self.table(cond)[..., None, None]
        mean, log_std = moments.to(x.dtype).expand(len(x), -1, -1, -1).chunk(2, 1)
        return mean, log_std if self.bound is None else bounded(log_std, self.bound)


class _ClassTable(nn.Module):
    """A row for every class, from zero, plus what all share, times a gain: the authors' ``linear_zeros``."""

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.zeros(classes, channels))
        self.shared = nn.Parameter(torch.zeros(channels))
        self.log_gain = nn.Parameter(torch.zeros(channels))

    def forward(self, classes: Tensor) -> Tensor:
        return (self.rows[classes] + self.shared) * (GAIN * self.log_gain).exp()


def _scale(config: GlowConfig, channels: int, scale: int) -> Flow:
    """A scale, whose squeezed image has so many channels, and all that follow it."""
    steps = [flow for k in range(config.steps) for flow in _step(config, channels, k)]
    if scale == config.scales - 1:
        top = TopPrior(channels, classes=config.classes, bound=config.bound)
        return Squeezed2d(Chain([*steps, top]))
    half = channels // 2
    leaving = AffineCoupling(ZeroConv(half, channels), half, order="shift_then_scale", bound=config.bound)
    rest = Split(Trailing(half), _scale(config, 4 * half, scale + 1))
    return Squeezed2d(Chain([*steps, leaving, rest]))


def _step(config: GlowConfig, channels: int, k: int) -> Iterator[Flow]:
    yield ActNorm(channels)
    yield _mix(config, channels, k)
    yield _coupling(config, channels)


def _mix(config: GlowConfig, channels: int, k: int) -> Flow:
    if config.mix == "dense" or config.mix == "plu":
        return InvertibleConv1x1(channels, config.mix)
    if config.mix == "shuffle":
        return Shuffle(channels, seed=k)
    return Swap(channels // 2) if config.mix == "swap" else Reverse()


def _coupling(config: GlowConfig, channels: int) -> Flow:
    half = channels // 2
    if config.coupling == "additive":
        return AdditiveCoupling(_net(config, half, half), half)
    net = _net(config, half, channels)
    return AffineCoupling(net, half, order="shift_then_scale", scale="sigmoid", bound=config.bound)


def _net(config: GlowConfig, in_channels: int, out_channels: int) -> GlowNet:
    return GlowNet(in_channels, out_channels, width=config.width, norm=ActNorm, dropout=config.dropout)
