"""The samples in a file of audio, by the standard library and NumPy alone."""

import struct
from typing import Any

import numpy as np

__all__ = ["UNCOMPRESSED", "read_samples"]

Samples = np.ndarray[Any, np.dtype[np.float32]]

UNCOMPRESSED = frozenset({"wav", "wav_f32", "pcm"})
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
FULL_SCALE = np.float32(32768)


def read_samples(content: bytes, name: str) -> Samples:
    """Mono audio `[T]`, float32, full scale 1, of a file in the format of that name.

    Raises:
        ValueError: the format is compressed, or the file is not of it.

    >>> read_samples(b"\\x00\\x40\\x00\\x80", "pcm")
    array([ 0.5, -1. ], dtype=float32)
    """
    if name not in UNCOMPRESSED:
        rule = f"only {', '.join(sorted(UNCOMPRESSED))} can be read without a codec"
        raise ValueError(f"format {name!r} is compressed: {rule}")
    return _scaled(content) if name == "pcm" else _wav(content)


def _scaled(data: bytes) -> Samples:
    if len(data) % 2:
        raise ValueError(f"{len(data)} bytes are no whole number of 16-bit samples")
    return np.frombuffer(data, "<i2").astype(np.float32) / FULL_SCALE


def _wav(content: bytes) -> Samples:
    """The data of a mono RIFF file of 16-bit or float samples."""
    chunks = _chunks(content)
    if not {b"fmt ", b"data"} <= chunks.keys() or len(chunks[b"fmt "]) < 16:
        raise ValueError("this is no WAV file that can be read")
    form, data = chunks[b"fmt "], chunks[b"data"]
    tag, channels, bits = (*struct.unpack_from("<HH", form), *struct.unpack_from("<H", form, 14))
    if tag == EXTENSIBLE and len(form) >= 26:
        (tag,) = struct.unpack_from("<H", form, 24)  # the real one, at the head of the sub-format
    if (tag, channels, bits) == (PCM, 1, 16):
        return _scaled(data)
    if (tag, channels, bits) == (FLOAT, 1, 32) and len(data) % 4 == 0:
        return np.frombuffer(data, "<f4").astype(np.float32)
    raise ValueError(f"a WAV file of kind {tag}, {channels} channels and {bits} bits cannot be read")


def _chunks(content: bytes) -> dict[bytes, bytes]:
    """The chunks of a RIFF file by name; one that promises more than there is ends with the file."""
    found: dict[bytes, bytes] = {}
    at = 12 if content[:4] == b"RIFF" and content[8:12] == b"WAVE" else len(content)
    while at + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, at)
        found.setdefault(name, content[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    return found
