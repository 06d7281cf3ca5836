"""What a mel says of the spectrum: power at any frequency, and the covariance of neighbouring samples.

Shape letters: B batch, M mel bands, L mel frames, F frequencies, G lags, S groups.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vocoder.errors import InvalidConfig
from vocoder.features import MelSpec, mel_filters
from vocoder.flows.flow import full_precision

NOISE_FLOOR = 3e-4  # standard deviation of the dequantisation noise: no spectrum may claim less power


class SpectralEnvelope(nn.Module):
    """Power spectrum of the audio behind a log-mel, on the bins of its own STFT, without parameters.

    For a Gaussian signal of power spectrum P (the variance of white noise),
    ``E|STFT| = √(¼π · P · Σ window²)``; band m of the mel is that times the filter's area ``a_m``, hence
    ``ln P = 2·(mel_m − ln a_m) + ln 4/π − ln Σ window²`` at the band's centre, read linearly in ln P between
    centres and kept constant outside them; then the power of the noise floor is added. A band that no
    frequency of the STFT falls into, or the same one as the band below, is not read; raises `InvalidConfig`
    where fewer than two are left.

    Shapes: ``mel [B, M, L]`` → ``P [B, F, L]``, F = n_fft / 2 + 1 frequencies from 0 to Nyquist.

    Example:
        >>> import torch
        >>> SpectralEnvelope(MelSpec())(torch.zeros(1, 80, 3)).shape
        torch.Size([1, 513, 3])
    """

    _weights: Tensor
    _offset: Tensor

    def __init__(self, spec: MelSpec) -> None:
        super().__init__()
        filters = mel_filters(spec)
        bins = torch.linspace(0, spec.sample_rate / 2, filters.shape[1], dtype=torch.float64)
        area = filters.sum(1)
        centres = filters @ bins / area
        heard = _increasing(centres)
        if heard.sum() < 2:
            raise InvalidConfig(f"MelSpec.n_mels (={spec.n_mels}) must give at least two bands to read")
        window_power = torch.hann_window(spec.win_length, dtype=torch.float64).square().sum()
        weights = torch.zeros(len(bins), len(filters), dtype=torch.float64)
        weights[:, heard] = _interpolation(centres[heard], bins)
        offset = weights[:, heard] @ (-2 * area[heard].log() + math.log(4 / math.pi) - window_power.log())
        self.register_buffer("_weights", 2 * weights, persistent=False)
        self.register_buffer("_offset", offset[:, None], persistent=False)

    def forward(self, mel: Tensor) -> Tensor:
        """Power ``[B, F, L]`` behind the log-mel ``[B, M, L]``."""
        with full_precision(mel):
            log_power = self._weights.to(mel.dtype) @ mel + self._offset.to(mel.dtype)
        return log_power.exp() + NOISE_FLOOR**2


def _increasing(centres: Tensor) -> Tensor:
    """Which of the centres ``[M]`` lie above all that come before; an empty band's is NaN, and does not."""
    centres = centres.nan_to_num(-1.0)
    highest = torch.cat([centres.new_tensor([-1.0]), centres.cummax(0).values[:-1]])
    return centres > highest + 1e-6


def _interpolation(centres: Tensor, frequencies: Tensor) -> Tensor:
    """The matrix ``[F, M]`` that reads values at ``centres [M]`` at ``frequencies [F]``, constant outside."""
    clamped = frequencies.clamp(centres[0], centres[-1])
    right = torch.searchsorted(centres, clamped).clamp(1, len(centres) - 1)
    weight = (clamped - centres[right - 1]) / (centres[right] - centres[right - 1])
    rows = torch.arange(len(frequencies))
    matrix = torch.zeros(len(frequencies), len(centres), dtype=torch.float64)
    matrix[rows, right - 1] = 1 - weight
    matrix[rows, right] += weight
    return matrix


def toeplitz_covariance(power: Tensor, lags: int) -> Tensor:
    """Covariance of ``lags`` neighbouring samples of a process with the power spectrum given on [0, Nyquist].

    ``r = irfft(P)`` (Wiener–Khinchin), ``C[i, j] = r[|i − j|]``.

    Shapes: ``P [B, F, S]``, ``lags = G`` of at most 2·(F − 1) → ``[B, S, G, G]``.

    Example:
        >>> import torch
        >>> toeplitz_covariance(torch.full((1, 5, 1), 4.0), 2).tolist()  # white noise
        [[[[4.0, 0.0], [0.0, 4.0]]]]
    """
    autocovariance = torch.fft.irfft(power.transpose(1, 2))[..., :lags]
    index = torch.arange(lags, device=power.device)
    return autocovariance[..., (index[:, None] - index[None, :]).abs()]
