"""The networks of images: what they start as, how far they see, and that they know borders and masks."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.vocoder.laws import stirred
from vocoder.nets.convnet import BorderConv, GlowNet, ResidualConvNet, ZeroConv, checkerboard


class Centred(nn.Module):
    """The least that a norm has to be: it answers with a pair."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """Shifted, and nothing."""
        return x + self.shift, None


def glow_net() -> GlowNet:
    """A small one, away from where it starts."""
    return stirred(GlowNet(2, 6, width=5, norm=Centred)).double()


def residual_net(shown: int | None = None) -> ResidualConvNet:
    """A small one, away from where it starts, its norms at rest."""
    return stirred(ResidualConvNet(2, 4, width=5, blocks=2, shown=shown)).double().eval()


@pytest.fixture
def x() -> Tensor:
    """Two images of two channels, in float64."""
    return torch.randn(2, 2, 16, 16, dtype=torch.float64)


def reach(net: Callable[[Tensor], Tensor], x: Tensor) -> int:
    """How many pixels away the touch of a pixel is heard."""
    touched = x.clone()
    touched[:, :, 8, 8] += 1
    with torch.no_grad():
        changed = (net(touched) != net(x)).any(1).any(0).nonzero()
    return int((changed - 8).abs().max())


def test_glow_net_starts_at_zero(x: Tensor) -> None:
    """An untrained net says zero, and a trained one does not."""
    assert GlowNet(2, 6, width=5, norm=Centred)(x.float()).abs().max() == 0
    said = glow_net()(x)
    assert said.shape == (2, 6, 16, 16)
    assert said.abs().min() > 0


def test_glow_net_sees_two_pixels(x: Tensor) -> None:
    """Two 3×3 convolutions and a 1×1 one reach two pixels each way."""
    assert reach(glow_net(), x) == 2


def test_the_border_is_known() -> None:
    """Of an image of zeros, the frame is told from the inside, all alike, and the corners from the sides."""
    said = stirred(BorderConv(2, 1, bias=True)).double()(torch.zeros(1, 2, 6, 6, dtype=torch.float64))[0, 0]
    inside = said[1:-1, 1:-1]
    torch.testing.assert_close(inside, inside[0, 0].expand_as(inside), rtol=0, atol=0)
    assert (said[0] != inside[0, 0]).all() and (said[:, -1] != inside[0, 0]).all()
    assert said[0, 0] != said[0, 1]
    assert torch.equal(said[0, 1:-1], said[0, 1:2].expand(4))


def test_the_border_is_a_channel_of_the_convolution(x: Tensor) -> None:
    """It is what a convolution without padding makes of the padded image and its frame."""
    layer = stirred(BorderConv(2, 3, bias=False)).double()
    frame = torch.ones(2, 1, 18, 18, dtype=torch.float64)
    frame[:, :, 1:-1, 1:-1] = 0
    padded = torch.cat([nn.functional.pad(x, (1, 1, 1, 1)), frame], 1)
    expected = nn.functional.conv2d(padded, layer.weight)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)


def test_the_gain_counts_threefold(x: Tensor) -> None:
    """A learned logarithm of g multiplies the answer by exp(3 g), bias included."""
    layer = stirred(ZeroConv(2, 3)).double()
    with torch.no_grad():
        layer.log_gain.zero_()
        before = layer(x)
        layer.log_gain.fill_(0.5)
    torch.testing.assert_close(layer(x), before * torch.tensor(1.5).exp())


@pytest.mark.parametrize("shown", [None, 0, 1])
def test_residual_net_speaks(x: Tensor, shown: int | None) -> None:
    """It answers in its own channels, in training and in evaluation, and is not silent at the start."""
    net = ResidualConvNet(2, 4, width=5, blocks=2, shown=shown).double()
    assert net(x).shape == net.eval()(x).shape == (2, 4, 16, 16)
    assert net(x).abs().mean() > 0.01


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_residual_net_sees_farther_with_every_block(x: Tensor, blocks: int) -> None:
    """A pixel for the first convolution and two for each block."""
    net = stirred(ResidualConvNet(2, 4, width=5, blocks=blocks), 1.0).double().eval()
    assert reach(net, x) == min(1 + 2 * blocks, 8)


def test_blocks_add_to_what_they_read(x: Tensor) -> None:
    """Blocks that say nothing pass on what they read, and all of it is heard at the end."""
    net = residual_net()
    for name, weight in net.named_parameters():
        if ".second." in name and ("original0" in name or "bias" in name):
            nn.init.zeros_(weight)
    r = net.norm(x)
    hidden = net.start(torch.relu(torch.cat([r, -r], 1)))
    heard = torch.stack([skip(hidden) for skip in net.skips]).sum(0)
    expected = net.end(torch.relu(net.end_norm(heard)))
    torch.testing.assert_close(net(x), expected, rtol=0, atol=1e-10)


def test_the_mask_is_told(x: Tensor) -> None:
    """Of an image of zeros, a net of a checkerboard knows which pixels are zeros because they are hidden."""
    said = residual_net(shown=1)(torch.zeros_like(x))[0, 0, 6:-6, 6:-6]
    assert torch.isclose(said[0::2, 0::2], said[1::2, 1::2], rtol=0, atol=1e-12).all()
    assert not torch.isclose(said[0, 0], said[0, 1])
    blank = residual_net()(torch.zeros_like(x))[0, 0, 6:-6, 6:-6]
    assert torch.isclose(blank, blank[0, 0], rtol=0, atol=1e-12).all()


@pytest.mark.parametrize(
    "net",
    [
        GlowNet(2, 6, width=9, norm=Centred, dropout=0.5),
        ResidualConvNet(2, 6, width=9, blocks=1, dropout=0.5),
    ],
)
def test_drops_in_training_only(x: Tensor, net: nn.Module) -> None:
    """In training two looks differ, in evaluation they do not."""
    net = stirred(net).double().train()
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


def test_both_signs_are_heard(x: Tensor) -> None:
    """The rectifier behind the input loses no sign: a negated image is another one."""
    net = residual_net()
    assert not torch.allclose(net(x.abs()), net(-x.abs()))


def test_weights_are_normalised() -> None:
    """Filters in front of a norm have norm one, the others a learned gain."""
    net = residual_net()
    conv = net.blocks[0].first
    assert isinstance(conv, nn.Conv2d)
    norms = conv.weight.flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, torch.ones_like(norms))
    assert isinstance(net.end, nn.Conv2d)
    gains = net.end.get_parameter("parametrizations.weight.original0").flatten()
    torch.testing.assert_close(net.end.weight.flatten(1).norm(dim=1), gains.abs())


def test_checkerboards_are_complements() -> None:
    """The two of them cover every pixel once, and the even one has the corner."""
    x = torch.zeros(1, 3, 4, 6)
    even, odd = checkerboard(x, 0), checkerboard(x, 1)
    assert torch.equal(even + odd, torch.ones(4, 6))
    assert even[0, 0] == 1 and odd[0, 1] == 1
