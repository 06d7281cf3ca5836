"""Whitening fronts on noise whose spectrum the mel describes: what comes out is white."""

import math
from collections.abc import Callable

import pytest
import torch

from vocoder.features import LogMel, MelSpec
from vocoder.models.front import CholeskyFront, LappedFront

SPEC = MelSpec()
GROUP = 32


def _pink(samples: int) -> torch.Tensor:
    """Gaussian noise that falls smoothly by 30 dB up to 7 kHz, then stays: `[1, T]`."""
    frequency = torch.fft.rfftfreq(samples, 1 / SPEC.sample_rate, dtype=torch.float64)
    gain = 10 ** (-1.5 * (frequency / 7000).clamp(max=1))
    white = torch.randn(1, samples, dtype=torch.float64)
    return 0.1 * torch.fft.irfft(torch.fft.rfft(white) * gain, n=samples)


FRONTS: dict[str, Callable[[], LappedFront | CholeskyFront]] = {
    "lapped": lambda: LappedFront(SPEC, GROUP, GROUP, 1),
    "filter": lambda: LappedFront(SPEC, 256, GROUP, 1, back_in_time=True),
    "cholesky": lambda: CholeskyFront(SPEC, GROUP),
}


@pytest.mark.parametrize("kind", FRONTS)
def test_coloured_noise_comes_out_white(kind: str) -> None:
    """Each of the G numbers of a group has variance one, about, and its neighbours know little of it."""
    samples = 256 * 400
    audio = _pink(samples)
    mel = LogMel(SPEC)(audio).exp().mean(2, keepdim=True).log().expand(1, 80, 400)
    front = FRONTS[kind]()
    features = torch.zeros(1, 1, samples // GROUP, dtype=torch.float64)
    z, log_det = front.double().flow(audio, front.condition(mel, features))
    groups = z.view(-1, GROUP)
    deviations = groups.square().mean(0).sqrt()
    assert 0.85 < deviations.min() < deviations.max() < 1.15
    correlation = (groups[:, :-1] * groups[:, 1:]).mean(0).abs().max()
    assert correlation < 0.15
    gain = (-0.5 * z.square().sum() + log_det - samples / 2 * math.log(2 * math.pi)) / samples
    plain = torch.distributions.Normal(0.0, audio.std()).log_prob(audio).mean()
    assert gain > plain + 0.3  # nats per sample: what the spectrum is worth


def test_the_correction_is_learned_from_zero() -> None:
    """An untrained lapped front says what the envelope says; its correction is added to the log deviation."""
    front, mel = LappedFront(SPEC, GROUP, GROUP, 3), torch.randn(1, 80, 4) - 5
    features = torch.randn(1, 3, 4 * 256 // GROUP)
    before = front.condition(mel, features)
    assert torch.equal(before, front.condition(mel, torch.zeros_like(features)))
    assert front.correction.bias is not None
    torch.nn.init.constant_(front.correction.bias, 0.5)
    torch.testing.assert_close(front.condition(mel, features), before + 0.5)
