"""Whitening flows and the prior against torch's own distributions."""

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from vocoder.errors import InvalidInput
from vocoder.flows import CholeskyWhiten, DiagonalWhiten, GaussianPrior

PRIOR = GaussianPrior()


def _covariance(batch: int, groups: int, size: int) -> Tensor:
    root = torch.randn(batch, groups, size, size, dtype=torch.float64)
    return root @ root.mT + 0.1 * torch.eye(size, dtype=torch.float64)


@pytest.mark.parametrize("shape", [(3, 7), (3, 4, 5)])
def test_prior_is_the_standard_normal(shape: tuple[int, ...]) -> None:
    """Σ log N(z; 0, 1) over all but the batch."""
    z = torch.randn(shape, dtype=torch.float64)
    expected = Normal(torch.zeros(()).double(), torch.ones(()).double()).log_prob(z).flatten(1).sum(1)
    torch.testing.assert_close(PRIOR.log_prob(z), expected)


def test_prior_loses_no_nats_in_half_precision() -> None:
    """A second of bfloat16 zeros has ½ ln 2π a sample; that rounded to bfloat16 would be 20 nats off."""
    log_prob = PRIOR.log_prob(torch.zeros(1, 22050, dtype=torch.bfloat16))
    assert log_prob.dtype == torch.float32
    assert log_prob.item() == pytest.approx(-0.9189385 * 22050, abs=0.1)


def test_diagonal_whitening_is_a_normal_density() -> None:
    """log N(x; 0, σ) = log N(z; 0, 1) + log_det."""
    x, log_std = torch.randn(2, 3, 4, dtype=torch.float64), torch.randn(2, 3, 4, dtype=torch.float64)
    z, log_det = DiagonalWhiten()(x, log_std)
    expected = Normal(torch.zeros_like(x), log_std.exp()).log_prob(x).sum((1, 2))
    torch.testing.assert_close(PRIOR.log_prob(z) + log_det, expected)


def test_cholesky_whitening_is_a_multivariate_normal_density() -> None:
    """Σ_groups log N(x; 0, C) = log N(z; 0, I) + log_det."""
    x, covariance = torch.randn(2, 4, 3, dtype=torch.float64), _covariance(2, 3, 4)
    z, log_det = CholeskyWhiten()(x, covariance)
    expected = MultivariateNormal(torch.zeros(4).double(), covariance).log_prob(x.transpose(1, 2)).sum(1)
    torch.testing.assert_close(PRIOR.log_prob(z) + log_det, expected)


def test_cholesky_inverse_colours_noise() -> None:
    """The inverse's matrix L, read off column by column, gives C = L Lᵀ back."""
    covariance, units = _covariance(1, 1, 5), torch.eye(5, dtype=torch.float64)[:, :, None]
    factor, _ = CholeskyWhiten().inverse(units, covariance.expand(5, 1, 5, 5))
    torch.testing.assert_close(factor[:, :, 0].T @ factor[:, :, 0], covariance[0, 0])


def test_cholesky_uses_the_digits_of_the_covariance() -> None:
    """Single-precision data and a covariance of ten decades, handed over in double precision, come back."""
    scale = torch.logspace(-5, 0, 6, dtype=torch.float64)
    root = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0] * scale
    covariance = (root @ root.T)[None, None]
    x = root.float() @ torch.randn(1, 6, 1)
    z, log_det = CholeskyWhiten()(x, covariance)
    assert z.dtype == log_det.dtype == torch.float32
    assert log_det.item() == pytest.approx(-scale.log().sum().item(), rel=1e-5)
    torch.testing.assert_close(CholeskyWhiten().inverse(z, covariance)[0], x, rtol=1e-5, atol=1e-7)


def test_a_covariance_that_is_none_is_refused() -> None:
    """Not positive definite is the caller's error, in the caller's words."""
    flow = CholeskyWhiten()
    for direction in (flow, flow.inverse):
        with pytest.raises(InvalidInput, match="positive definite"):
            direction(torch.ones(1, 2, 1), -torch.eye(2)[None, None])


@pytest.mark.parametrize("flow", [DiagonalWhiten(), CholeskyWhiten()], ids=["diagonal", "cholesky"])
@pytest.mark.parametrize("cond", [None, torch.ones(1, 2, 1), torch.ones(1, 1, 1, 1)], ids=["no", "3d", "4d"])
def test_whitening_needs_its_conditioning(flow: DiagonalWhiten | CholeskyWhiten, cond: Tensor | None) -> None:
    """Absent, or of a shape that would be broadcast, it is refused."""
    for direction in (flow, flow.inverse):
        with pytest.raises(InvalidInput, match="cond"):
            direction(torch.ones(2, 2, 1), cond)
