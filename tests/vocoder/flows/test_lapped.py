"""The lapped transform against the textbook's MDCT, and what it says of stationary noise."""

import math

import numpy as np
import pytest
import torch

from vocoder.errors import InvalidConfig, InvalidInput
from vocoder.flows import LappedTransform

Array = np.ndarray


def _textbook_mdct(x: Array, size: int) -> Array:
    """√(2/N) Σ w(n) x[bN + n] cos(π/N · (n + ½ + N/2)(m + ½)), n = 0 … 2N − 1, Vorbis window: `[b, m]`."""
    n, m = np.arange(2 * size), np.arange(size)
    window = np.sin(np.pi / 2 * np.sin(np.pi * (n + 0.5) / (2 * size)) ** 2)
    kernel = np.cos(np.pi / size * np.outer(n + 0.5 + size / 2, m + 0.5))
    pieces = [x[start : start + 2 * size] for start in range(0, len(x) - 2 * size + 1, size)]
    return np.stack([math.sqrt(2 / size) * (window * piece) @ kernel for piece in pieces])


@pytest.mark.parametrize("size", [4, 6, 32])
def test_is_the_textbook_mdct_of_the_signal_told_backwards(size: int) -> None:
    """Between the ends every block is the MDCT's, up to its sign and the direction of time."""
    x = torch.randn(1, 6 * size, dtype=torch.float64)
    z = LappedTransform(size)(x)[0].view(6, size)
    backwards = x[0].numpy()[::-1]
    expected = -_textbook_mdct(backwards[size // 2 :], size)  # its blocks begin half a block before ours
    np.testing.assert_allclose(z[1:5].numpy(), expected[::-1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [2, 8, 30])
@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_is_orthonormal_to_the_ends(size: int, blocks: int) -> None:
    """QᵀQ = I for the whole matrix, the first and the last block included."""
    flow = LappedTransform(size)
    matrix = flow(torch.eye(size * blocks, dtype=torch.float64))[0]
    identity = torch.eye(size * blocks, dtype=torch.float64)
    torch.testing.assert_close(matrix @ matrix.T, identity, rtol=0, atol=1e-12)
    torch.testing.assert_close(flow.inverse(identity)[0], matrix.T, rtol=0, atol=1e-12)


def test_leans_on_the_neighbouring_blocks_only() -> None:
    """A coefficient hears half a block to each side, and no sample farther."""
    flow = LappedTransform(8)
    basis = flow.inverse(torch.eye(40, dtype=torch.float64)[16:24])[0]  # of the third block of five
    assert basis[:, :12].abs().max() == 0
    assert basis[:, 28:].abs().max() == 0
    assert basis[:, 12].abs().max() > 0
    assert basis[:, 27].abs().max() > 0


def test_coefficient_m_holds_its_frequency() -> None:
    """A tone at (m + ½)/2N of the rate lands in coefficient m, and next to nothing far from it."""
    size, m = 64, 20
    tone = torch.sin(math.pi / size * (m + 0.5) * torch.arange(8.0 * size, dtype=torch.float64) + 1.0)
    energy = LappedTransform(size)(tone[None])[0].view(8, size)[1:-1].square().sum(0)
    assert energy.argmax() == m
    far = torch.cat([energy[: m - 6], energy[m + 7 :]])
    assert far.sum() < 1e-5 * energy.sum()


@pytest.mark.parametrize(("size", "n_fft"), [(16, 128), (16, 40), (16, 32), (16, 16)])
def test_power_response_is_the_variance_of_coloured_noise(size: int, n_fft: int) -> None:
    """R P is the diagonal of Q C Qᵀ, C the circulant covariance of the spectrum P, for short FFTs too."""
    power = torch.rand(n_fft // 2 + 1, dtype=torch.float64) + 0.1
    flow, samples = LappedTransform(size), 5 * size
    covariance = torch.fft.irfft(power, n=n_fft)  # periodic in n_fft, as the DFT sees it
    lags = (torch.arange(samples)[:, None] - torch.arange(samples)[None, :]) % n_fft
    basis = flow.inverse(torch.eye(samples, dtype=torch.float64))[0][2 * size : 3 * size]
    expected = (basis @ covariance[lags] * basis).sum(1)
    torch.testing.assert_close(flow.power_response(n_fft) @ power, expected, rtol=1e-10, atol=0)


def test_power_response_of_noise_heard() -> None:
    """Monte Carlo: filtered noise has coefficients of the variances that the filter's response foretells."""
    size, taps = 8, torch.tensor([1.0, 0.7, -0.2], dtype=torch.float64)
    noise = torch.randn(4000, 1, 5 * size + 2, dtype=torch.float64)
    coloured = torch.nn.functional.conv1d(noise, taps.flip(0)[None, None])[:, 0]
    measured = LappedTransform(size)(coloured)[0].view(-1, 5, size)[:, 1:4].square().mean((0, 1))
    power = torch.fft.rfft(taps, n=256).abs().square()
    torch.testing.assert_close(LappedTransform(size).power_response(256) @ power, measured, rtol=0.06, atol=0)


@pytest.mark.parametrize("n_fft", [1024, 64, 50, 32])
def test_power_response_of_white_noise_is_one(n_fft: int) -> None:
    """Rows sum to one and nothing is negative."""
    response = LappedTransform(32).power_response(n_fft)
    assert response.shape == (32, n_fft // 2 + 1)
    assert response.min() >= 0
    torch.testing.assert_close(response.sum(1), torch.ones(32, dtype=torch.float64))


@pytest.mark.parametrize("block", [0, 1, 7, -2])
def test_impossible_blocks_are_refused(block: int) -> None:
    """A block folds in half, so it is even."""
    with pytest.raises(InvalidConfig, match="block"):
        LappedTransform(block)


@pytest.mark.parametrize("samples", [0, 4, 12])
def test_samples_that_do_not_fill_blocks_are_refused(samples: int) -> None:
    """In either direction."""
    flow = LappedTransform(8)
    for direction in (flow, flow.inverse):
        with pytest.raises(InvalidInput, match="multiple of block"):
            direction(torch.zeros(1, samples))
