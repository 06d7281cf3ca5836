"""With the weights of other libraries copied in, our densities are theirs, to 1e-9 in float64.

The libraries are no dependency of this project: each test runs where its library is installed, and is skipped
with that reason elsewhere.
"""

import math
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vocoder.flows import (
    ActNorm,
    AffineCoupling,
    Chain,
    Flow,
    GaussianPrior,
    Inverse,
    InvertibleConv1x1,
    OddEven,
    Swap,
)
from vocoder.models.density import DensityModel
from vocoder.nets.convnet import GlowNet
from vocoder.nets.mlp import MLP

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs


def library(name: str) -> Any:
    """The module, or the end of the test."""
    return pytest.importorskip(name, reason=f"compares with {name}, which is not installed")


def density(flows: Iterable[Flow], *shape: int) -> DensityModel:
    """Ours, before a standard normal, in float64."""
    return DensityModel(Chain(flows), GaussianPrior(), shape, levels=None).double().eval()


def stirred(module: nn.Module, scale: float = 0.3) -> Any:
    """Theirs in float64, away from where they start."""
    with torch.no_grad():
        for parameter in module.double().parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return module


def apart(weight: Tensor) -> Tensor:
    """Rows in the order shift, scale, shift, scale, … as all shifts and then all scales."""
    return torch.cat([weight[0::2], weight[1::2]])


@torch.no_grad()
def copied(theirs: nn.Module, ours: MLP) -> MLP:
    """Our network with the weights of theirs, whose answers come in turn."""
    weights = list(theirs.parameters())  # weight, bias, weight, bias, …
    weights[-2:] = [nn.Parameter(apart(weight)) for weight in weights[-2:]]
    for target, source in zip(ours.double().parameters(), weights, strict=True):
        target.copy_(source)
    return ours


class SoftClipped(nn.Module):
    """zuko's bound of a log-scale, behind a network of ours."""

    def __init__(self, net: MLP) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """Shift, and log-scale within ± ln 1000."""
        shift, scale = self.net(x).chunk(2, 1)
        return torch.cat([shift, scale / (1 + (scale / math.log(1e-3)).abs())], 1)


def test_zuko() -> None:
    """RealNVP of vectors: couplings of even and odd entries."""
    theirs = stirred(library("zuko").flows.RealNVP(6, transforms=4, hidden_features=(16, 16)))
    flows = [
        AffineCoupling(
            SoftClipped(copied(step.hyper, MLP(3, 6, width=16, layers=2))), OddEven(odd=k % 2 == 1)
        )
        for k, step in enumerate(theirs.transform.transforms)
    ]
    x = torch.randn(50, 6, dtype=torch.float64)
    torch.testing.assert_close(density(flows, 6)(x), theirs().log_prob(x), rtol=1e-9, atol=1e-9)


def test_normflows_couplings() -> None:
    """Affine couplings of halves with swaps between; theirs go from noise to data."""
    nf = library("normflows")
    blocks = [nf.flows.AffineCouplingBlock(nf.nets.MLP([3, 16, 16, 6])) for _ in range(4)]
    flows = [flow for block in blocks for flow in (block, nf.flows.Permute(6, mode="swap"))]
    theirs = stirred(nf.NormalizingFlow(nf.distributions.DiagGaussian(6, trainable=False), flows), 0.05)
    nets = [copied(block.flows[1].param_map, MLP(3, 6, width=16, layers=2)) for block in blocks]
    ours = [flow for net in reversed(nets) for flow in (Swap(3), Inverse(AffineCoupling(net, 3)))]
    x = torch.randn(50, 6, dtype=torch.float64)
    torch.testing.assert_close(density(ours, 6)(x), theirs.log_prob(x), rtol=1e-9, atol=1e-9)


def test_normflows_glow() -> None:
    """Steps of Glow on images: ActNorm, 1×1 convolution by LU, and a coupling with sigmoid(h + 2)."""
    nf = library("normflows")
    blocks = [stirred(nf.flows.GlowBlock(4, 8, init_zeros=False)) for _ in range(3)]
    for block in blocks:
        block.flows[2].data_dep_init_done.fill_(1.0)  # what was stirred is not to be set by the data
    x = torch.randn(20, 4, 4, 4, dtype=torch.float64)
    z, log_det = x, torch.zeros(20, dtype=torch.float64)
    for block in reversed(blocks):
        z, step = block.inverse(z)
        log_det = log_det + step
    ours = density((flow for block in reversed(blocks) for flow in glow_step(block)), 4, 4, 4)
    expected = GaussianPrior().log_prob(z) + log_det
    torch.testing.assert_close(ours.encode(x), z, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ours(x), expected, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def glow_step(block: Any) -> list[Flow]:
    """A step of ours from data to noise, with the weights of theirs from noise to data."""
    coupling, conv, norm = block.flows
    ours_norm, ours_conv = ActNorm(4).double(), InvertibleConv1x1(4, "plu").double()
    ours_norm.bias.copy_(-norm.t.flatten())
    ours_norm.log_scale.copy_(-norm.s.flatten() / 3)
    ours_conv.lower.copy_(conv.L.tril(-1))
    ours_conv.upper.copy_(conv.U.triu(1))
    ours_conv.log_scale.copy_(conv.log_S)
    ours_conv.signs.copy_(conv.sign_S)
    ours_conv.permutation.copy_(conv.P.argmax(1))
    net = GlowNet(2, 4, width=8, norm=ActNorm).double()
    first, second, last = (layer for layer in coupling.modules() if isinstance(layer, nn.Conv2d))
    net.start.weight.zero_()
    net.start.weight[:, :-1].copy_(first.weight)
    net.middle.weight.copy_(second.weight)
    for target, source in ((net.start_norm, first), (net.middle_norm, second)):
        target.bias.copy_(source.bias)  # type: ignore[operator, arg-type]
    sign = torch.tensor([-1.0, -1, 1, 1]).double()  # ours adds the shift that theirs takes away
    assert net.end.conv.bias is not None and last.bias is not None
    net.end.conv.weight[:, :-1].copy_(sign[:, None, None, None] * apart(last.weight))
    net.end.conv.bias.copy_(sign * apart(last.bias))
    return [ours_norm, ours_conv, AffineCoupling(net, 2, order="shift_then_scale", scale="sigmoid")]
