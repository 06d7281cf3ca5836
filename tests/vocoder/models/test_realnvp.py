"""RealNVP: its masks and what leaves when, its norm, and the published shape."""

import pytest
import torch
from torch import Tensor

from tests.vocoder.laws import stirred
from tests.vocoder.models.densities import settled
from vocoder.errors import InvalidConfig
from vocoder.flows import AffineCoupling, BatchNorm
from vocoder.models.realnvp import RealNVP, RealNVPConfig
from vocoder.nets.convnet import ResidualConvNet

SMALL = {"shape": (2, 8, 8), "blocks": 1, "width": 4}


def realnvp(**choices: object) -> RealNVP:
    """A small one of images, in float64, away from where it starts."""
    model = RealNVP(RealNVPConfig(**{**SMALL, **choices})).double()  # type: ignore[arg-type]
    return settled(stirred(model))  # type: ignore[return-value]


def couplings(model: RealNVP) -> list[AffineCoupling]:
    """In the order in which they are built, which is that of forward."""
    return [part for part in model.modules() if isinstance(part, AffineCoupling)]


def image(n: int = 3) -> Tensor:
    """Images that are not at the ends of the logit, in float64."""
    return 0.1 + 0.8 * torch.rand(n, 2, 8, 8, dtype=torch.float64)


def test_the_order_of_couplings() -> None:
    """Three checkerboards, three of channels, and in the last scale four checkerboards, with turns taken."""
    parts = [repr(coupling.partition) for coupling in couplings(realnvp(scales=2))]
    checkers = [f"Checkerboard(odd={odd})" for odd in (False, True, False, True)]
    channels = ["Leading(4)", "Trailing(4)", "Leading(4)"]
    assert parts == [*checkers[:3], *channels, *checkers]


def test_widths_double_with_the_squeeze() -> None:
    """A network's width doubles for channels, and again for what the next scale sees (paper, section 4.1)."""
    nets = [coupling.conditioner for coupling in couplings(realnvp(scales=2))]
    widths = [net.end.in_channels for net in nets if isinstance(net, ResidualConvNet)]
    assert widths == [4] * 3 + [8] * 3 + [8] * 4


def test_learned_scales_start_as_published() -> None:
    """The scalar at the tanh is 0 under checkerboards and 1 under channels."""
    model = RealNVP(RealNVPConfig(**SMALL))  # type: ignore[arg-type]
    assert [coupling.gain.item() for coupling in couplings(model)] == [0.0] * 3 + [1.0] * 3 + [0.0] * 4


def test_what_stays_is_the_diagonal() -> None:
    """The last scale touches the upper left and the lower right pixel of every square, and no other."""
    model, x = realnvp(scales=2), image()
    before = model.encode(x)
    stirred(couplings(model)[-4].conditioner)  # type: ignore[type-var]
    stirred(couplings(model)[-1].conditioner)  # type: ignore[type-var]
    row, column = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    diagonal = row % 2 == column % 2
    changed = (model.encode(x) != before).any(0)
    assert not changed[:, ~diagonal].any()
    assert changed[:, diagonal].all()


def test_shift_comes_before_scale() -> None:
    """z_b = (x_b + t) · exp(scale · tanh h), as in the authors' code, not x_b · s + t."""
    config = RealNVPConfig(
        (2,), None, "none", scales=1, couplings=1, blocks=1, width=4, norm="none", bound=None
    )
    model, x = stirred(RealNVP(config).double()), torch.randn(3, 2, dtype=torch.float64)
    (coupling,) = couplings(model)
    t, h = coupling.conditioner(x[:, :1], None).chunk(2, 1)
    expected = torch.cat([x[:, :1], (x[:, 1:] + t) * (coupling.gain * torch.tanh(h)).exp()], 1)
    torch.testing.assert_close(model.encode(x), expected, rtol=0, atol=1e-12)


def test_log_scales_are_bounded() -> None:
    """Whatever the learned scale has become, no coupling magnifies by more than its bound."""
    config = RealNVPConfig(
        (2,), None, "none", scales=1, couplings=1, blocks=1, width=4, norm="none", bound=0.5
    )
    model, x = stirred(RealNVP(config).double()), 10 * torch.randn(50, 2, dtype=torch.float64)
    torch.nn.init.constant_(couplings(model)[0].gain, 50.0)
    log_det = model(x) - model.prior.log_prob(model.encode(x))
    assert 0.4 < log_det.abs().max() <= 0.5


def test_changed_pixels_are_normalised_by_themselves() -> None:
    """In training, what a checkerboard changed has mean 0 and variance 1, the others not counted."""
    model = realnvp(scales=1, couplings=1, norm="batch").train()
    x, seen = image(16), []
    norm = next(part for part in model.modules() if isinstance(part, BatchNorm))
    norm.register_forward_hook(lambda _, args, answer: seen.append((args[0].detach(), answer[0].detach())))
    model.encode(x)
    ((taken, given),) = seen
    assert taken.shape == (16, 2, 8, 4)
    torch.testing.assert_close(given.mean((0, 2, 3)), torch.zeros(2).double(), rtol=0, atol=1e-10)
    torch.testing.assert_close(given.var((0, 2, 3), correction=0), torch.ones(2).double(), rtol=1e-3, atol=0)


@pytest.mark.parametrize("shape", [(2, 8, 8), (5,)])
def test_what_passes_is_not_normalised(shape: tuple[int, ...]) -> None:
    """A norm touches every number that the coupling before it changes, and none that it keeps."""
    model = realnvp(shape=shape, scales=1, preprocess="none")
    steps = list(model.flow.steps())
    for coupling, norm in zip(steps[0::2], steps[1::2], strict=True):
        assert isinstance(coupling, AffineCoupling)
        x = torch.ones(1, *shape, dtype=torch.float64)
        kept, others = coupling.partition.split(x)
        changed = coupling.partition.join(0 * kept, others)
        assert torch.equal(norm(x)[0] != x, changed == 1)


@pytest.mark.parametrize("norm", ["batch", "running", "none"])
def test_what_is_normalised_is_a_choice(norm: str) -> None:
    """A norm behind every coupling, of the kind that was asked for, or none at all."""
    norms = [part for part in realnvp(scales=2, norm=norm).modules() if isinstance(part, BatchNorm)]
    assert len(norms) == (0 if norm == "none" else 10)
    assert all(part.running == (norm == "running") for part in norms)


def test_vectors_need_no_convolution() -> None:
    """Two moons: a stack of couplings that take turns, and a start at the identity."""
    model = RealNVP(RealNVPConfig.moons())
    x = torch.randn(5, 2)
    torch.testing.assert_close(model.encode(x), x)
    assert [repr(c.partition) for c in couplings(model)] == ["OddEven(odd=False)", "OddEven(odd=True)"] * 4


def weights_of_a_net(channels: int, answers: int, width: int, blocks: int, mask: int) -> int:
    """Weights of a residual network by the authors' drawing: shifts of norms, filters, gains, biases."""
    start = channels + 9 * (2 * channels + mask) * width + width
    block = width + 9 * width**2 + width + 9 * width**2 + 2 * width
    skips = (blocks + 1) * (width**2 + 2 * width)
    return start + blocks * block + skips + width + width * answers + 2 * answers


def test_the_published_shape() -> None:
    """CIFAR-10: 8 residual blocks of 64 maps, one downscaling, and the weights of that drawing, exactly."""
    with torch.device("meta"):
        model = RealNVP(RealNVPConfig.cifar10())
    first = 3 * (weights_of_a_net(3, 6, 64, 8, 1) + 1)
    second = 3 * (weights_of_a_net(6, 12, 128, 8, 0) + 1)
    last = 4 * (weights_of_a_net(6, 12, 128, 8, 1) + 1)
    assert sum(weight.numel() for weight in model.parameters()) == first + second + last


@pytest.mark.parametrize(
    ("choices", "name"),
    [
        ({"shape": (1, 6, 8)}, "shape"),
        ({"shape": (1,), "scales": 1}, "shape"),
        ({"shape": (4,), "scales": 2}, "scales"),
        ({"norm": "layer"}, "norm"),
        ({"bound": -1.0}, "bound"),
        ({"bound": True}, "bound"),
        ({"blocks": -1}, "blocks"),
    ],
)
def test_impossible_choices_are_refused(choices: dict, name: str) -> None:
    """By name, before anything is built."""
    with pytest.raises(InvalidConfig, match=rf"RealNVPConfig\.{name}"):
        RealNVPConfig(**{**SMALL, **choices})
