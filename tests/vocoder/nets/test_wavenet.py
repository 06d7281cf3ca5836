"""The network of a coupling: its shapes, its start at zero, and how far it looks."""

import pytest
import torch
from torch import Tensor

from tests.vocoder.laws import stirred
from vocoder.nets.wavenet import WaveNet

DILATIONS = (1, 4, 2)


def _net(kernel: int = 3) -> WaveNet:
    return WaveNet(3, 8, 5, channels=6, dilations=DILATIONS, kernel=kernel).double()


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
    assert changed[0] == 20 - reach
    assert changed[-1] == 20 + reach


def test_conditioning_is_heard_in_its_place(x: Tensor, cond: Tensor) -> None:
    """A change of `cond` at a group is heard there."""
    net, touched = stirred(_net()), cond.clone()
    touched[:, :, 20] += 1
    with torch.no_grad():
        assert ((net(x, touched) - net(x, cond)).abs().amax((0, 1)) > 0)[20]


def test_one_layer_has_no_residual() -> None:
    """The last layer, if it is the only one, has a skip path alone."""
    net = WaveNet(2, 4, 1, channels=3, dilations=(1,))
    assert [layer.out_channels for layer in net.res_skip_layers] == [3]
    assert net(torch.randn(1, 2, 7), torch.randn(1, 1, 7)).shape == (1, 4, 7)
