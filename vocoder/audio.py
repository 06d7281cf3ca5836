"""The shore: files and bytes on one side, mono samples `[T]` on the other.

Reads what libsndfile reads (WAV, FLAC, Ogg Vorbis and Opus, MP3, AIFF and more); writes WAV and FLAC. A
sample is a float, nominally within -1 … 1. The length of audio is kept exactly, and resampling makes ceil(T ·
to / from) of T samples. The same audio is encoded to the same bytes every time.
"""

import io
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal, get_args

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from vocoder.errors import InvalidAudio

__all__ = ["Format", "Place", "Subtype", "at_level", "decode", "encode", "load", "resample", "save"]

Place = str | os.PathLike[str] | IO[bytes]  # a path, "-" for standard input or output, or an open binary file
Format = Literal["wav", "flac"]
Subtype = Literal["pcm16", "float32"]
LEVEL = 0.06  # RMS at which likelihoods are compared


def load(source: Place, sample_rate: int) -> Tensor:
    """Read a file as mono float32 `[T]` at `sample_rate` hertz; several channels are averaged.

    `source` is a path, `-` for standard input, or an open binary file. Raises `InvalidAudio`, naming the file
    and its problem, if it is missing, empty, damaged, of no known format, or holds a sample that is not
    finite.
    """
    _require_rate(sample_rate)
    try:
        return decode(_read(source), sample_rate)
    except OSError as error:
        raise InvalidAudio(f"cannot read {_name(source)}: {error.strerror or error}") from error
    except InvalidAudio as error:
        raise InvalidAudio(f"cannot read {_name(source)}: {error}") from error


def decode(data: bytes, sample_rate: int) -> Tensor:
    """What `load` does with a file, done with the bytes of one."""
    if not data:
        raise InvalidAudio("it is empty (0 bytes)")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            rate, blocks = file.samplerate, list(_blocks(file))
    except soundfile.LibsndfileError as error:
        raise InvalidAudio(f"not audio, or damaged: {error.error_string}") from error
    if not blocks:
        raise InvalidAudio("it holds no samples")
    audio = torch.from_numpy(np.concatenate(blocks)).mean(dim=1)  # [T, channels] -> [T]
    _require_finite(audio)
    return resample(audio, rate, sample_rate)


def save(
    target: Place,
    audio: Tensor,
    sample_rate: int,
    format: Format | None = None,  # noqa: A002  # the word that soundfile and torchaudio use
    subtype: Subtype = "pcm16",
) -> None:
    """Write `audio [T]` to a path, `-` for standard output, or an open binary file; see `encode`.

    Without a `format`, a path that ends in `.flac` is FLAC and anything else is WAV. The audio is encoded
    before the file is opened, so that bad audio leaves no file behind.
    """
    data = encode(audio, sample_rate, format or _format_of(target), subtype)
    if not isinstance(target, (str, os.PathLike)):
        target.write(data)
    elif str(target) == "-":
        sys.stdout.buffer.write(data)
    else:
        Path(target).write_bytes(data)


def encode(
    audio: Tensor,
    sample_rate: int,
    format: Format = "wav",  # noqa: A002  # the word that soundfile and torchaudio use
    subtype: Subtype = "pcm16",
) -> bytes:
    """Encode `audio [T]`, any floating dtype, as a WAV or FLAC file.

    `pcm16` is round(x · 2¹⁵), half to even, clipped to -2¹⁵ … 2¹⁵ - 1: a loud sample saturates and never
    wraps. `float32` (WAV only) keeps the samples as they are. Raises `InvalidAudio` for a shape that is not
    `[T]`, no samples, a dtype that is not floating, a sample that is not finite, or a format that we do not
    write.

    >>> len(encode(torch.zeros(100), 22050))
    244
    """
    _require_writable(audio, sample_rate, format, subtype)
    audio = audio.detach().cpu()
    if subtype == "float32":
        return _wav(audio.float().numpy().astype("<f4"), sample_rate)
    samples = (audio.double() * 2**15).round().clamp(-(2**15), 2**15 - 1).numpy().astype("<i2")
    return _wav(samples, sample_rate) if format == "wav" else _flac(samples, sample_rate)


def at_level(audio: Tensor) -> Tensor:
    """Audio `[T]` at the one level at which likelihoods are compared: an RMS of 0.06, about -24 dBFS.

    A density in nats per sample depends on the level: half as loud is 0.69 nats more. Raises `InvalidAudio`
    for silence, which has no level.
    """
    rms = audio.square().mean().sqrt()
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
    _require_rank(audio)
    _require_rate(from_rate)
    _require_rate(to_rate)
    if from_rate == to_rate:
        return audio
    length = -(-len(audio) * to_rate // from_rate)
    silence = (0, from_rate // to_rate + 1)  # soxr rounds the length; this makes it long enough to cut
    dtype = torch.promote_types(audio.dtype, torch.float32)
    padded = torch.nn.functional.pad(audio.detach().cpu().to(dtype), silence)
    made = soxr.resample(padded.numpy(), from_rate, to_rate, quality="VHQ")
    return torch.from_numpy(made[:length]).to(audio)


def _read(source: Place) -> bytes:
    if not isinstance(source, (str, os.PathLike)):
        return source.read()
    return sys.stdin.buffer.read() if str(source) == "-" else Path(source).read_bytes()


def _blocks(file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    """The samples `[T, channels]`, in blocks because a damaged header can promise any length."""
    while len(block := file.read(2**16, dtype="float32", always_2d=True)):
        yield block


def _name(place: Place) -> str:
    if isinstance(place, (str, os.PathLike)):
        return "standard input" if str(place) == "-" else str(place)
    return str(getattr(place, "name", "the audio"))


def _format_of(target: Place) -> Format:
    return "flac" if _name(target).lower().endswith(".flac") else "wav"


def _wav(samples: np.ndarray, sample_rate: int) -> bytes:
    """A RIFF file, made here because libsndfile stamps the time of day into one with float samples."""
    data, width = samples.tobytes(), samples.itemsize
    code, fact = (
        (3, struct.pack("<4sII", b"fact", 4, len(samples))) if samples.dtype.kind == "f" else (1, b"")
    )
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, code, 1, sample_rate, sample_rate * width, width, 8 * width)
    body = b"WAVE" + form + fact + struct.pack("<4sI", b"data", len(data)) + data
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def _flac(samples: np.ndarray, sample_rate: int) -> bytes:
    file = io.BytesIO()
    try:
        soundfile.write(file, samples, sample_rate, format="FLAC", subtype="PCM_16")
    except soundfile.LibsndfileError as error:
        raise InvalidAudio(f"cannot be written as FLAC at {sample_rate} Hz: {error.error_string}") from error
    return file.getvalue()


def _require_writable(audio: Tensor, sample_rate: int, container: str, subtype: str) -> None:
    if container not in get_args(Format):
        raise InvalidAudio(f"format (={container!r}) must be one of {get_args(Format)}")
    if subtype not in get_args(Subtype) or (container, subtype) == ("flac", "float32"):
        raise InvalidAudio(f"subtype (={subtype!r}) must be 'pcm16', or 'float32' with format 'wav'")
    _require_rate(sample_rate)
    _require_rank(audio)
    if not audio.is_floating_point():
        raise InvalidAudio(f"audio has dtype {audio.dtype}, expected a floating-point one")
    if not 0 < len(audio) < 2**30 - 64:
        raise InvalidAudio(f"audio has {len(audio)} samples, expected at least one and fewer than 2³⁰ - 64")
    _require_finite(audio)


def _require_rank(audio: Tensor) -> None:
    if audio.ndim != 1:
        raise InvalidAudio(f"audio has shape {list(audio.shape)}, expected [samples]")


def _require_rate(rate: int) -> None:
    if type(rate) is not int or not 0 < rate < 2**29:
        raise InvalidAudio(f"sample rate (={rate!r}) must be a positive integer, in hertz")


def _require_finite(audio: Tensor) -> None:
    if not (finite := audio.isfinite()).all():
        first = int((~finite).nonzero()[0])
        raise InvalidAudio(f"sample {first} is {audio[first].item()}; every sample must be finite")
