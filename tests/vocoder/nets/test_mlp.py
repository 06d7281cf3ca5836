"""The network of a coupling of vectors: its start, its depth, and what it does not look at."""

import pytest
import torch
from torch import Tensor, nn

from tests.vocoder.laws import stirred
from vocoder.nets.mlp import MLP


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_starts_at_zero(layers: int) -> None:
    """Whatever it is shown, an untrained net says zero: the coupling starts as the identity."""
    net, x = MLP(3, 5, width=4, layers=layers), torch.randn(2, 3)
    assert net(x).shape == (2, 5)
    assert net(x).abs().max() == 0
    assert stirred(net)(x).abs().max() > 0


def test_is_rectified_layers() -> None:
    """The layers are applied in order with a rectifier behind all but the last."""
    net, x = stirred(MLP(3, 5, width=4, layers=2)), torch.randn(2, 3)

    def apply(layer: nn.Module, x: Tensor) -> Tensor:
        assert isinstance(layer, nn.Linear)
        return x @ layer.weight.T + layer.bias

    hidden = apply(net.hidden[1], apply(net.hidden[0], x).clamp(min=0)).clamp(min=0)
    torch.testing.assert_close(net(x), apply(net.end, hidden))


def test_drops_in_training_only() -> None:
    """In training two looks differ, in evaluation they do not."""
    net, x = stirred(MLP(3, 5, width=40, layers=1, dropout=0.5)), torch.randn(2, 3)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


def test_without_layers_it_is_linear() -> None:
    """No hidden layer leaves a matrix and a bias."""
    net, x = stirred(MLP(3, 2, width=7, layers=0)), torch.randn(4, 3)
    torch.testing.assert_close(net(x), x @ net.end.weight.T + net.end.bias)
    assert sum(p.numel() for p in net.parameters()) == 8
