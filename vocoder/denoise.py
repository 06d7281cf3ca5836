"""The denoiser: the tones that a voice speaks whatever it is asked for, taken off what it says.

A vocoder that makes G samples at a time can leave tones at multiples of Fs / G. Their magnitudes, the *bias*,
are asked of the voice once; a fraction of them is subtracted from every frame's spectrum, the phase is kept
(spectral subtraction; NVIDIA's WaveGlow has a denoiser of this kind). Frames are anchored at the first sample
and go on beyond both ends, where the audio is taken to be zero, so that every sample lies in n_fft / hop
frames, and the same ones however the audio comes::

    audio                   0 ├──────────────────────────────┤ T
    frames    ├── 0 0 0 ──────┤   ├──────────────┤   ├───── 0 0 0 ──┤
                  ├── 0 0 ────────┤   ├──────────────┤   …

Letters: B batch, T samples, M mel bands, L mel frames, F frequency bins.
"""

from collections.abc import Callable, Iterable, Iterator
from numbers import Real
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from vocoder.errors import InvalidAudio, InvalidConfig, InvalidInput

__all__ = [
    "Bias",
    "Denoiser",
    "Subtraction",
    "bias_spectrum",
    "published_bias",
    "steady_bias",
    "strength_within",
]

Bias = Literal["speech", "silence", "published"]
Speak = Callable[[Tensor], Tensor]  # mel [M, L] → audio [L · hop], at temperature 0

N_FFT, HOP = 1024, 256  # of the published denoiser, whatever those of the mel are
SPEECH = -5.0  # a mel's natural-log magnitude in speech at about -26 dBFS
BLOCK = 2**16  # samples of a whole clip that are transformed together: an hour does not fit at once


class Denoiser(nn.Module):
    """Spectral subtraction: |Y| = max(|X| - strength · bias, 0), ∠Y = ∠X, in every frame.

    X is the STFT with a periodic Hann window w, ``n_fft`` long and moved on by ``hop``; the inverse is
    overlap-add of w times each frame, divided by Σ w² / hop, which is what the squares of the windows over
    any sample add up to. Audio is as long afterwards as before, and comes out of a batch as it would alone,
    also where zeros fill it up to the longest.

    Args:
        bias: magnitudes ``[F]``, F = n_fft / 2 + 1, as the STFT has them: `InvalidConfig` if not finite, or
            below 0.
        n_fft, hop: in samples; hop divides n_fft, three times at least.

    Example:
        >>> denoiser = Denoiser(torch.full((513,), 0.1))
        >>> denoiser(torch.randn(2, 1000), 0.5).shape
        torch.Size([2, 1000])
    """

    bias: Tensor

    def __init__(self, bias: Tensor, n_fft: int = N_FFT, hop: int = HOP) -> None:
        super().__init__()
        if hop < 1 or n_fft % hop or n_fft < 3 * hop:
            raise InvalidConfig(f"hop (={hop}) must divide n_fft (={n_fft}), three times at least")
        expected = f"[{n_fft // 2 + 1}] finite magnitudes >= 0"
        if list(bias.shape) != [n_fft // 2 + 1]:
            raise InvalidConfig(f"bias has shape {list(bias.shape)}, expected {expected}")
        if not (bias.isfinite() & (bias >= 0)).all():
            raise InvalidConfig(f"bias has a value that is negative or not finite, expected {expected}")
        self.n_fft, self.hop = n_fft, hop
        self.register_buffer("bias", bias)

    def forward(self, audio: Tensor, strength: float) -> Tensor:
        """Denoise ``audio [T]`` or ``[B, T]``: the same shape and dtype; at strength 0 the audio itself.

        Raises `InvalidInput` for a strength that is no number within 0 … 1, `InvalidAudio` for another shape,
        a dtype other than float32 and float64, or a sample that is not finite.
        """
        strength = strength_within(strength)
        _require_audio(audio, (1, 2))
        if not strength:
            return audio
        return torch.cat(list(_driven(self.at(strength), audio.split(BLOCK, -1))), -1)

    def stream(self, chunks: Iterable[Tensor], strength: float) -> Iterator[Tensor]:
        """Denoise ``audio [T]`` that comes in chunks of any lengths: what the whole would be, chunk by chunk.

        A sample leaves when the n_fft - hop samples behind it are there, and others that fill a hop, or the
        audio ends: 46 ms at most, in the published numbers at 22 050 Hz. Memory is that of a chunk. At
        strength 0 the chunks pass as they come.

        Raises what a call raises: at once for the strength, for a chunk when it is reached.
        """
        checked = (_require_audio(chunk, (1,)) for chunk in chunks)
        return (made for made in _driven(self.at(strength), checked) if len(made))

    def at(self, strength: float) -> "Subtraction":
        """Set to work on one clip whose audio is pushed to it, chunk by chunk: what `stream` does inside."""
        return Subtraction(self, strength_within(strength))

    def _frames(self, held: Tensor, sums: Tensor, strength: float) -> tuple[Tensor, Tensor, Tensor]:
        """Render the whole frames of `held`: what is finished; what others will see, and add to."""
        count = (held.shape[-1] - self.n_fft) // self.hop + 1
        if count < 1:
            return held[..., :0], held, sums
        window = torch.hann_window(self.n_fft, dtype=held.dtype, device=held.device)
        spectra = torch.fft.rfft(held.unfold(-1, self.n_fft, self.hop) * window)
        weight = window / (window.square().sum() / self.hop)
        frames = torch.fft.irfft(self._reduced(spectra, strength), self.n_fft) * weight
        added = _overlap_add(frames, self.hop)
        added[..., : sums.shape[-1]] += sums
        done = count * self.hop
        return added[..., :done], held[..., done:], added[..., done:]

    def _reduced(self, spectra: Tensor, strength: float) -> Tensor:
        magnitude = spectra.abs()
        kept = (magnitude - strength * self.bias.to(magnitude)).clamp(min=0)
        return spectra * (kept / magnitude.clamp(min=torch.finfo(magnitude.dtype).tiny))

    def extra_repr(self) -> str:
        """Show the lengths in the module's repr."""
        return f"n_fft={self.n_fft}, hop={self.hop}"


class Subtraction:
    """A denoiser at work on one clip ``[…, T]``, and what it holds of it between two chunks."""

    def __init__(self, denoiser: Denoiser, strength: float) -> None:
        self._denoiser, self._strength = denoiser, strength
        self._lap = denoiser.n_fft - denoiser.hop
        self._held: tuple[Tensor, Tensor] | None = None  # what further frames will see, and will add to
        self._came, self._gone = 0, -self._lap  # the first frame begins that much before the audio

    def push(self, chunk: Tensor) -> Tensor:
        """Samples that are finished, with the chunk's; none, perhaps. At strength 0 the chunk as it came."""
        _require_audio(chunk, (1, 2))
        if not self._strength:
            return chunk
        held, sums = self._held or (chunk.new_zeros(*chunk.shape[:-1], self._lap),) * 2
        self._came += chunk.shape[-1]
        return self._step(torch.cat([held, chunk], -1), sums)

    def finish(self) -> Tensor:
        """The samples that were held back."""
        if self._held is None:
            return torch.empty(0)
        (held, sums), end = self._held, self._came - self._gone
        rest = nn.functional.pad(held, (0, self._lap + -self._came % self._denoiser.hop))
        first = max(-self._gone, 0)
        return self._step(rest, sums)[..., : end - first]

    def _step(self, held: Tensor, sums: Tensor) -> Tensor:
        made, *state = self._denoiser._frames(held, sums, self._strength)
        self._held, before = (state[0], state[1]), max(-self._gone, 0)
        self._gone += made.shape[-1]
        return made[..., before:]


def _driven(at_work: Subtraction, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
    for chunk in chunks:
        yield at_work.push(chunk)
    yield at_work.finish()


def bias_spectrum(kind: Bias, speak: Speak, *, bands: int, hop: int, margin: int, floor: float) -> Tensor:
    """The bias ``[F]`` of a voice, of one of three kinds.

    - ``speech``, ours: `steady_bias` at the level of speech, -5.
    - ``silence``: `steady_bias` of a mel of `floor`, its lowest value.
    - ``published``: `published_bias`.

    `hop` is the mel's; `margin` is how many frames from its ends a mel is spoken as if it had none. Raises
    `InvalidInput` for another kind.
    """
    if kind not in get_args(Bias):
        raise InvalidInput(f"bias (={kind!r}) must be one of {get_args(Bias)}")
    if kind == "published":
        return published_bias(speak, bands)
    return steady_bias(speak, bands, hop, margin, SPEECH if kind == "speech" else floor)


def steady_bias(speak: Speak, bands: int, hop: int, margin: int, level: float) -> Tensor:
    """Mean magnitudes ``[F]`` of what a voice says, at temperature 0, to a mel that is `level` everywhere.

    Away from the ends, that repeats itself every hop: all of it is lines at multiples of Fs / hop. The mean
    is over the frames of an STFT that lie within the audio, `margin` frames of the mel off its ends.
    """
    frames = 2 * margin + -(-2 * N_FFT // hop)
    audio = speak(torch.full((bands, frames), level))
    inner = audio[margin * hop : len(audio) - margin * hop]
    return _magnitudes(inner, center=False).mean(1)


def published_bias(speak: Speak, bands: int) -> Tensor:
    """The bias ``[F]`` of NVIDIA's denoiser: what a voice says, at temperature 0, to 88 frames of zeros.

    Of their STFT the first frame, half of which is a mirror. A mel of zeros is not silent but loud: 5 above
    the level of speech, e⁵ ≈ 150 times its magnitude.
    """
    return _magnitudes(speak(torch.zeros(bands, 88)), center=True)[:, 0]


def strength_within(strength: float) -> float:
    """The strength, if it is a number within 0 … 1; `InvalidInput` if not."""
    if isinstance(strength, bool) or not isinstance(strength, Real) or not 0 <= strength <= 1:
        raise InvalidInput(f"denoise strength (={strength!r}) must be a number within 0 … 1")
    return float(strength)


def _overlap_add(frames: Tensor, hop: int) -> Tensor:
    """``[…, N, n_fft]`` → ``[…, (N - 1) · hop + n_fft]``."""
    parts = frames.unflatten(-1, (-1, hop))  # [..., N, n_fft / hop, hop]
    count, laps = parts.shape[-3:-1]
    added = parts.new_zeros(*parts.shape[:-3], count + laps - 1, hop)
    for lap in range(laps):
        added[..., lap : lap + count, :] += parts[..., lap, :]
    return added.flatten(-2)


def _magnitudes(audio: Tensor, *, center: bool) -> Tensor:
    window = torch.hann_window(N_FFT, dtype=audio.dtype, device=audio.device)
    return torch.stft(audio, N_FFT, HOP, window=window, center=center, return_complex=True).abs()


def _require_audio(audio: Tensor, ranks: tuple[int, ...]) -> Tensor:
    if audio.ndim not in ranks or audio.dtype not in (torch.float32, torch.float64):
        shapes = "[samples] or [batch, samples]" if 2 in ranks else "[samples]"
        came = f"{audio.dtype} {list(audio.shape)}"
        raise InvalidAudio(f"audio is {came}, expected float32 or float64 {shapes}")
    if not audio.isfinite().all():
        raise InvalidAudio("audio has a sample that is not finite")
    return audio
