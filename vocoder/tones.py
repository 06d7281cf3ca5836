"""Tones: lines at multiples of Fs / G, which a vocoder of G samples at a time can leave in what it speaks.

Such a line keeps its phase, and so stands out of the spectrum of the whole clip at exactly its frequency; a
voice glides, and does not. With P the power spectrum of the whole clip of n samples (cut to a multiple of G,
so that line k is exactly bin k · n / G), under a Hann window::

    ratio(k) = P(line k) / mean of P at 3 … R bins on either side,   R = 20 Hz, or half way to the next line

Bins nearer than 3 belong to the line itself, through the window. What is told is a ratio in decibels,
``10 log₁₀``; 0 is no line at all. A steady tone stands 3 dB higher over noise in a clip twice as long, so
compare clips of one length: what was spoken with its recording.

**What chance does.** In white noise each ratio is exponentially distributed about 1. A single line says
little, -2.5 ± 5.7 dB. The mean over all lines is 0 ± 0.4 dB for G = 256 and 0 ± 2.6 dB for G = 8; the highest
of 128 lines is 7.4 ± 1.1 dB (100 clips of 4 s). **What a tone does.** A sine of amplitude A in white noise
of deviation σ gives its line a ratio of ``1 + A² n / (6 σ²)``.

Letters: T samples, G group size, K = G // 2 lines.
"""

import math

import torch
from torch import Tensor

from vocoder.errors import InvalidAudio, InvalidInput

__all__ = ["tone_excess", "tone_level", "tone_levels"]

NEAR = 3  # bins from a line to the first that the Hann window keeps clear of it
REACH = 20.0  # hertz from a line to the last bin that is compared with it
FEWEST = 6  # bins that each side must have


def tone_levels(audio: Tensor, sample_rate: int, group: int) -> Tensor:
    """How far each line stands above its surroundings, in decibels ``[K]``: k = 1 … G // 2 of k · Fs / G.

    NaN where a clip of ``audio [T]`` is too short for that, or silent. Raises `InvalidAudio` for another
    shape or dtype, or a sample that is not finite, `InvalidInput` for a rate below 1 or a group below 2.

    >>> hum = 0.1 * torch.sin(2 * math.pi / 8 * torch.arange(22050)) + 0.01 * torch.randn(22050)
    >>> int(tone_levels(hum, 22050, group=8).argmax())  # which is k = 1
    0
    """
    return 10 * _ratios(audio, sample_rate, group).log10()


def tone_level(audio: Tensor, sample_rate: int, group: int) -> float:
    """All lines in one number: ``10 log₁₀`` of the mean over k of their ratios, in decibels."""
    return float(10 * _ratios(audio, sample_rate, group).mean().log10())


def tone_excess(audio: Tensor, truth: Tensor, sample_rate: int, group: int) -> float:
    """`tone_level` of what was spoken less that of its recording, in decibels; 0 where nothing was added."""
    return tone_level(audio, sample_rate, group) - tone_level(truth, sample_rate, group)


def _ratios(audio: Tensor, sample_rate: int, group: int) -> Tensor:
    """``[K]``, in float64."""
    _check(audio, sample_rate, group)
    groups = len(audio) // group  # also the bins from one line to the next
    samples = groups * group
    reach = min(int(REACH * samples / sample_rate), groups // 2)
    if reach < NEAR + FEWEST - 1:
        return torch.full((group // 2,), math.nan, dtype=torch.float64)
    lines = groups * torch.arange(1, group // 2 + 1)
    aside = torch.arange(NEAR, reach + 1)
    power = _power(audio[:samples])
    around = power[(lines[:, None] + torch.cat([-aside, aside])) % samples]  # [K, bins]
    ratios = power[lines] / around.mean(1)
    return ratios.where(ratios.isfinite(), math.nan)


def _power(audio: Tensor) -> Tensor:
    window = torch.hann_window(len(audio), dtype=torch.float64)
    return torch.fft.fft(audio.detach().cpu().double() * window).abs().square()


def _check(audio: Tensor, sample_rate: int, group: int) -> None:
    if audio.ndim != 1 or not audio.is_floating_point():
        raise InvalidAudio(f"audio is {audio.dtype} {list(audio.shape)}, expected floating-point [samples]")
    if not audio.isfinite().all():
        raise InvalidAudio("audio has a sample that is not finite; such a signal has no lines")
    for name, value, least in (("sample_rate", sample_rate, 1), ("group", group, 2)):
        if type(value) is not int or value < least:
            raise InvalidInput(f"{name} (={value!r}) must be an integer >= {least}")
