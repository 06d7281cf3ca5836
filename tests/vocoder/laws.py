"""Every flow once, with parameters that are not at rest, in float64: who joins this list earns its tests.

Shape letters: B batch, T samples, G group size, S groups in time, C channels.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from vocoder.flows import (
    AdditiveCoupling,
    AffineCoupling,
    Chain,
    CholeskyWhiten,
    DiagonalWhiten,
    Flow,
    Inverse,
    InvertibleConv1x1,
    LappedTransform,
    Reverse,
    Split,
    Squeeze,
    Squeezed,
)
from vocoder.nets.wavenet import WaveNet

Network = TypeVar("Network", bound=nn.Module)


class Pointwise(nn.Module):
    """The plainest conditioner that has parameters and something to learn from `cond`."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(in_channels, 6, 1), nn.Conv1d(6, out_channels, 1)

    def forward(self, x: Tensor, cond: Tensor | None) -> Tensor:
        """Two layers, `[B, in, S]` → `[B, out, S]`, within ±1 or so."""
        hidden = self.first(x) if cond is None else self.first(x) + cond.mean(1, keepdim=True)
        return torch.tanh(self.second(torch.tanh(hidden)))


@dataclass(frozen=True)
class Law:
    """A flow, the shape `[B, …]` of what it takes, and its conditioning, a batch of equal length, or None."""

    name: str
    build: Callable[[], Flow]
    shape: tuple[int, ...]
    cond: Callable[[], Tensor | None] = lambda: None

    def flow(self) -> Flow:
        """The flow in float64, its parameters moved away from where they start."""
        return stirred(self.build().double())

    def x(self) -> Tensor:
        """A batch of data in float64."""
        return torch.randn(self.shape, dtype=torch.float64)

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


def _filter() -> Flow:
    transform = LappedTransform(6)
    return Chain([transform, DiagonalWhiten(), Inverse(transform)])


LAWS = [
    Law("reverse", Reverse, (2, 5, 3)),
    Law("reverse-plain", Reverse, (2, 5)),
    Law("mix", lambda: InvertibleConv1x1(6), (2, 6, 5)),
    Law("additive", lambda: AdditiveCoupling(Pointwise(3, 4), 3), (2, 7, 4)),
    Law("affine", lambda: AffineCoupling(Pointwise(2, 6), 2), (2, 5, 4)),
    Law(
        "affine-shift-first",
        lambda: AffineCoupling(Pointwise(2, 6), 2, order="shift_then_scale", bound=0.7),
        (2, 5, 4),
    ),
    Law("affine-wavenet", lambda: AffineCoupling(_wavenet(), 3, bound=3.0), (2, 6, 5), _cond(2, 4, 5)),
    Law("chain", lambda: Chain([*_step(), Reverse(), *_step()]), (2, 6, 4), _cond(2, 2, 4)),
    Law("chain-empty", lambda: Chain([]), (2, 4)),
    Law("split", lambda: Split(2, Chain([*_step(), Split(3, InvertibleConv1x1(3))])), (2, 8, 3)),
    Law("squeeze", lambda: Squeeze(4), (2, 12)),
    Law("squeezed", lambda: Squeezed(6, Chain(_step())), (2, 18), _cond(2, 2, 3)),
    Law("lapped", lambda: LappedTransform(6), (2, 24)),
    Law("lapped-one-block", lambda: LappedTransform(8), (2, 8)),
    Law("inverse", lambda: Inverse(InvertibleConv1x1(5)), (2, 5, 4)),
    Law("filter", _filter, (2, 24), _cond(2, 24)),
    Law("diagonal", DiagonalWhiten, (2, 3, 5), _cond(2, 3, 5)),
    Law("cholesky", CholeskyWhiten, (2, 4, 3), lambda: _covariance(2, 3, 4)),
]
