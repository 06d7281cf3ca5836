"""Files, standard input and output, and open binary files."""

import io
import os
import shutil
import sys
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
import soundfile
import torch
from torch import Tensor

from vocoder.audio.codec import Format, Subtype, encode, encode_stream
from vocoder.audio.signal import require_finite, require_rate, resample
from vocoder.errors import InvalidAudio

__all__ = ["Place", "decode", "load", "save", "save_stream"]

Place = str | os.PathLike[str] | IO[bytes]  # a path, "-" for standard input or output, or an open binary file


def load(source: Place, sample_rate: int) -> Tensor:
    """Read a file as mono float32 `[T]` at `sample_rate` hertz; several channels are averaged.

    `source` is a path, `-` for standard input, or an open binary file. Raises `InvalidAudio`, naming the file
    and its problem, if it is missing, empty, damaged, of no known format, or holds a sample that is not
    finite.
    """
    require_rate(sample_rate)
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
    require_finite(audio)
    resampled = resample(audio, rate, sample_rate)
    require_finite(resampled)  # a filter can overshoot the largest number there is
    return resampled


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
    _write(target, [data])


def save_stream(
    target: Place,
    chunks: Iterable[Tensor],
    samples: int,
    sample_rate: int,
    format: Format | None = None,  # noqa: A002  # the word that soundfile and torchaudio use
    subtype: Subtype = "pcm16",
) -> None:
    """What `save` does, with audio that comes in chunks `[T]` of `samples` in all; see `encode_stream`.

    A file is written beside its place and moved there when it is whole: audio that turns out to be bad
    leaves none behind. What a link, a device or a pipe leads to is written in place.
    """
    _write(target, encode_stream(chunks, samples, sample_rate, format or _format_of(target), subtype))


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


def _write(target: Place, pieces: Iterable[bytes]) -> None:
    if not isinstance(target, (str, os.PathLike)):
        target.writelines(pieces)
    elif str(target) == "-":
        for piece in pieces:  # whoever listens hears it now
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
    elif not str(target) or str(target).endswith(os.sep):
        raise InvalidAudio(f"cannot write {str(target)!r}: a file has a name")
    elif Path(target).is_symlink() or (Path(target).exists() and not Path(target).is_file()):
        with Path(target).open("wb") as file:
            file.writelines(pieces)
    else:
        _replace(Path(target), pieces)


def _replace(path: Path, pieces: Iterable[bytes]) -> None:
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")  # nobody else's
    try:
        with part.open("xb") as file:
            file.writelines(pieces)
        if path.exists():
            shutil.copymode(path, part)
        part.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error  # the name that the caller knows
    finally:
        part.unlink(missing_ok=True)
