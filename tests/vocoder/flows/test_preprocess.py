"""From integers to real numbers and back: nothing is lost, and every density is accounted for."""

import math

import pytest
import torch
from torch import Tensor

from vocoder.errors import InvalidConfig, InvalidInput
from vocoder.flows import Centre, Logit, dequantise, quantise

LEVELS = [1, 2, 3, 17, 49, 100, 255, 256]


def test_logit_is_the_formula() -> None:
    """logit(α + (1 − 2α) x), with softplus(z) + softplus(−z) + ln(1 − 2α) for each element."""
    x = torch.rand(2, 3, 4, dtype=torch.float64)
    z, log_det = Logit(0.05)(x)
    p = 0.05 + 0.9 * x
    torch.testing.assert_close(z, p.log() - (1 - p).log(), rtol=0, atol=1e-13)
    torch.testing.assert_close(log_det, (0.9 / (p * (1 - p))).log().sum((1, 2)), rtol=0, atol=1e-12)


def test_logit_protects_both_ends() -> None:
    """Black and white are as far from zero as each other, at ln 19 for α = 0.05."""
    z, _ = Logit()(torch.tensor([[0.0, 1.0]], dtype=torch.float64))
    torch.testing.assert_close(z, math.log(19) * torch.tensor([[-1.0, 1.0]], dtype=torch.float64))


def test_logit_saturates_in_single_precision() -> None:
    """For |logit| ≤ 30 and far beyond, pixels are in order and within their interval, densities finite."""
    logit, z = Logit(0.05), torch.linspace(-30, 30, 601)[:, None]
    x, log_det = logit.inverse(z)
    assert (x.diff(dim=0) >= 0).all()
    assert -0.0556 < x.min() < 0 < 1 < x.max() < 1.0556
    expected = -(torch.nn.functional.softplus(z) + torch.nn.functional.softplus(-z) + math.log(0.9))
    torch.testing.assert_close(log_det, expected[:, 0])
    back, log_det = logit(x)
    assert back.isfinite().all() and log_det.isfinite().all()
    inside = z.abs() < 8
    torch.testing.assert_close(back[inside], z[inside], rtol=0, atol=1e-3)
    x, log_det = logit.inverse(torch.tensor([[-1e30], [1e30]]))
    assert x.isfinite().all() and log_det.isfinite().all()


@pytest.mark.parametrize("alpha", [0.0, 1e-6, 0.05])
def test_what_has_no_logit_is_taken_for_what_has_one(alpha: float) -> None:
    """A number outside the interval, or at its very end, comes out finite, with a finite density."""
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        x = torch.tensor([[-7.0, 0.0, 1.0, 7.0]], dtype=dtype)
        z, log_det = Logit(alpha)(x)
        assert z.isfinite().all() and log_det.isfinite().all()
        assert (z.diff() >= 0).all()


@pytest.mark.parametrize("alpha", [-0.1, 0.5, math.nan])
def test_impossible_alphas_are_refused(alpha: float) -> None:
    """With a half nothing would be left between the ends."""
    with pytest.raises(InvalidConfig, match="alpha"):
        Logit(alpha)


def test_a_uniform_density_stays_one_through_the_logit() -> None:
    """The density that the logit makes of a uniform one integrates to one."""
    logit = Logit(0.05)
    z = torch.linspace(-2.94443, 2.94443, 20001, dtype=torch.float64)[:, None]
    _, log_det = logit.inverse(z)
    assert torch.trapezoid(log_det.exp(), z[:, 0]).item() == pytest.approx(1, abs=1e-5)


def test_centre_moves_by_a_half() -> None:
    """Padding stays where it is."""
    x = torch.full((2, 1, 3), 0.75)
    z, log_det = Centre()(x, None, torch.tensor([1, 3]))
    assert z.flatten().tolist() == [0.25, 0.0, 0.0, 0.25, 0.25, 0.25]
    assert log_det.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("images", [torch.uint8, torch.int64], ids=str)
def test_every_level_comes_back(levels: int, dtype: torch.dtype, images: torch.dtype) -> None:
    """With the least noise and the most, each integer is in [0, 1), and quantised is itself."""
    k = torch.arange(levels).to(images)
    most = math.nextafter(1.0, 0.0) if dtype == torch.float64 else 1 - 2**-24
    for u in (0.0, 1e-12, 0.3, most):
        x = dequantise(k, levels, torch.full((levels,), u, dtype=dtype))
        assert x.dtype == dtype
        assert x.min() >= 0 and x.max() < 1
        assert torch.equal(quantise(x, levels), k.long())


def test_noise_spreads_a_level_over_its_cell() -> None:
    """(k + u) / levels, so 3 of 4 levels with noise of a half is 0.875."""
    x = dequantise(torch.tensor([[0, 3]]), 4, torch.tensor([[0.25, 0.5]]))
    assert x.tolist() == [[0.0625, 0.875]]


def test_a_draw_that_leaves_the_interval_is_the_nearest_level() -> None:
    """What a flow draws beyond black or white is black or white."""
    x, _ = Logit(0.05).inverse(torch.linspace(-40, 40, 81)[:, None])
    levels = quantise(x, 17)
    assert levels.min() == 0 and levels.max() == 16
    assert levels.dtype == torch.int64


@pytest.mark.parametrize(
    ("images", "noise", "match"),
    [
        (torch.tensor([4]), torch.zeros(1), "0 … 3"),
        (torch.tensor([-1]), torch.zeros(1), "0 … 3"),
        (torch.tensor([1.0]), torch.zeros(1), "integers"),
        (torch.tensor([1]), torch.zeros(2), "shape"),
        (torch.tensor([1]), torch.zeros(1, dtype=torch.int64), "real"),
    ],
)
def test_what_is_no_image_is_refused(images: Tensor, noise: Tensor, match: str) -> None:
    """Levels out of range, real numbers, and noise of another shape or kind."""
    with pytest.raises(InvalidInput, match=match):
        dequantise(images, 4, noise)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_has_no_room_for_a_byte(dtype: torch.dtype) -> None:
    """A level and its noise are more digits than it has: refused, not rounded to a neighbour."""
    with pytest.raises(InvalidInput, match="too short"):
        dequantise(torch.tensor([1]), 256, torch.zeros(1, dtype=dtype))
    with pytest.raises(InvalidInput, match="too short"):
        quantise(torch.zeros(1, dtype=dtype), 256)


def test_impossible_levels_are_refused() -> None:
    """There is one at least."""
    with pytest.raises(InvalidInput, match="levels"):
        dequantise(torch.tensor([0]), 0, torch.zeros(1))
    with pytest.raises(InvalidInput, match="levels"):
        quantise(torch.zeros(1), 0)
