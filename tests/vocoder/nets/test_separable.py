"""The depthwise-separable network: its equations, its start at zero, how far it looks, and where it stops."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.vocoder.laws import stirred
from vocoder.nets.separable import SeparableWaveNet

DILATIONS = (1, 4, 2)


def _net(kernel: int = 3, dilations: tuple[int, ...] = DILATIONS) -> SeparableWaveNet:
    return SeparableWaveNet(3, 8, 5, channels=6, dilations=dilations, kernel=kernel).double()


@pytest.fixture
def x() -> Tensor:
    """Two items of three channels and 40 groups, in float64."""
    return torch.randn(2, 3, 40, dtype=torch.float64)


@pytest.fixture
def cond() -> Tensor:
    """Conditioning of five channels."""
    return torch.randn(2, 5, 40, dtype=torch.float64)


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_starts_at_zero_and_keeps_the_length(x: Tensor, cond: Tensor, kernel: int) -> None:
    """Whatever it is shown, an untrained net says zero: the coupling starts as the identity."""
    said = _net(kernel)(x, cond)
    assert said.shape == (2, 8, 40)
    assert said.abs().max() == 0
    assert stirred(_net(kernel))(x, cond).abs().min() > 0


@pytest.mark.parametrize("kernel", [3, 5])
def test_sees_the_sum_of_its_dilations(x: Tensor, cond: Tensor, kernel: int) -> None:
    """Σ dilations · (kernel − 1) / 2 groups each side, exactly."""
    net, reach = stirred(_net(kernel)), sum(DILATIONS) * (kernel - 1) // 2
    touched = x.clone()
    touched[:, :, 20] += 1
    with torch.no_grad():
        changed = (net(touched, cond) != net(x, cond)).any(1).any(0).nonzero().flatten()
    assert (changed[0], changed[-1]) == (20 - reach, 20 + reach)


def test_the_affine_is_batch_norm_before_the_padding(x: Tensor, cond: Tensor) -> None:
    """With scale and shift from its statistics, a layer is batch norm, depthwise and pointwise in turn."""
    net: Any = stirred(_net(dilations=(1,)))
    norm: Any = nn.BatchNorm1d(6).double().eval()
    layer = net.in_layers[0]
    with torch.no_grad():
        for statistic in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            statistic.copy_(0.5 + torch.rand(6, dtype=torch.float64))
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        layer.scale.copy_(scale)
        layer.shift.copy_(norm.bias - norm.running_mean * scale)
        hidden = net.start(x)
        heard = layer.pointwise(layer.depthwise(norm(hidden))) + net.cond_layer(cond)
        content, gate = heard.chunk(2, 1)
        expected = net.end(hidden + net.res_skip_layers[0](content.tanh() * gate.sigmoid()))
        torch.testing.assert_close(net(x, cond), expected, rtol=0, atol=1e-13)


def test_what_lies_behind_a_clip_is_not_heard(x: Tensor, cond: Tensor) -> None:
    """In a batch, every clip is what it is alone, though the shift makes padding something before a layer."""
    net, lengths = stirred(_net(5)), torch.tensor([40, 23])
    with torch.no_grad():
        together = net(x, cond, lengths)
        torch.testing.assert_close(together[:1], net(x[:1], cond[:1]), rtol=0, atol=1e-13)
        alone = net(x[1:, :, :23], cond[1:, :, :23])
        torch.testing.assert_close(together[1:, :, :23], alone, rtol=0, atol=1e-13)
        assert not torch.allclose(net(x, cond)[1:, :, :23], alone)


def test_every_parameter_is_learned(x: Tensor, cond: Tensor) -> None:
    """Scale and shift among them."""
    net = stirred(_net())
    net(x, cond).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in net.parameters())
    assert {"in_layers.0.scale", "in_layers.0.shift"} <= {name for name, _ in net.named_parameters()}
