"""RealNVP: affine couplings of masked images at several scales; of vectors, a plain stack of them.

Dinh, Sohl-Dickstein & Bengio 2016, "Density estimation using Real NVP", arXiv:1605.08803.

Letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from vocoder.flows import (
    AffineCoupling,
    BatchNorm,
    Chain,
    Checkerboard,
    Chequered,
    Flow,
    GaussianPrior,
    Leading,
    OddEven,
    Partition,
    Split,
    Squeezed2d,
    Trailing,
)
from vocoder.models.density import DensityModel, preprocessing
from vocoder.models.density_config import DensityConfig, Preprocess
from vocoder.nets.convnet import ResidualConvNet
from vocoder.nets.mlp import MLP

__all__ = ["RealNVP", "RealNVPConfig"]

Normalisation = Literal["batch", "running", "none"]


@dataclass(frozen=True)
class RealNVPConfig(DensityConfig):
    """Every choice that shapes a RealNVP; `InvalidConfig` where two contradict one another.

    Attributes:
        scales: of an image; after all but the last, its sides are halved and half of it is factored out. A
            vector has one.
        couplings: of an image, with each kind of mask in a scale (the last has one more, and checkerboards
            only); of a vector, in all.
        blocks: residual blocks of every coupling's network; of a vector's, hidden layers.
        width: of a network in the first scale; it doubles with every squeeze.
        norm: of what a coupling changed: by the moments of the ``batch``, as in the authors' code, by
            ``running`` averages of them (paper, appendix E), or ``none``.
        bound: largest |log-scale| of a coupling, smoothly; ``None`` leaves it to the learned scale of the
            tanh, as the authors do.
    """

    _choices: ClassVar = {"preprocess": Preprocess, "norm": Normalisation}
    _least: ClassVar = {"scales": 1, "couplings": 1, "blocks": 0, "width": 1}

    preprocess: Preprocess = "logit"
    scales: int = 2
    couplings: int = 3
    blocks: int = 8
    width: int = 64
    norm: Normalisation = "batch"
    bound: float | None = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_bound(self.bound)
        if self.image:
            self._require_halvings(self.scales)
        else:
            self._require("shape", self.shape[0] > 1, "hold two numbers at least, to be parted")
            self._require("scales", self.scales == 1, "be 1 for a vector")

    @property
    def image(self) -> bool:
        """Whether the data are images, not vectors."""
        return len(self.shape) == 3

    @classmethod
    def cifar10(cls) -> RealNVPConfig:
        """The paper's own for CIFAR-10 (section 4.1), without a bound: 3.49 bits a dimension there."""
        return cls((3, 32, 32), bound=None)

    @classmethod
    def digits(cls) -> RealNVPConfig:
        """For scikit-learn's digits, 8×8 of 17 levels: a minute on a CPU."""
        return cls((1, 8, 8), 17, dropout=0.2, blocks=1, width=32)

    @classmethod
    def moons(cls) -> RealNVPConfig:
        """For points of a plane, such as scikit-learn's two moons: seconds."""
        return cls((2,), None, "none", scales=1, couplings=8, blocks=2, width=64, norm="none")


class RealNVP(DensityModel):
    """Couplings ``z_b = (x_b + t(x_a)) · exp(log_s(x_a))``, ``log_s = gain · tanh(·)``, each then normalised.

    ::

        image [B, C, H, W]
          3 couplings of checkerboards        C channels, H × W
          squeeze, 3 of channels, unsqueeze   4C channels, H/2 × W/2
          squeeze, diagonal pixels first      half of the 4C is factored out ───┐
          the next scale, on the other half   2C channels, H/2 × W/2            │
          …                                                                     │
          last scale: 4 of checkerboards ───────────────────────────────────────┼──► z [B, C, H, W]

    Where the paper and its authors' code differ, this is the code: shift before scale, one learned gain at
    the tanh that starts at 0 under checkerboards and at 1 under channels, and both ends of the logit
    protected (``0.05 + 0.9 x``). It departs from the code once: what a coupling of a checkerboard changed is
    normalised by its own moments; the code's are those of the image with zeros for the other pixels.

    Example:
        >>> import torch
        >>> model = RealNVP(RealNVPConfig.moons())
        >>> model.log_prob(torch.zeros(3, 2)).shape
        torch.Size([3])
    """

    config: RealNVPConfig

    def __init__(self, config: RealNVPConfig) -> None:
        inner = _scale(config, config.shape[0], 0) if config.image else Chain(_of_vectors(config))
        super().__init__(
            Chain([*preprocessing(config.preprocess), inner]), GaussianPrior(), config.shape, config.levels
        )
        self.config = config


def _of_vectors(config: RealNVPConfig) -> Iterator[Flow]:
    size = config.shape[0]
    for k in range(config.couplings):
        passing, shown = OddEven(odd=k % 2 == 1), (size + 1 - k % 2) // 2
        out = 2 * (size - shown)
        net = MLP(shown, out, width=config.width, layers=config.blocks, dropout=config.dropout)
        yield _coupling(config, net, passing)
        if config.norm != "none":
            yield Split(passing, _norm(config, size - shown))


def _scale(config: RealNVPConfig, channels: int, scale: int) -> Flow:
    """A scale and all that follow it."""
    last = scale == config.scales - 1
    width, count = config.width * 2**scale, config.couplings
    masked = [flow for k in range(count + last) for flow in _masked(config, channels, width, k)]
    if last:
        return Chain(masked)
    by_channel = [flow for k in range(count) for flow in _by_channel(config, 4 * channels, 2 * width, k)]
    half = 2 * channels
    factored = Split(Trailing(half), _scale(config, half, scale + 1))
    return Chain([*masked, Squeezed2d(Chain(by_channel)), Squeezed2d(factored, ordered=True)])


def _masked(config: RealNVPConfig, channels: int, width: int, k: int) -> Iterator[Flow]:
    """A coupling that is shown the even pixels and changes the odd ones, or, for odd k, the other way."""
    shown = k % 2
    net = _net(config, channels, 2 * channels, width, shown)
    yield _coupling(config, net, Checkerboard(odd=shown == 1))
    if config.norm != "none":
        passing = Trailing(channels) if shown else Leading(channels)
        yield Chequered(Split(passing, _norm(config, channels)))


def _by_channel(config: RealNVPConfig, channels: int, width: int, k: int) -> Iterator[Flow]:
    """A coupling that is shown the first half of the channels and changes the others, or the other way."""
    half = channels // 2
    passing = Trailing(half) if k % 2 else Leading(half)
    net = _net(config, half, channels, width)
    yield _coupling(config, net, passing)
    if config.norm != "none":
        yield Split(passing, _norm(config, half))


def _net(
    config: RealNVPConfig, in_channels: int, out_channels: int, width: int, shown: int | None = None
) -> ResidualConvNet:
    blocks, dropout = config.blocks, config.dropout
    return ResidualConvNet(
        in_channels, out_channels, width=width, blocks=blocks, shown=shown, dropout=dropout
    )


def _coupling(config: RealNVPConfig, net: nn.Module, partition: Partition) -> Flow:
    return AffineCoupling(net, partition, order="shift_then_scale", scale="tanh", bound=config.bound)


def _norm(config: RealNVPConfig, channels: int) -> Flow:
    return BatchNorm(channels, momentum=0.1, running=config.norm == "running")
