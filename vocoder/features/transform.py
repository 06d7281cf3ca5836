"""From audio to log-mel: `LogMel` computes what a `MelSpec` says, with the filters of `mel_filters`.

Letters: B batch, T samples, M mel bands, L mel frames, F frequency bins.
"""

import math

import torch
from torch import Tensor, nn

from vocoder.errors import InvalidAudio
from vocoder.features.spec import MelSpec

__all__ = ["LogMel", "mel_filters"]


class LogMel(nn.Module):
    """Log-mel spectrogram of audio, `[B, T]` → `[B, M, L]` with L = 1 + T // hop, as `MelSpec` defines it.

    Computed in the dtype of the audio, differentiable, on the device the module is on. Raises `InvalidAudio`
    for a rank other than two, a dtype that is not floating, or fewer than n_fft/2 + 1 samples (nothing to
    reflect).

    >>> LogMel(MelSpec())(torch.zeros(2, 16000)).shape
    torch.Size([2, 80, 63])
    """

    window: Tensor
    filters: Tensor

    def __init__(self, spec: MelSpec) -> None:
        super().__init__()
        self.spec = spec
        dtype = torch.get_default_dtype()
        self.register_buffer(
            "window", torch.hann_window(spec.win_length, dtype=torch.float64).to(dtype), persistent=False
        )
        self.register_buffer("filters", mel_filters(spec).to(dtype), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """ln(max(W |STFT(audio)|, floor)), `[B, T]` → `[B, M, L]`."""
        self._check(audio)
        spec = self.spec
        spectrum = torch.stft(
            audio,
            spec.n_fft,
            spec.hop_length,
            spec.win_length,
            window=self.window.to(audio.dtype),
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )
        mel = self.filters.to(audio.dtype) @ spectrum.abs()  # [M, F] @ [B, F, L]
        return mel.clamp(min=spec.floor).log()

    def _check(self, audio: Tensor) -> None:
        shape, shortest = list(audio.shape), self.spec.n_fft // 2 + 1
        if audio.ndim != 2:
            raise InvalidAudio(f"audio has shape {shape}, expected [batch, samples]")
        if not audio.is_floating_point():
            raise InvalidAudio(f"audio has dtype {audio.dtype}, expected a floating-point one")
        if shape[1] < shortest:
            raise InvalidAudio(f"audio has {shape[1]} samples, expected at least {shortest} (n_fft / 2 + 1)")

    def extra_repr(self) -> str:
        """Show the spec in the module's repr."""
        return repr(self.spec)


def mel_filters(spec: MelSpec) -> Tensor:
    """Triangular filters `[M, F]` in float64, evenly spaced on the Slaney mel scale, of unit area in hertz.

    (Slaney, Auditory Toolbox, 1998; the defaults of librosa.) Written out because the filterbank of
    torchaudio is made in single precision, and takes half of an odd sample rate, such as 11 025 Hz, for a
    whole number.
    """
    bins = torch.arange(spec.n_fft // 2 + 1, dtype=torch.float64) * spec.sample_rate / spec.n_fft
    ends = torch.tensor([spec.f_min, spec.f_max], dtype=torch.float64)
    low_mel, high_mel = _hertz_to_mel(ends).tolist()
    edges = _mel_to_hertz(torch.linspace(low_mel, high_mel, spec.n_mels + 2, dtype=torch.float64))
    left, centre, right = (edges[i : i + spec.n_mels, None] for i in range(3))
    triangles = torch.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)).clamp(min=0)
    return triangles * 2 / (right - left)


_KNEE = 1000.0  # hertz: the Slaney scale is linear below, logarithmic above
_HERTZ_PER_MEL = 200 / 3
_LOG_STEP = math.log(6.4) / 27


def _hertz_to_mel(hertz: Tensor) -> Tensor:
    above = (hertz.clamp(min=_KNEE) / _KNEE).log() / _LOG_STEP
    return hertz.clamp(max=_KNEE) / _HERTZ_PER_MEL + above


def _mel_to_hertz(mel: Tensor) -> Tensor:
    knee = _KNEE / _HERTZ_PER_MEL
    return mel.clamp(max=knee) * _HERTZ_PER_MEL * ((mel - knee).clamp(min=0) * _LOG_STEP).exp()
