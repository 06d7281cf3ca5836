"""What a writer is, and those that put samples down as they are: raw, and WAV."""

import struct
from typing import Protocol

import numpy as np
from torch import Tensor

from vocoder.audio.signal import require_finite

__all__ = ["PcmWriter", "WavWriter", "Writer", "pcm16"]

UNKNOWN = 2**32 - 1  # a size that is not known yet, as every streaming WAV has it


class Writer(Protocol):
    """Makes one file of samples that come piece by piece."""

    total_bytes: int | None

    def push(self, audio: Tensor) -> bytes:
        """The bytes that are due after these samples `[T]`, finite; maybe none."""

    def finish(self) -> bytes:
        """The bytes that are left."""

    def close(self) -> None:
        """Free what is held, finished or not; twice does no harm."""


def pcm16(audio: Tensor) -> np.ndarray:
    """Samples `[T]` as 16-bit integers: round(x · 2¹⁵), half to even, clipped to -2¹⁵ … 2¹⁵ - 1."""
    return (audio.double() * 2**15).round().clamp(-(2**15), 2**15 - 1).numpy().astype("<i2")


def float32(audio: Tensor) -> np.ndarray:
    """Samples `[T]` in single precision, or `InvalidAudio`, for a double may be too large for that."""
    require_finite(single := audio.float())
    return single.numpy().astype("<f4")


class PcmWriter:
    """Raw 16-bit samples, and nothing else."""

    code, width, header = 1, 2, b""

    def __init__(self, sample_rate: int, samples: int | None) -> None:
        self.total_bytes = None if samples is None else len(self.header) + samples * self.width

    def push(self, audio: Tensor) -> bytes:
        """The samples, each of two bytes."""
        return pcm16(audio).tobytes()

    def finish(self) -> bytes:
        """Nothing is left."""
        return b""

    def close(self) -> None:
        """Nothing is held."""


class WavWriter(PcmWriter):
    """A RIFF file of 16-bit samples; `floats` for 32-bit ones.

    Its header is made here because libsndfile stamps the time of day into one with float samples.
    """

    def __init__(self, sample_rate: int, samples: int | None, *, floats: bool = False) -> None:
        self.floats, self.width = floats, 4 if floats else 2
        self.header = _wav_header(samples, self.width, sample_rate)
        super().__init__(sample_rate, samples)

    def push(self, audio: Tensor) -> bytes:
        """The header before anything else, then the samples."""
        header, self.header = self.header, b""
        return header + (float32(audio).tobytes() if self.floats else super().push(audio))


def _wav_header(samples: int | None, width: int, sample_rate: int) -> bytes:
    size = UNKNOWN if samples is None else samples * width
    fact = b"" if samples is None or width == 2 else struct.pack("<4sII", b"fact", 4, samples)
    code = 3 if width == 4 else 1
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, code, 1, sample_rate, sample_rate * width, width, 8 * width)
    body = b"WAVE" + form + fact + struct.pack("<4sI", b"data", size)
    return struct.pack("<4sI", b"RIFF", min(len(body) + size, UNKNOWN)) + body
