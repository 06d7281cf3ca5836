"""Samples `[T]` as numbers: their level, their rate, and what is not audio at all."""

import soxr
import torch
from torch import Tensor

from vocoder.errors import InvalidAudio

__all__ = ["LEVEL", "Resampler", "at_level", "require_finite", "require_rank", "require_rate", "resample"]

LEVEL = 0.06  # RMS at which likelihoods are compared


def at_level(audio: Tensor) -> Tensor:
    """Audio `[T]` at the one level at which likelihoods are compared: an RMS of 0.06, about -24 dBFS.

    A density in nats per sample depends on the level: half as loud is 0.69 nats more. Raises `InvalidAudio`
    for silence, which has no level.
    """
    rms = float(audio.double().square().mean().sqrt())  # whose square is no number in single precision
    if not rms > 0:
        raise InvalidAudio("audio is silent; it cannot be brought to a level")
    return audio * (LEVEL / rms)


def resample(audio: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Band-limited resampling of `audio [T]` to exactly ceil(T · to / from) samples, in the audio's dtype.

    soxr at its very high quality; equal rates return the audio itself. Rates are in hertz. Raises
    `InvalidAudio` for a shape that is not `[T]` or a rate that is not a positive integer. Not differentiable.

    >>> len(resample(torch.zeros(22050), 22050, 16000))
    16000
    """
    require_rank(audio)
    resampler = Resampler(from_rate, to_rate)
    return audio if from_rate == to_rate else torch.cat([resampler.push(audio), resampler.finish()]).to(audio)


class Resampler:
    """`resample` for audio that comes in pieces: what comes out, joined, is the same to the last bit.

    However the audio is cut, T samples in all become exactly ceil(T · to / from). A sample comes out once all
    that it depends on has gone in, 40 ms of speech later or so. Rates are in hertz, and must be positive
    integers, or `InvalidAudio`.

    >>> resampler = Resampler(22050, 48000)
    >>> pieces = [resampler.push(torch.zeros(22000)), resampler.push(torch.zeros(50)), resampler.finish()]
    >>> sum(map(len, pieces))
    48000
    """

    def __init__(self, from_rate: int, to_rate: int) -> None:
        require_rate(from_rate)
        require_rate(to_rate)
        self.from_rate, self.to_rate = from_rate, to_rate
        self._stream: soxr.ResampleStream | None = None  # made for the dtype of the first piece
        self._dtype = torch.float32
        self._taken = self._made = 0

    def push(self, audio: Tensor) -> Tensor:
        """The samples that are due after `audio [T]`, of the first piece's dtype or float32 at the least."""
        require_rank(audio)
        if self.from_rate == self.to_rate:
            return audio
        if self._stream is None:
            self._dtype = torch.promote_types(audio.dtype, torch.float32)
        self._taken += len(audio)
        made = self._resample(audio.detach().cpu().to(self._dtype))
        self._made += len(made)
        return made

    def finish(self) -> Tensor:
        """The samples that are left; nothing may be pushed after them."""
        if self.from_rate == self.to_rate:
            return torch.zeros(0)
        left = -(-self._taken * self.to_rate // self.from_rate) - self._made
        silence = self.from_rate // self.to_rate + 1  # soxr rounds the length; this makes it enough to cut
        return self._resample(torch.zeros(silence, dtype=self._dtype), last=True)[:left]

    def _resample(self, audio: Tensor, *, last: bool = False) -> Tensor:
        if self._stream is None:
            dtype = str(self._dtype).removeprefix("torch.")
            self._stream = soxr.ResampleStream(self.from_rate, self.to_rate, 1, dtype=dtype, quality="VHQ")
        return torch.from_numpy(self._stream.resample_chunk(audio.numpy(), last=last))


def require_rank(audio: Tensor) -> None:
    """`[T]`, or `InvalidAudio`."""
    if audio.ndim != 1:
        raise InvalidAudio(f"audio has shape {list(audio.shape)}, expected [samples]")


def require_rate(rate: int) -> None:
    """A positive integer that fits a file, or `InvalidAudio`."""
    if type(rate) is not int or not 0 < rate < 2**29:
        raise InvalidAudio(f"sample rate (={rate!r}) must be a positive integer, in hertz")


def require_finite(audio: Tensor, start: int = 0) -> None:
    """Finite samples, of which the first has the number `start`, or `InvalidAudio` naming one that is not."""
    if not (finite := audio.isfinite()).all():
        first = int((~finite).nonzero()[0])
        raise InvalidAudio(f"sample {start + first} is {audio[first].item()}; every sample must be finite")
