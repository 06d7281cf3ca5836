"""What every density model promises, over the list of all of them, and the front that they share."""

import math
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.vocoder.models.densities import DENSITIES, Density, act_norms
from vocoder import checkpoint
from vocoder.errors import InvalidConfig, InvalidInput
from vocoder.flows import Centre, Chain, Flow, GaussianPrior, LogisticPrior, Logit, Prior, make_reversible
from vocoder.models.catalogue import DENSITIES as KINDS
from vocoder.models.catalogue import PRESETS, build, preset
from vocoder.models.density import DensityModel, fewer_bits
from vocoder.models.realnvp import RealNVPConfig

every_density = pytest.mark.parametrize("density", DENSITIES, ids=str)
BY_NAME = {density.name: density for density in DENSITIES}
one_of_a_kind = pytest.mark.parametrize("name", ["nice", "realnvp-running", "glow", "glow-additive"])


class Uniform(Prior):
    """The prior of data that are uniform on [0, 1)."""

    def local(self, z: Tensor) -> Tensor:
        """Zero nats."""
        return torch.zeros_like(z)

    def _of_normal(self, z: Tensor) -> Tensor:
        return torch.special.ndtr(z)


def plain(*flows: Flow, levels: int | None = 16, shape: tuple[int, ...] = (1, 2, 2)) -> DensityModel:
    """The flows, and a uniform prior."""
    return DensityModel(Chain(flows), Uniform(), shape, levels)


def one(cond: Tensor | None, index: int) -> Tensor | None:
    """The class of one item."""
    return None if cond is None else cond[index : index + 1]


def test_the_list_is_complete() -> None:
    """Every architecture is on the list, and every preset is one of its model."""
    assert {type(density.config) for density in DENSITIES} == {config for config, _ in KINDS.values()}
    assert KINDS.keys() == PRESETS.keys()
    for model, presets in PRESETS.items():
        assert all(type(preset(model, name)) is KINDS[model][0] for name in presets)


@every_density
def test_round_trips(density: Density) -> None:
    """decode ∘ encode and encode ∘ decode are the identity, in float64 to 1e-9, and z has the shape of x."""
    model, (x, cond) = density.model(), density.batch(3)
    z = model.encode(x, cond)
    assert z.shape == x.shape
    torch.testing.assert_close(model.decode(z, cond), x, rtol=0, atol=1e-9)
    z = torch.randn_like(z)
    torch.testing.assert_close(model.encode(model.decode(z, cond), cond), z, rtol=0, atol=1e-9)


@every_density
def test_log_prob_is_change_of_variables(density: Density) -> None:
    """log p(x) is the prior's plus log |det ∂z/∂x| by automatic differentiation of the item alone."""
    model, (x, cond) = density.model(), density.batch(2)
    score = model(x, cond)
    assert score.shape == (2,) and score.dtype == torch.float64
    for b in range(2):
        jacobian = torch.autograd.functional.jacobian(
            lambda x, b=b: model.encode(x, one(cond, b)), x[b : b + 1]
        )
        log_det = torch.linalg.slogdet(jacobian.reshape(x[0].numel(), x[0].numel())).logabsdet
        prior = model.prior.log_prob(model.encode(x[b : b + 1], one(cond, b)))
        torch.testing.assert_close(score[b : b + 1], prior + log_det, rtol=1e-9, atol=1e-9)


@every_density
def test_gradients_reach_every_parameter(density: Density) -> None:
    """The likelihood of a batch gives every parameter a gradient that is finite and not all zero."""
    model, (x, cond) = density.model(), density.batch(8)
    model(x, cond).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0, name


@every_density
def test_items_are_independent(density: Density) -> None:
    """In evaluation mode an item's likelihood is what it is alone."""
    model, (x, cond) = density.model(), density.batch(4)
    alone = torch.cat([model(x[b : b + 1], one(cond, b)) for b in range(4)])
    torch.testing.assert_close(model(x, cond), alone, rtol=1e-12, atol=1e-12)


@every_density
def test_a_checkpoint_carries_it_over(density: Density, tmp_path: Path) -> None:
    """Saved and loaded, the model scores and draws the same, to the last bit, and is initialised for good."""
    model, (x, cond) = density.model().float(), density.batch(2)
    saved = checkpoint.save(tmp_path / "m", model, name="m", temperature=0.7)
    loaded, header = checkpoint.load(tmp_path / "m", DensityModel)
    assert header == saved and header.mel is None
    assert type(loaded) is type(model) and loaded.config == density.config
    assert torch.equal(loaded(x.float(), cond), model(x.float(), cond))
    assert torch.equal(loaded.sample(2, seed=3, cond=cond), model.sample(2, seed=3, cond=cond))
    assert all(layer.initialised for layer in act_norms(loaded))


@every_density
def test_reversible_training_has_the_same_gradients(density: Density) -> None:
    """In constant memory, dropout and all, likelihood and gradients are those of the plain model."""
    plain, (x, cond) = density.model().train(), density.batch(6)
    frugal = deepcopy(plain)
    make_reversible(frugal)
    results = []
    for model in (plain, frugal):
        torch.manual_seed(0)
        score = model(x, cond)
        results.append([score, *torch.autograd.grad(score.mean(), list(model.parameters()))])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    for expected, found in zip(plain.buffers(), frugal.buffers(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@every_density
def test_draws_are_a_function_of_the_seed(density: Density) -> None:
    """The same seed makes the same draws, another others; they are finite, and as many as asked for."""
    model, (_, cond) = density.model().float(), density.batch(5)
    draws = model.sample(5, seed=1, cond=cond)
    assert draws.shape == (5, *density.config.shape) and draws.dtype == torch.float32
    assert draws.isfinite().all()
    assert torch.equal(model.sample(5, seed=1, cond=cond), draws)
    assert not torch.equal(model.sample(5, seed=2, cond=cond), draws)


@every_density
def test_temperature_multiplies_the_latents(density: Density) -> None:
    """A draw at temperature T is what T · z decodes to, at every level; at zero it is one and the same."""
    model, (_, cond) = density.model(), density.batch(2)
    z = model.encode(model.sample(2, seed=5, cond=cond), cond)
    cooler = model.encode(model.sample(2, seed=5, temperature=0.4, cond=cond), cond)
    torch.testing.assert_close(cooler, 0.4 * z, rtol=1e-6, atol=1e-7)
    cold = [model.sample(2, seed=seed, temperature=0.0, cond=cond) for seed in (1, 2)]
    assert torch.equal(*cold)


def test_bits_of_uniform_data_are_those_of_its_levels() -> None:
    """A flow that does nothing, and a uniform prior: exactly log₂ levels bits a dimension."""
    images = torch.randint(16, (5, 1, 2, 2))
    assert plain()(images / 16).tolist() == [0.0] * 5
    assert plain().bits_per_dim(images).tolist() == [4.0] * 5
    assert plain(levels=17).bits_per_dim(images).tolist() == pytest.approx([math.log2(17)] * 5)


def test_bits_are_the_same_by_way_of_the_logistic(float64: torch.dtype) -> None:
    """A logit makes uniform data logistic: still log₂ levels, now by change of variables."""
    model = DensityModel(Chain([Logit(alpha=0.0)]), LogisticPrior(), (1, 2, 2), 16)
    bits = model.bits_per_dim(torch.randint(16, (50, 1, 2, 2)))
    torch.testing.assert_close(bits, torch.full((50,), 4.0), rtol=0, atol=1e-10)


def test_bits_are_nats_of_the_noisy_image() -> None:
    """They are log₂ levels less the nats of one point in each image's cell, over D ln 2."""
    model = DensityModel(Chain([Centre()]), GaussianPrior(), (1, 2, 2), 256)
    images = torch.randint(256, (3, 1, 2, 2))
    low, high = images / 256 - 0.5, (images + 1) / 256 - 0.5
    far, near = (torch.maximum(low.abs(), high.abs()), torch.minimum(low.abs(), high.abs()))
    least, most = (8 + (edge.square() / 2).mean((1, 2, 3)) / math.log(2) for edge in (near, far))
    bits = model.bits_per_dim(images) - 0.5 * math.log2(2 * math.pi)
    assert (least - 1e-5 <= bits).all() and (bits <= most + 1e-5).all()
    assert torch.equal(model.bits_per_dim(images), model.bits_per_dim(images, seed=0))
    assert not torch.equal(model.bits_per_dim(images), model.bits_per_dim(images, seed=1))


@pytest.mark.parametrize(
    "images", [torch.rand(1, 1, 2, 2), torch.full((1, 1, 2, 2), 16), -torch.ones(1, 1, 2, 2).int()]
)
def test_bits_are_of_integers_in_range(images: Tensor) -> None:
    """Images that are not integers, or not of these levels, are refused."""
    with pytest.raises(InvalidInput, match="images must"):
        plain().bits_per_dim(images)


def test_bits_are_of_images_only() -> None:
    """Continuous data have no bits."""
    with pytest.raises(InvalidInput, match="continuous"):
        plain(levels=None).bits_per_dim(torch.zeros(1, 1, 2, 2).int())


def test_a_density_integrates_to_one() -> None:
    """A sum over a fine grid of the plane is 1, whatever the weights."""
    config = RealNVPConfig((2,), None, "none", scales=1, couplings=4, blocks=1, width=8, bound=1.0)
    model = Density("plane", config).model(0.5)
    line = torch.arange(-12, 12, 0.05, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    with torch.no_grad():
        mass = model(grid).exp().sum() * 0.05**2
    assert mass.item() == pytest.approx(1, abs=1e-4)


@every_density
def test_interpolation_goes_from_one_to_the_other(density: Density) -> None:
    """Its ends are the two items, its middle the middle of their latents."""
    model, (x, cond) = density.model(), density.batch(2)
    label = None if cond is None else cond[:1]
    path = model.interpolate(x[0], x[1], 5, label)
    assert path.shape == (5, *density.config.shape)
    torch.testing.assert_close(path[[0, -1]], x, rtol=0, atol=1e-9)
    ends = model.encode(x, None if label is None else label.expand(2))
    torch.testing.assert_close(model.encode(path[2:3], label)[0], ends.mean(0), rtol=0, atol=1e-9)


def test_a_manifold_goes_through_its_corners() -> None:
    """At angles of 0 and of a quarter turn stand the four items themselves."""
    density = BY_NAME["nice"]
    model, (x, _) = density.model(), density.batch(4)
    surface = model.manifold(x, 8)
    assert surface.shape == (8, 8, *density.config.shape)
    found = torch.stack([surface[0, 0], surface[0, 2], surface[2, 0], surface[2, 2]])
    torch.testing.assert_close(found, x, rtol=0, atol=1e-9)


def test_a_direction_leads_from_the_mean_of_one_group_to_that_of_the_other() -> None:
    """Added to the latents of those that lack it, the attribute moves their mean to the others'."""
    density = BY_NAME["glow"]
    model, (x, _) = density.model(), density.batch(8)
    having, lacking = x[:3], x[3:]
    moved = model.encode(lacking) + model.direction(having, lacking)
    torch.testing.assert_close(moved.mean(0), model.encode(having).mean(0), rtol=0, atol=1e-12)


def test_initialisation_is_by_the_data_and_leaves_the_mode() -> None:
    """Every ActNorm has seen the batch, those within the networks too, and the mode is what it was."""
    density = BY_NAME["glow"]
    model = build(density.config)
    model.eval()
    assert not any(layer.initialised for layer in act_norms(model))
    model.initialise(density.batch(8)[0].float())
    assert all(layer.initialised for layer in act_norms(model)) and len(list(act_norms(model))) == 12
    assert not any(module.training for module in model.modules())


def test_fewer_bits() -> None:
    """Eight bits stay, one tells dark from bright, and none are no image."""
    images = torch.arange(256)
    assert torch.equal(fewer_bits(images, 8), images)
    assert torch.equal(fewer_bits(images, 1), (images >= 128).long())
    with pytest.raises(InvalidInput, match=r"bits \(=0\)"):
        fewer_bits(images, 0)


def test_shapes_are_checked() -> None:
    """Another shape is refused by name, in either direction."""
    model = plain()
    with pytest.raises(InvalidInput, match=r"x has shape \(2, 4\)"):
        model.log_prob(torch.zeros(2, 4))
    with pytest.raises(InvalidInput, match="z has shape"):
        model.decode(torch.zeros(2, 1, 2, 3))


def test_classes_are_checked() -> None:
    """Classes that are missing, of another kind, or not called for are refused."""
    model, (x, cond) = BY_NAME["glow-classes"].model(), BY_NAME["glow-classes"].batch(2)
    assert cond is not None
    for wrong in (None, cond[:1], cond.double()):
        with pytest.raises(InvalidInput, match="cond must be 2 classes, int64 below 3"):
            model(x, wrong)
    for outside in (-1, 3):
        with pytest.raises(InvalidInput, match="cond must be 2 classes, int64 below 3"):
            model(x, torch.full((2,), outside))
    with pytest.raises(InvalidInput, match="cond must be None"):
        plain().log_prob(torch.zeros(2, 1, 2, 2), cond)


@pytest.mark.parametrize("config", [density.config for density in DENSITIES], ids=map(str, DENSITIES))
def test_configurations_come_back_from_their_dict(config: RealNVPConfig) -> None:
    """`from_dict` undoes `to_dict`, lists for tuples included; what is unknown or missing is refused."""
    values = {**config.to_dict(), "shape": list(config.shape)}
    assert type(config).from_dict(values) == config
    for wrong in ({**values, "colour": "red"}, {k: v for k, v in values.items() if k != "shape"}):
        with pytest.raises(InvalidConfig, match="has the fields"):
            type(config).from_dict(wrong)


@pytest.mark.parametrize(
    "choice",
    [{"shape": (0,)}, {"shape": (1, 2)}, {"shape": 4}, {"levels": 1}, {"preprocess": "zca"}, {"width": 0}],
)
def test_impossible_configurations_are_refused(choice: dict) -> None:
    """What all have in common is checked, and named."""
    for kind, _ in KINDS.values():
        with pytest.raises(InvalidConfig, match=rf"{kind.__name__}\.{next(iter(choice))}"):
            kind(**{"shape": (1, 8, 8), **choice})


def test_names_that_are_none_are_told() -> None:
    """A model or a preset that does not exist is refused with those that do."""
    with pytest.raises(InvalidConfig, match=r"model \(='maf'\) must be one of \['nice'"):
        preset("maf", "digits")
    with pytest.raises(InvalidConfig, match=r"preset \(='faces'\) of glow"):
        preset("glow", "faces")
