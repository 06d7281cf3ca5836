"""Priors against torch's and SciPy's distributions, and what a scale makes of them."""

import math

import pytest
import torch
from scipy import special, stats
from torch.distributions import Normal, SigmoidTransform, TransformedDistribution, Uniform

from vocoder.errors import InvalidInput
from vocoder.flows import GaussianPrior, LogisticPrior, Prior, Scale
from vocoder.flows.flow import bounded
from vocoder.noise import noise

every_prior = pytest.mark.parametrize("prior", [GaussianPrior(), LogisticPrior()], ids=["normal", "logistic"])


def _logistic() -> TransformedDistribution:
    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    return TransformedDistribution(Uniform(zero, one), [SigmoidTransform().inv])


@pytest.mark.parametrize("shape", [(3, 7), (3, 4, 5), (3, 1, 2, 4)], ids=str)
def test_the_logistic_is_a_uniform_through_a_logit(shape: tuple[int, ...]) -> None:
    """−softplus(z) − softplus(−z), summed over all but the batch."""
    z = torch.randn(shape, dtype=torch.float64)
    expected = _logistic().log_prob(z).flatten(1).sum(1)
    torch.testing.assert_close(LogisticPrior().log_prob(z), expected, rtol=0, atol=1e-12)


def test_the_tails_of_the_logistic() -> None:
    """Far out it falls by a nat for every step, to all digits, where a plain softplus loses some."""
    z = torch.tensor([-800.0, -40.0, -21.0, -20.0, 0.0, 19.0, 20.5, 22.0, 700.0], dtype=torch.float64)
    expected = torch.from_numpy(stats.logistic.logpdf(z.numpy()))
    torch.testing.assert_close(LogisticPrior().local(z), expected, rtol=1e-15, atol=1e-15)


def test_the_slope_of_the_logistic_is_bounded() -> None:
    """d log p / dz = −tanh(z / 2), so an outlier pulls no harder than ±1."""
    z = torch.linspace(-50, 50, 101, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(LogisticPrior().local(z).sum(), [z])
    torch.testing.assert_close(slope, -torch.tanh(z / 2))


@every_prior
def test_half_precision_loses_no_nats(prior: Prior) -> None:
    """A second of bfloat16 zeros has as many nats as one of float64 zeros."""
    half, whole = (prior.log_prob(torch.zeros(1, 22050, dtype=t)) for t in (torch.bfloat16, torch.float64))
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(whole.item(), abs=0.1)


def test_lengths_cut_the_logistic() -> None:
    """What stands behind the end of an item has no density."""
    z, prior = torch.randn(2, 3, 5, dtype=torch.float64), LogisticPrior()
    found = prior.log_prob(z, torch.tensor([2, 5]))
    torch.testing.assert_close(found, torch.cat([prior.log_prob(z[:1, :, :2]), prior.log_prob(z[1:])]))


@every_prior
def test_a_draw_is_a_function_of_its_seed(prior: Prior) -> None:
    """The same seed gives the same numbers, another others, and a larger batch begins as a smaller one."""
    small, large = prior.sample((2, 3, 4), seed=5), prior.sample((5, 3, 4), seed=5)
    assert (small.shape, small.dtype, small.device.type) == ((2, 3, 4), torch.float32, "cpu")
    assert torch.equal(small, large[:2])
    assert torch.equal(prior.sample((2, 12), 5), small.flatten(1))
    assert not torch.equal(prior.sample((2, 3, 4), seed=6), small)


@every_prior
def test_temperature_multiplies(prior: Prior) -> None:
    """Zero is the mode, and the rest is in proportion."""
    one = prior.sample((3, 4))
    assert torch.equal(prior.sample((3, 4), temperature=0.5), 0.5 * one)
    assert not prior.sample((3, 4), temperature=0.0).any()


@every_prior
@pytest.mark.parametrize("temperature", [-0.1, math.inf, math.nan])
def test_impossible_temperatures_are_refused(prior: Prior, temperature: float) -> None:
    """Neither a negative nor an infinite one is a temperature."""
    with pytest.raises(InvalidInput, match="temperature"):
        prior.sample((1, 2), temperature=temperature)


def test_impossible_seeds_are_refused() -> None:
    """A seed is that of the noise, with its rule."""
    with pytest.raises(InvalidInput, match="seed"):
        GaussianPrior().sample((1, 2), seed=-1)


def test_a_normal_draw_is_the_noise() -> None:
    """Nothing but `vocoder.noise`, in rows."""
    assert torch.equal(GaussianPrior().sample((3, 4), seed=2).flatten(), noise(2, 0, 12))


def test_a_logistic_draw_inverts_the_distribution_function() -> None:
    """It is ln u − ln(1 − u) of u = Φ(noise)."""
    u = special.ndtr(noise(4, 0, 500).double().numpy())
    expected = torch.from_numpy(special.logit(u)).float().view(5, 100)
    torch.testing.assert_close(LogisticPrior().sample((5, 100), seed=4), expected, rtol=2e-7, atol=0)


def test_logistic_draws_are_logistic() -> None:
    """A hundred thousand of them pass the test of Kolmogorov and Smirnov, at a level of a thousandth."""
    z = LogisticPrior().sample((100_000,), seed=9).double().numpy()
    assert stats.kstest(z, stats.logistic.cdf).pvalue > 1e-3
    assert stats.kstest(z, stats.norm(scale=math.pi / math.sqrt(3)).cdf).pvalue < 1e-6  # and not normal


def test_the_rarest_noise_has_a_finite_quantile() -> None:
    """Even where Φ rounds to 0 or 1."""
    z = LogisticPrior()._of_normal(torch.tensor([-38.0, -9.0, 9.0, 38.0]))
    assert z.isfinite().all()
    assert torch.equal(z, -z.flip(0))


def _scale(channels: int) -> Scale:
    scale = Scale(channels).double()
    with torch.no_grad():
        scale.log_scale.copy_(torch.linspace(-2, 3, channels))
    return scale


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 5), (3, 4, 2, 2)], ids=str)
def test_a_scale_is_a_learned_prior_variance(shape: tuple[int, ...]) -> None:
    """Scaling by s before N(0, I) is the density N(0, 1/s²) without scaling (NICE, section 3.3)."""
    scale, x = _scale(4), torch.randn(shape, dtype=torch.float64)
    sigma = (-scale.log_scale).exp().view(-1, *[1] * (len(shape) - 2))
    expected = Normal(torch.zeros_like(sigma), sigma).log_prob(x).flatten(1).sum(1)
    z, log_det = scale(x)
    torch.testing.assert_close(GaussianPrior().log_prob(z) + log_det, expected, rtol=0, atol=1e-12)


def test_draws_through_a_scale_have_that_variance() -> None:
    """Inverse scaling of N(0, I) spreads channel c by 1/s_c."""
    scale = _scale(4)
    x, _ = scale.inverse(GaussianPrior().sample((20_000, 4)).double())
    torch.testing.assert_close(x.std(0).log(), -scale.log_scale.detach(), rtol=0, atol=0.02)


def test_a_bounded_scale_cannot_explode() -> None:
    """Up to half the bound s is itself; beyond, it nears the bound smoothly, however far it is driven."""
    scale = Scale(6, bound=2.0).double()
    raw = torch.tensor([-1e3, -1.0, 0.3, 1.0, 2.0, 1e3], dtype=torch.float64)
    scale.log_scale.data = raw
    s = scale(torch.ones(1, 6, dtype=torch.float64))[0].log().flatten()
    torch.testing.assert_close(s[1:4], raw[1:4])
    torch.testing.assert_close(s[[0, 5]], torch.tensor([-2.0, 2.0], dtype=torch.float64))
    assert 1.7 < s[4] < 1.8
    steep = torch.linspace(-3, 3, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: bounded(s, 2.0), steep)


@pytest.mark.parametrize("bound", [0.0, -1.0, math.nan])
def test_impossible_bounds_are_refused(bound: float) -> None:
    """A bound is above zero."""
    with pytest.raises(InvalidInput, match="bound"):
        Scale(2, bound=bound)


def test_scale_refuses_other_channels() -> None:
    """Three channels are not scaled by four numbers, in either direction."""
    scale, x = Scale(4), torch.zeros(2, 4, 2)
    for direction in (scale, scale.inverse):
        with pytest.raises(InvalidInput, match=r"\[B, 4, …\]"):
            direction(x[:, :3])
