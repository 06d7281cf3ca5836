"""Samples `[T]` as numbers: their level, their rate, and what is not audio at all."""

import soxr
import torch
from torch import Tensor

from vocoder.errors import InvalidAudio

__all__ = ["LEVEL", "at_level", "require_finite", "require_rank", "require_rate", "resample"]

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
    require_rate(from_rate)
    require_rate(to_rate)
    if from_rate == to_rate:
        return audio
    length = -(-len(audio) * to_rate // from_rate)
    silence = (0, from_rate // to_rate + 1)  # soxr rounds the length; this makes it long enough to cut
    dtype = torch.promote_types(audio.dtype, torch.float32)
    padded = torch.nn.functional.pad(audio.detach().cpu().to(dtype), silence)
    made = soxr.resample(padded.numpy(), from_rate, to_rate, quality="VHQ")
    return torch.from_numpy(made[:length]).to(audio)


def require_rank(audio: Tensor) -> None:
    """`[T]`, or `InvalidAudio`."""
    if audio.ndim != 1:
        raise InvalidAudio(f"audio has shape {list(audio.shape)}, expected [samples]")


def require_rate(rate: int) -> None:
    """A positive integer that fits a file, or `InvalidAudio`."""
    if type(rate) is not int or not 0 < rate < 2**29:
        raise InvalidAudio(f"sample rate (={rate!r}) must be a positive integer, in hertz")


def require_finite(audio: Tensor) -> None:
    """Finite samples, or `InvalidAudio` that names the first that is not."""
    if not (finite := audio.isfinite()).all():
        first = int((~finite).nonzero()[0])
        raise InvalidAudio(f"sample {first} is {audio[first].item()}; every sample must be finite")
