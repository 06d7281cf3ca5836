"""Samples `[T]` to the bytes of a file: WAV with 16-bit or float samples, and FLAC."""

import io
import struct
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Literal, get_args

import numpy as np
import soundfile
from torch import Tensor

from vocoder.audio.signal import require_finite, require_rank, require_rate
from vocoder.errors import InvalidAudio

__all__ = ["Format", "Subtype", "encode", "encode_stream"]

Format = Literal["wav", "flac"]
Subtype = Literal["pcm16", "float32"]


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

    >>> import torch
    >>> len(encode(torch.zeros(100), 22050))
    244
    """
    require_rank(audio)
    return b"".join(encode_stream([audio], len(audio), sample_rate, format, subtype))


def encode_stream(
    chunks: Iterable[Tensor],
    samples: int,
    sample_rate: int,
    format: Format = "wav",  # noqa: A002  # the word that soundfile and torchaudio use
    subtype: Subtype = "pcm16",
) -> Iterator[bytes]:
    """What `encode` makes of the chunks joined, piece by piece, in memory that does not grow for WAV.

    `samples` is how many the chunks have together: a WAV file begins with it, before the first chunk is
    there. FLAC, whose first bytes depend on the last, comes in one piece. Raises what `encode` raises: at
    once for the arguments, for a chunk when it is reached.

    >>> import torch
    >>> [len(piece) for piece in encode_stream(torch.zeros(2, 50), 100, 22050)]
    [44, 100, 100]
    """
    _require_format(samples, sample_rate, format, subtype)
    coded = _counted((_code(chunk, subtype) for chunk in chunks), samples)
    if format == "flac":
        return (_flac(whole, sample_rate) for whole in [coded])  # made when it is asked for
    header = _wav_header(samples, 4 if subtype == "float32" else 2, sample_rate)
    return chain([header], (piece.tobytes() for piece in coded))


def _code(audio: Tensor, subtype: Subtype) -> np.ndarray:
    """Samples as they stand in a file."""
    _require_samples(audio)
    audio = audio.detach().cpu()
    if subtype == "float32":
        single = audio.float()
        require_finite(single)  # a double may be too large for one
        return single.numpy().astype("<f4")
    return (audio.double() * 2**15).round().clamp(-(2**15), 2**15 - 1).numpy().astype("<i2")


def _counted(chunks: Iterable[np.ndarray], samples: int) -> Iterator[np.ndarray]:
    """The chunks, if there are as many samples in them as was said."""
    seen = 0
    for chunk in chunks:
        seen += len(chunk)
        yield chunk
    if seen != samples:
        raise InvalidAudio(f"chunks hold {seen} samples, expected {samples} as was said")


def _wav_header(samples: int, width: int, sample_rate: int) -> bytes:
    """Of a RIFF file, made here because libsndfile stamps the time of day into one with float samples."""
    code, fact = (3, struct.pack("<4sII", b"fact", 4, samples)) if width == 4 else (1, b"")
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, code, 1, sample_rate, sample_rate * width, width, 8 * width)
    body = b"WAVE" + form + fact + struct.pack("<4sI", b"data", samples * width)
    return struct.pack("<4sI", b"RIFF", len(body) + samples * width) + body


def _flac(chunks: Iterable[np.ndarray], sample_rate: int) -> bytes:
    data = io.BytesIO()
    try:
        with soundfile.SoundFile(data, "w", sample_rate, 1, "PCM_16", format="FLAC") as file:
            for chunk in chunks:
                file.write(chunk)
    except soundfile.LibsndfileError as error:
        raise InvalidAudio(f"cannot be written as FLAC at {sample_rate} Hz: {error.error_string}") from error
    return data.getvalue()


def _require_format(samples: int, sample_rate: int, container: str, subtype: str) -> None:
    if container not in get_args(Format):
        raise InvalidAudio(f"format (={container!r}) must be one of {get_args(Format)}")
    if subtype not in get_args(Subtype) or (container, subtype) == ("flac", "float32"):
        raise InvalidAudio(f"subtype (={subtype!r}) must be 'pcm16', or 'float32' with format 'wav'")
    require_rate(sample_rate)
    if not 0 < samples < 2**30 - 64:
        raise InvalidAudio(f"audio has {samples} samples, expected at least one and fewer than 2³⁰ - 64")


def _require_samples(audio: Tensor) -> None:
    require_rank(audio)
    if not audio.is_floating_point():
        raise InvalidAudio(f"audio has dtype {audio.dtype}, expected a floating-point one")
    require_finite(audio)
