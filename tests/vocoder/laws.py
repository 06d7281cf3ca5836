"""Every flow once, with parameters that are not at rest, in float64: who joins this list earns its tests.

Shape letters: B batch, T samples, G group size, S groups in time, C channels, H × W pixels.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from vocoder.flows import (
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    BatchNorm,
    Centre,
    Chain,
    Checkerboard,
    Chequered,
    CholeskyWhiten,
    DiagonalWhiten,
    Flattened,
    Flow,
    Folded,
    Inverse,
    InvertibleConv1x1,
    LappedTransform,
    Logit,
    OddEven,
    Reverse,
    Scale,
    Shuffle,
    Split,
    Squeeze,
    Squeeze2d,
    Squeezed,
    Squeezed2d,
    Swap,
    Trailing,
)
from vocoder.nets.wavenet import WaveNet

Network = TypeVar("Network", bound=nn.Module)


class Pointwise(nn.Module):
    """The plainest conditioner that has parameters and something to learn from `cond`."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(in_channels, 6, 1), nn.Conv1d(6, out_channels, 1)

    def forward(self, x: Tensor, cond: Tensor | None, lengths: Tensor | None = None) -> Tensor:
        """Two layers, `[B, in, S]` → `[B, out, S]`, within ±1 or so."""
        hidden = self.first(x) if cond is None else self.first(x) + cond.mean(1, keepdim=True)
        return torch.tanh(self.second(torch.tanh(hidden)))


class Perceptron(nn.Module):
    """The plainest conditioner of vectors."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(inputs, 6), nn.Linear(6, outputs)

    def forward(self, x: Tensor, cond: Tensor | None) -> Tensor:
        """Two layers, `[B, in]` → `[B, out]`, within ±1 or so."""
        hidden = self.first(x) if cond is None else self.first(x) + cond.mean(1, keepdim=True)
        return torch.tanh(self.second(torch.tanh(hidden)))


class Convolutions(nn.Module):
    """The plainest conditioner of images that sees beyond a pixel."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, 6, 3, padding=1)
        self.second = nn.Conv2d(6, out_channels, 3, padding=1)

    def forward(self, x: Tensor, cond: Tensor | None) -> Tensor:
        """Two layers, `[B, in, H, W]` → `[B, out, H, W]`, within ±1 or so."""
        hidden = self.first(x) if cond is None else self.first(x) + cond.mean(1, keepdim=True)
        return torch.tanh(self.second(torch.tanh(hidden)))


@dataclass(frozen=True)
class Law:
    """A flow, the shape `[B, …]` of what it takes, and its conditioning, a batch of equal length, or None.

    `lengths` are possible lengths of the items, if the flow takes batches of unequal length, and `cut` is how
    conditioning gets as long as an item. `draw` makes data of a shape, if not all real numbers are data.
    """

    name: str
    build: Callable[[], Flow]
    shape: tuple[int, ...]
    cond: Callable[[], Tensor | None] = lambda: None
    lengths: tuple[int, ...] = ()
    cut: Callable[[Tensor, int], Tensor] = lambda cond, length: cond[..., :length]
    draw: Callable[..., Tensor] = torch.randn

    def flow(self) -> Flow:
        """The flow in float64, its parameters moved away from where they start."""
        return stirred(self.build().double())

    def x(self) -> Tensor:
        """A batch of data in float64."""
        return self.draw(self.shape, dtype=torch.float64)

    def __str__(self) -> str:
        return self.name


def stirred(network: Network, scale: float = 0.3) -> Network:
    """Add noise to every parameter: a net that starts as the identity proves nothing."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return network


def _wavenet() -> WaveNet:
    return WaveNet(3, 6, 4, channels=5, dilations=(1, 2))


def _covariance(batch: int, groups: int, size: int) -> Tensor:
    root = torch.randn(batch, groups, size, size, dtype=torch.float64)
    return root @ root.mT + 0.5 * torch.eye(size, dtype=torch.float64)


def _cond(*shape: int) -> Callable[[], Tensor]:
    return lambda: torch.randn(shape, dtype=torch.float64)


def _step() -> Iterator[Flow]:
    yield InvertibleConv1x1(6)
    yield AffineCoupling(Pointwise(3, 6), 3)


def _settled(flow: Flow, *shape: int) -> Flow:
    """The flow after some batches of training, in evaluation."""
    for scale in (1, 2, 3):
        flow(scale * torch.randn(shape) + 1)
    return flow.eval()


def _glow_step(channels: int) -> Iterator[Flow]:
    half = channels // 2
    yield _settled(ActNorm(channels), 4, channels, 2, 2)
    yield InvertibleConv1x1(channels, "plu")
    net = Convolutions(half, 2 * (channels - half))
    yield AffineCoupling(net, half, order="shift_then_scale", scale="sigmoid", bound=3.0)


def _multiscale() -> Flow:
    factored = Split(Trailing(2), Squeezed2d(Chain(_glow_step(8))))
    return Squeezed2d(Chain([*_glow_step(4), factored]), ordered=True)


def _checkered(odd: bool) -> Flow:
    return AffineCoupling(Convolutions(2, 4), Checkerboard(odd), order="shift_then_scale", scale="tanh")


def _filter() -> Flow:
    transform = LappedTransform(6)
    return Chain([transform, DiagonalWhiten(), Inverse(transform)])


LAWS = [
    Law("reverse", Reverse, (2, 5, 3), lengths=(1, 3)),
    Law("reverse-plain", Reverse, (2, 5)),
    Law("swap", lambda: Swap(2), (2, 5, 3), lengths=(3, 2)),
    Law("shuffle", lambda: Shuffle(5, seed=3), (2, 5, 3), lengths=(2, 3)),
    Law("scale", lambda: Scale(4), (2, 4, 5), lengths=(2, 5)),
    Law("scale-vector", lambda: Scale(4), (2, 4)),
    Law("scale-image", lambda: Scale(3, bound=0.5), (2, 3, 2, 4)),
    Law("actnorm", lambda: _settled(ActNorm(4), 5, 4, 6), (2, 4, 5), lengths=(2, 5)),
    Law("actnorm-vector", lambda: _settled(ActNorm(4), 5, 4), (2, 4)),
    Law("actnorm-image", lambda: _settled(ActNorm(3, bound=1.0), 5, 3, 2, 4), (2, 3, 2, 4)),
    Law("batchnorm", lambda: _settled(BatchNorm(4), 5, 4, 6), (2, 4, 5), lengths=(2, 5)),
    Law("batchnorm-vector", lambda: _settled(BatchNorm(4, 0.3), 5, 4), (2, 4)),
    Law("batchnorm-image", lambda: _settled(BatchNorm(3, running=True), 5, 3, 2, 4), (2, 3, 2, 4)),
    Law("mix", lambda: InvertibleConv1x1(6), (2, 6, 5), lengths=(4, 5)),
    Law("mix-vector", lambda: InvertibleConv1x1(6), (2, 6)),
    Law("mix-image", lambda: InvertibleConv1x1(6), (2, 6, 2, 3)),
    Law("mix-plu", lambda: InvertibleConv1x1(6, "plu"), (2, 6, 5), lengths=(4, 5)),
    Law("mix-plu-vector", lambda: InvertibleConv1x1(6, "plu"), (2, 6)),
    Law("mix-plu-image", lambda: InvertibleConv1x1(6, "plu"), (2, 6, 2, 3)),
    Law("additive", lambda: AdditiveCoupling(Pointwise(3, 4), 3), (2, 7, 4), lengths=(4, 1)),
    Law("additive-vector", lambda: AdditiveCoupling(Perceptron(3, 4), OddEven(odd=True)), (2, 7)),
    Law("additive-image", lambda: AdditiveCoupling(Convolutions(2, 2), Checkerboard(odd=True)), (2, 2, 3, 4)),
    Law("affine", lambda: AffineCoupling(Pointwise(2, 6), 2), (2, 5, 4), lengths=(2, 4)),
    Law("affine-vector", lambda: AffineCoupling(Perceptron(4, 6), OddEven(odd=False)), (2, 7), _cond(2, 3)),
    Law("affine-trailing", lambda: AffineCoupling(Perceptron(2, 6), Trailing(2)), (2, 5)),
    Law("affine-image", lambda: AffineCoupling(Convolutions(1, 4), Trailing(1)), (2, 3, 2, 3)),
    Law("affine-even", lambda: _checkered(odd=False), (2, 2, 3, 4), _cond(2, 5, 3, 4)),
    Law("affine-odd", lambda: _checkered(odd=True), (2, 2, 1, 5)),
    Law(
        "affine-sigmoid",
        lambda: AffineCoupling(Pointwise(2, 6), OddEven(odd=True), scale="sigmoid", bound=2.0),
        (2, 5, 4),
        lengths=(2, 4),
    ),
    Law(
        "affine-tanh", lambda: AffineCoupling(Pointwise(2, 6), 2, scale="tanh"), (2, 5, 4), lengths=(2, 4)
    ),
    Law(
        "affine-shift-first",
        lambda: AffineCoupling(Pointwise(2, 6), 2, order="shift_then_scale", bound=0.7),
        (2, 5, 4),
        lengths=(3, 4),
    ),
    Law(
        "affine-wavenet",
        lambda: AffineCoupling(_wavenet(), 3, bound=3.0),
        (2, 6, 5),
        _cond(2, 4, 5),
        (3, 5),
    ),
    Law("chain", lambda: Chain([*_step(), Reverse(), *_step()]), (2, 6, 4), _cond(2, 2, 4), (4, 2)),
    Law("chain-empty", lambda: Chain([]), (2, 4), lengths=(4, 1)),
    Law(
        "split",
        lambda: Split(2, Chain([*_step(), Split(3, InvertibleConv1x1(3))])),
        (2, 8, 3),
        lengths=(2, 3),
    ),
    Law("split-vector", lambda: Split(OddEven(odd=True), Scale(3)), (2, 5)),
    Law("split-vector-local", lambda: Split(2, AffineCoupling(Perceptron(1, 4), 1)), (2, 5)),
    Law("squeeze", lambda: Squeeze(4), (2, 12)),
    Law("squeeze2d", Squeeze2d, (2, 2, 4, 6)),
    Law("squeeze2d-ordered", lambda: Squeeze2d(ordered=True), (2, 2, 4, 6)),
    Law("squeezed2d", _multiscale, (2, 1, 4, 4)),
    Law("squeezed2d-affine", lambda: Squeezed2d(AffineCoupling(Convolutions(3, 10), 3)), (2, 2, 4, 2)),
    Law("chequered", lambda: Chequered(Split(2, Scale(2))), (2, 2, 4, 2)),
    Law("flattened", lambda: Flattened(AffineCoupling(Perceptron(4, 8), 4)), (2, 1, 2, 4)),
    Law("logit", Logit, (2, 3, 5), lengths=(2, 5), draw=torch.rand),
    Law("logit-vector", lambda: Logit(0.1), (2, 4), draw=torch.rand),
    Law("logit-image", lambda: Logit(1e-6), (2, 1, 3, 2), draw=torch.rand),
    Law("centre", Centre, (2, 3, 5), lengths=(2, 5)),
    Law("centre-image", Centre, (2, 1, 3, 2)),
    Law(
        "squeezed",
        lambda: Squeezed(6, Chain(_step())),
        (2, 18),
        _cond(2, 2, 3),
        (6, 18),
        lambda cond, length: cond[..., : length // 6],
    ),
    Law(
        "folded",
        lambda: Folded(2, Chain([_settled(ActNorm(6), 5, 6, 4), AffineCoupling(_wavenet(), 3, bound=3.0)])),
        (2, 3, 10),
        _cond(2, 4, 5),
        (6, 10),
        lambda cond, length: cond[..., : length // 2],
    ),
    Law("lapped", lambda: LappedTransform(6), (2, 24), lengths=(12, 24)),
    Law("lapped-one-block", lambda: LappedTransform(8), (2, 8), lengths=(8, 8)),
    Law("inverse", lambda: Inverse(InvertibleConv1x1(5)), (2, 5, 4), lengths=(4, 3)),
    Law("filter", _filter, (2, 24), _cond(2, 24), (6, 24)),
    Law("diagonal", DiagonalWhiten, (2, 3, 5), _cond(2, 3, 5), (5, 2)),
    Law(
        "cholesky",
        CholeskyWhiten,
        (2, 4, 3),
        lambda: _covariance(2, 3, 4),
        (1, 3),
        lambda cond, length: cond[:, :length],
    ),
]
