"""A mel in: NumPy's `.npy`, and nothing of it believed before it is checked.

```
\\x93NUMPY │ 1 0     │ length       │ {'descr': '<f4', 'fortran_order': False, 'shape': (80, 344)} │ data
magic     │ version │ 2 or 4 bytes │ checked before any of the data is read                       │ no more
```

Memory grows with the bytes that have come, never with those that are promised, and the header alone is
enough to refuse a mel that is too long, of another dtype, or of another shape. Pickled (object) arrays are
refused by their dtype; no unpickler is ever called.
"""

import io
import math
from asyncio import timeout
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.lib import format as npy
from starlette.requests import Request

from vocoder import MelSpec
from vocoder.errors import InvalidMel

__all__ = [
    "BodyTooLarge",
    "Layout",
    "MalformedNpy",
    "MelTooLong",
    "SlowBody",
    "UnsupportedMedia",
    "check_type",
    "check_values",
    "read_mel",
]

MEDIA_TYPES = ("application/x-npy", "application/octet-stream")
DTYPES = ("<f2", "<f4", "<f8")
HEADER_BYTES = 4096  # NumPy writes 128

Layout = Literal["ML", "LM"]


class UnsupportedMedia(Exception):
    """The body is not of a type that is read here."""


class MalformedNpy(Exception):
    """The body is not the .npy file it should be."""


class BodyTooLarge(Exception):
    """The body holds more bytes than any mel that is accepted."""


class MelTooLong(Exception):
    """The mel has more frames than one request may have."""


class SlowBody(Exception):
    """The body did not come in time."""


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    end: int  # where the data begins

    @property
    def promised(self) -> int:
        return self.end + math.prod(self.shape) * self.dtype.itemsize


def check_type(request: Request) -> None:
    """Raise `UnsupportedMedia` unless the content type is one of `MEDIA_TYPES`."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in MEDIA_TYPES:
        raise UnsupportedMedia(
            f"content-type must be {' or '.join(MEDIA_TYPES)}, with a .npy file as the body"
        )


async def read_mel(
    request: Request, spec: MelSpec, *, max_frames: int, layout: Layout, seconds: float
) -> np.ndarray[Any, np.dtype[Any]]:
    """Read the body as a mel `[M, L]`, of the dtype it came in; `check_values` must still see its numbers.

    Raises `MalformedNpy`, `BodyTooLarge`, `MelTooLong`, `SlowBody`, or `InvalidMel` for a dtype or shape that
    is not accepted.
    """
    _check_length(request, HEADER_BYTES + spec.n_mels * max_frames * 8)
    try:
        async with timeout(seconds):
            header, body = await _receive(request.stream(), spec, max_frames, layout)
    except TimeoutError:
        raise SlowBody(f"the body must come within {seconds:g} s") from None
    flat = np.frombuffer(body, header.dtype, offset=header.end)
    mel = flat.reshape(header.shape, order="F" if header.fortran else "C")
    return mel if layout == "ML" else mel.T


def check_values(mel: np.ndarray[Any, np.dtype[Any]], spec: MelSpec) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The mel as float32, or `InvalidMel`. Looks at every number: not for the event loop."""
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf, which the spec refuses by name
        single = np.require(mel, np.float32, "A")
    spec.check(torch.from_numpy(single))
    return single


def _check_length(request: Request, limit: int) -> None:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > limit:
        raise BodyTooLarge(f"content-length must be at most {limit} bytes")


async def _receive(
    chunks: AsyncIterator[bytes], spec: MelSpec, max_frames: int, layout: Layout
) -> tuple[_Header, bytearray]:
    body, header = bytearray(), None
    async for chunk in chunks:
        body += chunk
        if header is None and (header := _parse(bytes(body[:HEADER_BYTES]))):
            _check_header(header, spec, max_frames, layout)
        if len(body) > (header.promised if header else HEADER_BYTES):
            raise MalformedNpy("the body holds more bytes than its .npy header promises")
    if not body:
        raise MalformedNpy("the body is empty; expected a .npy file")
    if header is None:
        raise MalformedNpy("the body ends within its .npy header")
    if len(body) < header.promised:
        raise MalformedNpy(
            f"the .npy header promises {header.promised} bytes, the body ends after {len(body)}"
        )
    return header, body


def _parse(start: bytes) -> _Header | None:
    """The header at the start of a file; None if more bytes are needed to tell."""
    if not npy.MAGIC_PREFIX.startswith(start[:6]):
        raise UnsupportedMedia("the body does not begin like a .npy file")
    if len(start) < 12:
        return None
    version = (start[6], start[7])
    if version not in ((1, 0), (2, 0)):
        raise MalformedNpy(f".npy version {version[0]}.{version[1]} is not read here; expected 1.0 or 2.0")
    length_bytes = 2 * version[0]
    end = 8 + length_bytes + int.from_bytes(start[8 : 8 + length_bytes], "little")
    if end > HEADER_BYTES:
        raise MalformedNpy(f"the .npy header must end within {HEADER_BYTES} bytes")
    return _interpret(start[:end], version, end) if len(start) >= end else None


def _interpret(start: bytes, version: tuple[int, int], end: int) -> _Header:
    stream = io.BytesIO(start)
    npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    try:
        if b"L" in start:  # NumPy would read Python 2's `80L`, with a warning
            raise ValueError("a long integer of Python 2")
        shape, fortran, dtype = read(stream, max_header_size=HEADER_BYTES)
    except Exception as error:  # NumPy evaluates a literal: a hostile one can raise nearly anything
        raise MalformedNpy("the .npy header cannot be read") from error
    return _Header(shape, fortran, dtype, end)


def _check_header(header: _Header, spec: MelSpec, max_frames: int, layout: Layout) -> None:
    if header.dtype.str not in DTYPES:
        came = str(header.dtype)[:40]
        raise InvalidMel(f"mel has dtype {came}, expected little-endian float16, float32 or float64")
    expected = f"[{spec.n_mels}, frames]" if layout == "ML" else f"[frames, {spec.n_mels}]"
    shape = header.shape if layout == "ML" else header.shape[::-1]
    if len(shape) != 2 or shape[0] != spec.n_mels or shape[1] < 1:
        came = str(list(header.shape))[:80]
        hint = "; the query parameter layout says which way round" if spec.n_mels in header.shape else ""
        raise InvalidMel(f"mel has shape {came}, expected {expected} with at least one frame{hint}")
    if shape[1] > max_frames:
        seconds = spec.samples(max_frames) / spec.sample_rate
        came = str(shape[1])[:20]
        raise MelTooLong(f"mel has {came} frames, at most {max_frames} ({seconds:.3g} s) are accepted")
