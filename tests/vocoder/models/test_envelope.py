"""What a mel says of the spectrum, checked on noise whose spectrum is known."""

import math

import pytest
import torch
from torch import Tensor

from vocoder.errors import InvalidConfig
from vocoder.features import LogMel, MelSpec
from vocoder.models.envelope import NOISE_FLOOR, SpectralEnvelope, toeplitz_covariance

SPEC = MelSpec()


def _mean_mel(audio: Tensor, spec: MelSpec) -> Tensor:
    """The log of the mean mel magnitude over time `[1, M, 1]`: one noisy frame says little of a spectrum."""
    return LogMel(spec)(audio)[:, :, 4:-4].exp().mean(2, keepdim=True).log()


@pytest.mark.parametrize(
    "spec",
    [SPEC, MelSpec(sample_rate=16000, win_length=800, hop_length=200), MelSpec(n_fft=2048, win_length=1100)],
    ids=["22k", "16k", "n_fft-2048"],
)
def test_white_noise_is_white(spec: MelSpec) -> None:
    """Noise of variance σ² has P = σ² at every frequency that a band covers, and beyond."""
    sigma = 0.1
    mel = _mean_mel(sigma * torch.randn(1, 2**19, dtype=torch.float64), spec)
    power = SpectralEnvelope(spec)(mel)[0, :, 0]
    assert power.shape == (spec.n_fft // 2 + 1,)
    relative = power[2:] / sigma**2  # the lowest bins are real numbers there, or nearly, and so not Rayleigh
    assert relative.mean().item() == pytest.approx(1, abs=0.02)
    assert relative.min() > 0.9
    assert relative.max() < 1.1


def test_level_is_squared() -> None:
    """Twice the amplitude is four times the power, at every frequency."""
    mel = torch.randn(1, 80, 3, dtype=torch.float64)
    envelope = SpectralEnvelope(SPEC)
    ratio = envelope(mel + math.log(2)) / envelope(mel)
    torch.testing.assert_close(ratio, torch.full_like(ratio, 4), rtol=1e-4, atol=0)  # but for the noise floor


def test_silence_is_the_noise_floor() -> None:
    """The lowest mel leaves little but the floor, which is positive."""
    power = SpectralEnvelope(SPEC)(torch.full((1, 80, 1), SPEC.log_floor))
    assert power.min() >= NOISE_FLOOR**2 * (1 - 1e-6)
    assert power.max() < 1.01 * NOISE_FLOOR**2


def test_a_band_is_heard_around_its_centre() -> None:
    """Raising one band raises the spectrum between its neighbours' centres, and nowhere else."""
    mel = torch.full((1, 80, 1), -3.0, dtype=torch.float64)
    raised = mel.clone()
    raised[:, 40] += 1
    envelope = SpectralEnvelope(SPEC)
    change = (envelope(raised) / envelope(mel))[0, :, 0]
    touched = (change > 1 + 1e-9).nonzero().flatten() * SPEC.sample_rate / SPEC.n_fft
    assert 1650 < touched.min() < touched.max() < 1800  # band 40 of 80 has its centre at 1.72 kHz
    assert change.max().item() == pytest.approx(math.e**2, rel=0.15)


@pytest.mark.parametrize(
    "spec",
    [
        MelSpec(n_fft=256, win_length=256, hop_length=64),
        MelSpec(sample_rate=44100, n_mels=128, f_max=16000.0),
    ],
    ids=["empty-bands", "twin-bands"],
)
def test_bands_that_say_nothing_are_passed_over(spec: MelSpec) -> None:
    """Bands so narrow that they hold no frequency of the STFT, or a neighbour's, leave no NaN behind."""
    power = SpectralEnvelope(spec)(torch.zeros(1, spec.n_mels, 2))
    assert power.isfinite().all()
    noise = 0.1 * torch.randn(1, 2**18, dtype=torch.float64)
    relative = SpectralEnvelope(spec)(_mean_mel(noise, spec))[0, 2:, 0] / 0.01
    assert relative.mean().item() == pytest.approx(1, abs=0.03)


def test_one_band_is_no_spectrum() -> None:
    """There is nothing to read between."""
    with pytest.raises(InvalidConfig, match="n_mels"):
        SpectralEnvelope(MelSpec(n_mels=1))


def test_covariance_of_an_autoregression() -> None:
    """x_t = a x_{t−1} + e has P = σ²/|1 − a e^{−iω}|² and C[i, j] = σ² a^{|i−j|} / (1 − a²)."""
    a, variance, lags = 0.8, 0.3, 6
    omega = torch.linspace(0, math.pi, 513, dtype=torch.float64)
    power = variance / (1 - 2 * a * torch.cos(omega) + a * a)
    covariance = toeplitz_covariance(power[None, :, None].expand(2, -1, 3), lags)
    distance = (torch.arange(lags)[:, None] - torch.arange(lags)[None, :]).abs()
    expected = variance * a**distance.double() / (1 - a * a)
    assert covariance.shape == (2, 3, lags, lags)
    torch.testing.assert_close(covariance, expected.expand(2, 3, lags, lags))


def test_covariance_follows_time() -> None:
    """Group s has the covariance of the spectrum at s."""
    power = torch.ones(1, 9, 2, dtype=torch.float64)
    power[:, :, 1] = 5
    variance = toeplitz_covariance(power, 3).diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(variance[0], torch.tensor([[1.0] * 3, [5.0] * 3], dtype=torch.float64))
