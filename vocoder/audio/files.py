"""Files, standard input and output, and open binary files."""

import io
import math
import os
import shutil
import sys
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import soundfile
import torch
from torch import Tensor

from vocoder.audio.codec import encode, encode_stream
from vocoder.audio.formats import format_of_name
from vocoder.audio.signal import Resampler, require_finite, require_rate
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


def decode(data: bytes, sample_rate: int, *, max_seconds: float | None = None) -> Tensor:
    """What `load` does with a file, done with the bytes of one.

    With `max_seconds`, audio that is longer is `InvalidAudio`, found out before more of it than that is
    decoded: a few bytes can hold hours.
    """
    if not data:
        raise InvalidAudio("it is empty (0 bytes)")
    try:
        with _Forward(_Bytes(data)) as file:
            pieces = list(_resampled(_blocks(file, max_seconds), file.samplerate, sample_rate))
    except soundfile.LibsndfileError as error:
        raise InvalidAudio(f"not audio, or damaged: {error.error_string}") from error
    audio = torch.cat(pieces)
    if not len(audio):
        raise InvalidAudio("it holds no samples")
    require_finite(audio)  # a filter can overshoot the largest number there is
    return audio


def _resampled(blocks: Iterator[Tensor], from_rate: int, to_rate: int) -> Iterator[Tensor]:
    """Block by block, so that a file of a far higher rate is never in memory at that rate."""
    resampler = Resampler(from_rate, to_rate)
    yield from (resampler.push(block) for block in blocks)
    yield resampler.finish()


UNKNOWN = 2**63 - 1  # samples, where a file does not say


class _Bytes(io.BytesIO):
    """A file in memory that a damaged one may have sought to before its beginning: that is the beginning."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: self.getbuffer().nbytes}[whence]
        return super().seek(max(start + offset, 0))


class _Forward(soundfile.SoundFile):
    """Read from beginning to end; there is no other way through a FLAC that does not say its length."""

    def seekable(self) -> bool:
        return False


def save(
    target: Place,
    audio: Tensor,
    sample_rate: int,
    format: str | None = None,  # noqa: A002  # the word that soundfile and torchaudio use
    out_rate: int | None = None,
) -> None:
    """Write `audio [T]` to a path, `-` for standard output, or an open binary file; see `encode`.

    Without a `format`, the suffix of the path tells it, as `FORMATS` says; anything else is WAV. The audio is
    encoded before the file is opened, so that bad audio leaves no file behind.
    """
    data = encode(audio, sample_rate, format or _format_of(target), out_rate)
    _write(target, [data])


def save_stream(
    target: Place,
    chunks: Iterable[Tensor],
    samples: int | None,
    sample_rate: int,
    format: str | None = None,  # noqa: A002  # the word that soundfile and torchaudio use
    out_rate: int | None = None,
) -> None:
    """What `save` does, with audio that comes in chunks `[T]` of `samples` in all; see `encode_stream`.

    A file is written beside its place and moved there when it is whole: audio that turns out to be bad
    leaves none behind. What a link, a device or a pipe leads to is written in place.
    """
    _write(target, encode_stream(chunks, samples, sample_rate, format or _format_of(target), out_rate))


def _read(source: Place) -> bytes:
    if not isinstance(source, (str, os.PathLike)):
        return source.read()
    return sys.stdin.buffer.read() if str(source) == "-" else Path(source).read_bytes()


def _blocks(file: soundfile.SoundFile, max_seconds: float | None) -> Iterator[Tensor]:
    """The samples `[T]`, in blocks because a damaged header can promise any length."""
    longest = math.inf if max_seconds is None else max_seconds * file.samplerate
    size, read = max(1, 2**16 // file.channels), 0
    while len(block := file.read(size, dtype="float32", always_2d=True)):  # [T, channels]
        audio = torch.from_numpy(block).mean(dim=1)
        if read + len(audio) > longest:
            raise InvalidAudio(f"it is longer than {max_seconds:g} s")
        require_finite(audio, read)
        read += len(audio)
        yield audio
    _require_whole(file, read)


def _require_whole(file: soundfile.SoundFile, read: int) -> None:
    """A FLAC that says how long it is must be so; of other formats libsndfile may only guess it."""
    if file.format == "FLAC" and file.frames not in (read, UNKNOWN):
        raise InvalidAudio(f"not audio, or damaged: {read} samples can be read, {file.frames} are promised")


def _name(place: Place) -> str:
    if isinstance(place, (str, os.PathLike)):
        return "standard input" if str(place) == "-" else str(place)
    return str(getattr(place, "name", "the audio"))


def _format_of(target: Place) -> str:
    return format_of_name(_name(target)).name


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
