"""Samples `[T]` to the bytes of a file in any of our formats, whole or as they come."""

from collections.abc import Iterable, Iterator
from itertools import chain
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from vocoder.audio.formats import find_format
from vocoder.audio.signal import Resampler, require_finite, require_rank
from vocoder.audio.writers import open_writer
from vocoder.errors import InvalidAudio

__all__ = ["Encoder", "encode", "encode_stream"]

LONGEST = 2**30 - 64  # samples: a WAV of floats says its size in 32 bits


class Encoder:
    """One file, made of samples that come piece by piece, in memory that does not grow with it.

    The bytes do not depend on how the samples are cut, and the same samples are the same bytes every time.
    What is not finite is refused; what is beyond full scale is clipped, except in `wav_f32`.

    Where `samples` is given, a file says how long it is before any of it is there. Without it, the sizes in a
    WAV are 2³² - 1, and a FLAC and an MP3 do not say. Decoded, a file of T samples at its own rate is

        wav, wav_f32, flac, pcm, opus   the T samples
        mp3, T given                    the T samples, to a player that knows LAME's header
        mp3, T not given                1105 samples, the T, and more: F · ⌈(T + 1152) / F⌉ in all, where F is
                                        576, or from 32 kHz on 1152
        aac                             1024 samples, the T, and more: 1024 · ⌈T / 1024⌉ + 1024 in all

    Attributes:
        sample_rate: of the file, in hertz; see `AudioFormat.rate_for`.
        samples: of the file, ceil(samples · out / in); None if that is not known.
        media_type: for a Content-Type header.
        total_bytes: of the whole file, exactly: for wav, wav_f32 and pcm of known length, else None.
    """

    def __init__(
        self,
        format: str,  # noqa: A002  # the word that soundfile and torchaudio use
        sample_rate: int,
        *,
        out_rate: int | None = None,
        samples: int | None = None,
    ) -> None:
        """Begin a file of audio of `sample_rate` hertz; `samples` is how many there will be, if known.

        Raises `InvalidAudio` for a format that there is not, a rate that it has not got, a number of samples
        that is not positive or too large, or a format whose extra is not installed.
        """
        kind = find_format(format)
        self.sample_rate = kind.rate_for(sample_rate, out_rate)
        self._resampler = Resampler(sample_rate, self.sample_rate)
        self._promised, self._seen, self._made = samples, 0, 0
        self.samples = None if samples is None else -(-samples * self.sample_rate // sample_rate)
        if self.samples is not None:
            _require_length(self.samples)
        self._writer = open_writer(kind.name, self.sample_rate, self.samples)
        self.media_type, self.total_bytes = kind.media_type(self.sample_rate), self._writer.total_bytes

    def push(self, audio: Tensor) -> bytes:
        """The bytes that are due after `audio [T]`, of any floating dtype; maybe none. T may be 0.

        Raises `InvalidAudio` for a shape that is not `[T]`, a dtype that is not floating, a sample that is
        not finite, or more samples than were promised.
        """
        _require_samples(audio, self._seen)
        self._seen += len(audio)
        if self._promised is not None and self._seen > self._promised:
            raise InvalidAudio(f"chunks hold {self._seen} samples, expected {self._promised} as was said")
        return self._write(self._resampler.push(audio.detach().cpu()))

    def finish(self) -> bytes:
        """The bytes that are left. Raises `InvalidAudio` for fewer samples than were promised, or none."""
        if self._promised not in (None, self._seen):
            raise InvalidAudio(f"chunks hold {self._seen} samples, expected {self._promised} as was said")
        if not self._seen:
            raise InvalidAudio("audio has 0 samples, expected at least one")
        last = self._write(self._resampler.finish())
        return last + self._writer.finish()

    def close(self) -> None:
        """Free what is held, whether the file is finished or not; twice does no harm."""
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, audio: Tensor) -> bytes:
        require_finite(audio, self._made)  # a filter can overshoot the largest number there is
        self._made += len(audio)
        return self._writer.push(audio)


def encode(
    audio: Tensor,
    sample_rate: int,
    format: str = "wav",  # noqa: A002  # the word that soundfile and torchaudio use
    out_rate: int | None = None,
) -> bytes:
    """Encode `audio [T]`, any floating dtype, as a file in one of `FORMATS`, resampled to `out_rate` hertz.

    16-bit samples are round(x · 2¹⁵), half to even, clipped to -2¹⁵ … 2¹⁵ - 1: a loud sample saturates and
    never wraps. `wav_f32` keeps the samples as they are. Raises `InvalidAudio` for what `Encoder` refuses.

    >>> import torch
    >>> len(encode(torch.zeros(100), 22050))
    244
    """
    require_rank(audio)
    return b"".join(encode_stream([audio], len(audio), sample_rate, format, out_rate))


def encode_stream(
    chunks: Iterable[Tensor],
    samples: int | None,
    sample_rate: int,
    format: str = "wav",  # noqa: A002  # the word that soundfile and torchaudio use
    out_rate: int | None = None,
) -> Iterator[bytes]:
    """What `encode` makes of the chunks joined, piece by piece, in memory that does not grow.

    `samples` is how many the chunks have together, None if that is not known; see `Encoder`. Raises what
    `encode` raises: at once for the arguments, for a chunk when it is reached.

    >>> import torch
    >>> [len(piece) for piece in encode_stream(torch.zeros(2, 50), 100, 22050)]
    [44, 100, 100]
    """
    encoder = Encoder(format, sample_rate, out_rate=out_rate, samples=samples)
    return _pieces(encoder, chunks)


def _pieces(encoder: Encoder, chunks: Iterable[Tensor]) -> Iterator[bytes]:
    with encoder:
        for chunk in chain([torch.zeros(0)], chunks):  # the header of a WAV needs no samples
            if piece := encoder.push(chunk):
                yield piece
        if piece := encoder.finish():
            yield piece


def _require_length(samples: int) -> None:
    if not 0 < samples < LONGEST:
        raise InvalidAudio(f"audio has {samples} samples, expected at least one and fewer than 2³⁰ - 64")


def _require_samples(audio: Tensor, start: int) -> None:
    require_rank(audio)
    if not audio.is_floating_point():
        raise InvalidAudio(f"audio has dtype {audio.dtype}, expected a floating-point one")
    require_finite(audio, start)
