"""What is done in the latent: spectra, edits of one number, inpainting."""

import math

import pytest
import torch
from torch import Tensor

from vocoder.errors import InvalidInput
from vocoder.flows import Chain, GaussianPrior, InvertibleConv1x1, Scale
from vocoder.latents import dimensions, edit, inpaint, reconstructions, spectrum
from vocoder.models.density import DensityModel
from vocoder.models.nice import NICE, NICEConfig


def nice(*log_scale: float) -> NICE:
    """A NICE whose couplings are at rest, so that its latent is x times the scale."""
    model = NICE(NICEConfig((len(log_scale),), 8, couplings=3, layers=1, width=4, prior="gaussian"))
    (scale,) = (part for part in model.modules() if isinstance(part, Scale))
    with torch.no_grad():
        scale.log_scale.copy_(torch.tensor(log_scale))
    return model.eval()


def plane(*covariance: tuple[float, float]) -> DensityModel:
    """A Gaussian of the plane with this covariance, around 0."""
    mix = InvertibleConv1x1(2)
    root = torch.linalg.cholesky(torch.tensor(covariance))
    with torch.no_grad():
        mix.weight.copy_(torch.linalg.inv(root))
    return DensityModel(Chain([mix]), GaussianPrior(), (2,), levels=None)


def test_spectrum_orders_dimensions_by_deviation() -> None:
    """σ = exp(−s), from the largest; what is cut is zero, and its error is what x had there."""
    model, x = nice(1.0, -1.0, 0.0, 2.0), torch.rand(50, 4)
    found = spectrum(model, x, rows=5)
    assert found.dimensions == [1, 2, 0, 3] == dimensions(model, 4)
    assert found.sigma == pytest.approx([math.e, 1.0, 1 / math.e, math.exp(-2)])
    assert found.kept == [4, 3, 2, 1, 0]
    lost = [[], [3], [0, 3], [0, 2, 3], [0, 1, 2, 3]]
    expected = [float(x[:, gone].square().sum(1).mean().div(4).sqrt()) for gone in lost]
    assert found.error == pytest.approx(expected, abs=1e-6)


@torch.no_grad()
def test_likelihood_of_what_is_decoded() -> None:
    """With all kept it is that of x; each number cut saves its z²/2, and bits are nats in other units."""
    model, x = nice(1.0, -1.0, 0.0, 2.0), torch.rand(50, 4)
    found = spectrum(model, x, rows=5)
    assert found.log_prob[0] == pytest.approx(float(model.log_prob(x).mean()), abs=1e-5)
    saved = 0.5 * float(model.encode(x)[:, 3].square().mean())
    assert found.log_prob[1] - found.log_prob[0] == pytest.approx(saved, rel=1e-4)
    assert found.bits_per_dim[0] == pytest.approx(3 - found.log_prob[0] / (4 * math.log(2)))
    assert found.to_dict()["kept"] == [4, 3, 2, 1, 0]


@torch.no_grad()
def test_likelihood_may_fall_as_numbers_are_dropped() -> None:
    """With a logit the prior's part rises and the log-determinant's may fall by more, or by less."""
    config = NICEConfig((4,), 8, "logit", couplings=3, layers=1, width=4, prior="gaussian")
    model = NICE(config).eval()  # couplings at rest: z is the logit of x times the scale
    (scale,) = (part for part in model.modules() if isinstance(part, Scale))
    p = 0.05 + 0.9 * 0.9
    z, flatter = math.log(p / (1 - p)), 4 * math.log(p * (1 - p) / 0.25)
    for log_scale, rises in ((-1.0, False), (0.0, True)):
        scale.log_scale.fill_(log_scale)
        all_kept, none_kept = spectrum(model, torch.full((5, 4), 0.9), rows=2).log_prob
        saved = 2 * (z * math.exp(log_scale)) ** 2
        assert none_kept - all_kept == pytest.approx(saved + flatter, abs=1e-4)
        assert (none_kept > all_kept) == rises


def test_reconstructions_are_those_of_the_spectrum() -> None:
    """In the order asked for; with all kept x, with none the middle; their errors are those reported."""
    model, x = nice(1.0, -1.0, 0.0, 2.0), torch.rand(50, 4)
    found = spectrum(model, x, rows=5)
    drawn = reconstructions(model, x, found.kept)
    assert drawn.shape == (50, 5, 4)
    errors = (drawn - x[:, None]).square().mean((0, 2)).sqrt()
    assert errors.tolist() == pytest.approx(found.error)
    torch.testing.assert_close(drawn[:, 0], x)
    assert not drawn[:, 4].any()
    assert torch.equal(reconstructions(model, x, [0, 4]), drawn[:, [4, 0]])


def test_only_a_nice_has_a_spectrum() -> None:
    """Another model is refused, and its most important dimensions are just the first."""
    model = plane((1.0, 0.0), (0.0, 1.0))
    with pytest.raises(InvalidInput, match="only a NICE"):
        spectrum(model, torch.zeros(2, 2))
    assert dimensions(model, 8) == [0, 1]


def test_an_edit_changes_one_number_of_the_latent() -> None:
    """The latents of a strip differ from x's in the one number, and there are what was asked for."""
    torch.manual_seed(0)
    model = NICE(NICEConfig((1, 2, 2), 8, couplings=3, layers=1, width=4))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x, values = torch.rand(1, 2, 2), [-2.0, 0.0, 3.0]
    strip = edit(model, x, 2, values)
    assert strip.shape == (3, 1, 2, 2)
    z, before = model.encode(strip).flatten(1), model.encode(x[None]).flatten()
    torch.testing.assert_close(z[:, 2], torch.tensor(values), atol=1e-5, rtol=0)
    torch.testing.assert_close(z[:, [0, 1, 3]], before[[0, 1, 3]].expand(3, 3), atol=1e-5, rtol=0)
    for wrong in (-1, 4):
        with pytest.raises(InvalidInput, match="dimension"):
            edit(model, x, wrong, values)


def test_inpainting_climbs_to_the_mode() -> None:
    """Of a Gaussian, what is hidden goes to its mean given what is known, which stays as it is."""
    model = plane((0.05, 0.04), (0.04, 0.05))
    x = torch.tensor([[0.5, 0.9], [0.25, 0.9]])
    filled = inpaint(model, x, torch.tensor([True, False]), steps=2000, noise=0.0)
    assert torch.equal(filled[:, 0], x[:, 0])
    torch.testing.assert_close(filled[:, 1], 0.8 * x[:, 0], atol=0.02, rtol=0)


def test_inpainting_stays_in_range_and_is_a_function_of_the_seed() -> None:
    """With noise, every answer lies in 0 … 1, is at least as likely as the start, and comes again."""
    model, x = nice(0.0, 0.5, 1.0, 0.0), torch.rand(6, 4)
    known = torch.tensor([True, True, False, False])

    def filled(seed: int, steps: int = 30) -> Tensor:
        return inpaint(model, x, known, steps=steps, seed=seed)

    assert torch.equal(filled(1), filled(1)) and not torch.equal(filled(1), filled(2))
    assert filled(1).min() >= 0 and filled(1).max() <= 1
    assert torch.equal(filled(1)[:, :2], x[:, :2])
    assert (model.log_prob(filled(1)) >= model.log_prob(filled(1, 0)) - 1e-5).all()
    with pytest.raises(InvalidInput, match="broadcast"):
        inpaint(model, x, torch.ones(3, dtype=torch.bool))
