"""The report of invertibility finds what is wrong, names the layer, and is silent about what is right."""

import json
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from vocoder.errors import InvalidInput
from vocoder.flows import ActNorm, AffineCoupling, Chain, Flow, GaussianPrior, InvertibleConv1x1, Logit, Scale
from vocoder.models.catalogue import build
from vocoder.models.check import check
from vocoder.models.density import DensityModel
from vocoder.models.density_config import DensityConfig
from vocoder.models.glow import Glow, GlowConfig, TopPrior
from vocoder.models.nice import NICEConfig
from vocoder.models.realnvp import RealNVPConfig

TINY = GlowConfig((1, 4, 4), 17, "logit", scales=2, steps=1, width=4, bound=2.0)


def images(count: int, *shape: int) -> Tensor:
    """Pixels off the ends."""
    return 0.05 + 0.9 * torch.rand(count, *shape)


def stirred(model: DensityModel, scale: float = 0.2) -> DensityModel:
    """Every parameter away from where it starts."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return model


SMALL: list[DensityConfig] = [
    replace(NICEConfig.digits(), width=8),
    replace(RealNVPConfig.digits(), width=8, couplings=1),
    replace(GlowConfig.digits(), width=8, steps=1),
]


@pytest.mark.parametrize("config", SMALL, ids=lambda config: type(config).__name__)
def test_a_sound_model_is_found_sound(config: DensityConfig) -> None:
    """Layer by layer, a model undoes itself, log-determinants are autograd's, and samples are finite."""
    model = stirred(build(config), 0.02)
    model.initialise(images(64, 1, 8, 8))
    found = check(model, images(4, 1, 8, 8), samples=600)
    assert found.sound and found.finite == 600 and len(found.layers) >= 4
    assert found.log_det is not None
    assert found.log_det < 1e-9
    for layer in found.layers:
        assert layer.log_det is not None
        assert layer.log_det < 1e-9 and layer.round_trip < 1e-4


@pytest.mark.parametrize(
    ("layer", "names"),
    [
        (SMALL[0], {"Scale"}),
        (SMALL[1], {"AffineCoupling", "BatchNorm"}),
        (SMALL[2], {"ActNorm", "AffineCoupling", "TopPrior"}),
    ],
)
def test_every_layer_that_scales_tells_by_how_much(layer: DensityConfig, names: set[str]) -> None:
    """Those that scale have a largest log-scale, above zero off the start, and the others have none."""
    model = stirred(build(layer), 0.1)
    model.initialise(images(64, 1, 8, 8))
    found = check(model, images(2, 1, 8, 8), samples=5)
    assert {each.name for each in found.layers if each.log_scale is not None} == names
    assert all(each.log_scale > 0 for each in found.layers if each.log_scale is not None)


def test_log_scales_are_those_of_the_layer() -> None:
    """A Scale's is its largest |s|, an ActNorm's that of its own s, and a TopPrior's that of 1 / σ."""
    scale, norm, top = Scale(2), ActNorm(2), TopPrior(2)
    assert top.net.conv.bias is not None
    with torch.no_grad():
        scale.log_scale.copy_(torch.tensor([0.5, -2.0]))
        norm.log_scale.copy_(torch.tensor([1.0, 0.1]))
        norm.initialised.fill_(True)
        top.net.conv.bias.copy_(torch.tensor([9.0, 9.0, 0.25, -1.5]))
    model = DensityModel(Chain([scale, norm, top]), GaussianPrior(), (2, 1, 1), levels=None)
    found = check(model, images(2, 2, 1, 1), samples=5)
    assert [layer.log_scale for layer in found.layers] == pytest.approx([2.0, 3.0, 1.5])


def test_the_largest_logit_is_that_of_the_samples() -> None:
    """It is what the samples were before the logit was undone; without one there is none."""
    scale = Scale(2)
    torch.nn.init.constant_(scale.log_scale, -1.0)
    for flows, stretch in (([Logit(), scale], math.e), ([Logit()], 1.0)):
        model = DensityModel(Chain(flows), GaussianPrior(), (2,), levels=None)
        found = check(model, images(3, 2), samples=700)
        drawn = float(GaussianPrior().sample((700, 2)).abs().max())
        assert found.largest_logit == pytest.approx(stretch * drawn)
        assert "largest |logit|" in found.to_text() and found.to_dict()["largest_logit"] is not None
    plain = check(DensityModel(Chain([scale]), GaussianPrior(), (2,), levels=None), images(3, 2), samples=5)
    assert plain.largest_logit is None and "logit" not in plain.to_text()


def test_numbers_of_a_layer_are_those_of_the_layer() -> None:
    """The condition of a matrix, the largest log-scale of a coupling, and what samples leave it with."""
    mix = InvertibleConv1x1(2)
    with torch.no_grad():
        mix.weight.copy_(torch.tensor([[4.0, 0.0], [0.0, -0.5]]))
    coupling = AffineCoupling(Constant(torch.tensor([[1.0, -3.0]])), 1)
    model = DensityModel(Chain([mix, coupling]), GaussianPrior(), (2,), levels=None)
    found = check(model, images(3, 2), samples=50)
    assert [layer.name for layer in found.layers] == ["InvertibleConv1x1", "AffineCoupling"]
    assert found.layers[0].condition == pytest.approx(8.0)
    assert found.layers[1].log_scale == pytest.approx(3.0)
    assert found.layers[0].log_scale is None and found.layers[1].condition is None
    x = model.sample(50)
    assert found.layers[0].sampled == pytest.approx(float(x.abs().max()))
    assert (found.lowest, found.highest) == pytest.approx((float(x.min()), float(x.max())))


class Constant(torch.nn.Module):
    """A conditioner that answers the same for every item."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = torch.nn.Parameter(answer)

    def forward(self, x: Tensor, cond: Tensor | None) -> Tensor:
        """The answer, once for each."""
        return self.answer.to(x.dtype).expand(len(x), -1)


class Wrong(Flow):
    """Doubles, claims to keep volume, and comes back by a third."""

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """A log-determinant of 0, which is wrong."""
        return 2 * x, x.new_zeros(len(x))

    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Not what `forward` undoes."""
        return z / 3, z.new_zeros(len(z))


def test_a_flow_that_does_not_undo_itself_is_named() -> None:
    """The layer that is wrong has the error, its neighbours have none, and the whole is not sound."""
    model = DensityModel(Chain([Scale(2), Wrong(), Scale(2)]), GaussianPrior(), (2,), levels=None)
    found = check(model, images(3, 2), samples=10)
    assert not found.sound
    first, wrong, last = found.layers
    assert wrong.name == "Wrong" and wrong.round_trip > 0.01 and first.round_trip == last.round_trip == 0.0
    assert wrong.log_det == pytest.approx(2 * math.log(2))
    assert found.log_det == pytest.approx(2 * math.log(2))


class Overstated(Scale):
    """Undoes itself to the last bit, and claims another log-determinant than it has."""

    def __init__(self, claim: float) -> None:
        super().__init__(2)
        self.claim = claim
        torch.nn.init.constant_(self.log_scale, math.log(2))

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Twice x."""
        return super().forward(x, cond, lengths)[0], x.new_full((len(x),), self.claim)


@pytest.mark.parametrize("claim", [0.0, 2 * math.log(2) + 1e-5, math.nan])
def test_a_wrong_log_determinant_is_not_sound(claim: float) -> None:
    """Round trip and samples are perfect and the density is wrong, or NaN: that is no sound model."""
    model = DensityModel(Chain([Overstated(claim)]), GaussianPrior(), (2,), levels=None)
    found = check(model, images(3, 2), samples=10)
    assert found.round_trip == 0 and found.finite == 10
    assert not found.sound and found.to_text().endswith("NOT sound")
    right = DensityModel(Chain([Overstated(2 * math.log(2))]), GaussianPrior(), (2,), levels=None)
    assert check(right, images(3, 2), samples=10).sound


def test_errors_that_cancel_are_not_sound() -> None:
    """Two layers of a wrong log-determinant are two wrong layers, though their sum be right."""
    two = Chain([Overstated(0.0), Overstated(4 * math.log(2))])
    found = check(DensityModel(two, GaussianPrior(), (2,), levels=None), images(3, 2), samples=10)
    assert found.log_det is not None
    assert found.log_det < 1e-6 and not found.sound


def test_samples_that_explode_are_counted() -> None:
    """A scale that overflows on the way back is seen in the samples and in the layer it came from."""
    scale = Scale(2)
    with torch.no_grad():
        scale.log_scale.copy_(torch.tensor([0.0, -89.0]))
    model = DensityModel(Chain([scale]), GaussianPrior(), (2,), levels=None)
    found = check(model, images(3, 2), samples=40)
    assert found.finite < 40 and not found.sound
    assert not math.isfinite(found.layers[0].sampled)
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert json.loads(text)["layers"][0]["sampled"] is None


def test_a_sample_that_is_no_number_is_seen() -> None:
    """A NaN among thousands of samples, not in the first five hundred, is the largest number of its layer."""

    def rare(z: Tensor) -> Tensor:
        return (z > 3.0) & (z < 3.1)

    class Rare(Chain):
        """NaN for what is drawn between 3 and 3.1."""

        def inverse(
            self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
        ) -> tuple[Tensor, Tensor]:
            """One number in two thousand or so."""
            return torch.where(rare(z), math.nan, z), z.new_zeros(len(z))

        def steps(self) -> list[Flow]:
            """Itself."""
            return [self]

    model = DensityModel(Chain([Logit(), Rare([])]), GaussianPrior(), (2,), levels=None)
    drawn = rare(GaussianPrior().sample((2000, 2))).any(1)
    assert drawn[500:1500].any() and not drawn[:500].any() and not drawn[1500:].any()
    found = check(model, images(3, 2), samples=2000)
    assert found.largest_logit is not None
    assert math.isnan(found.layers[1].sampled) and math.isnan(found.largest_logit) and not found.sound


def test_the_model_is_left_as_it_was() -> None:
    """Mode, weights and hooks are as before, and the text has a line for every layer."""
    model = Glow(TINY).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = check(model, images(4, 1, 4, 4), samples=5)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert found.to_text().count("\n") == len(found.layers) + 3


def test_a_large_item_has_no_jacobian() -> None:
    """Where D² numbers would be too many, the log-determinant is left out and all else is measured."""
    model = DensityModel(Chain([Scale(300)]), GaussianPrior(), (300,), levels=None)
    found = check(model, images(2, 300), samples=5)
    assert found.log_det is None and found.layers[0].log_det is None and found.sound
    assert "log-det not compared" in found.to_text()


def test_classes_are_asked_for() -> None:
    """A class-conditional model is measured under the classes of the data, and samples all of its own."""
    model = stirred(Glow(replace(TINY, classes=3)))
    with pytest.raises(InvalidInput, match="classes"):
        check(model, images(2, 1, 4, 4))
    found = check(model, images(2, 1, 4, 4), torch.tensor([2, 0]), samples=7)
    assert found.sound and found.log_det is not None
    assert found.log_det < 1e-9
