"""What a mel may be, asked of its header: dtype, shape, clips and frames, before any of its numbers."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from server.wire.refusals import MalformedBody, MelTooLong, TooManyClips
from vocoder import MelSpec
from vocoder.errors import InvalidMel

__all__ = ["DTYPES", "HEADER_BYTES", "Array", "Header", "Layout", "Limits"]

Array = np.ndarray[Any, np.dtype[Any]]
Layout = Literal["ML", "LM"]

DTYPES: dict[str, np.dtype[Any]] = {
    "float16": np.dtype("<f2"),
    "float32": np.dtype("<f4"),
    "float64": np.dtype("<f8"),
}
HEADER_BYTES = 4096  # NumPy writes 128, safetensors about 72
JSON_NUMBER_BYTES = 32  # a double with its sign, point, exponent and comma takes at most 25


@dataclass(frozen=True)
class Header:
    """What the first bytes of a file promise of the rest."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    end: int  # where the data begins
    kind: str
    malformed: type[MalformedBody]
    fortran: bool = False

    @property
    def promised(self) -> int:
        """How many bytes the whole file has."""
        return self.end + math.prod(self.shape) * self.dtype.itemsize

    def array(self, body: bytes | bytearray) -> Array:
        """The array of the file, without a copy; its length must be what was promised."""
        if len(body) != self.promised:
            came = f"promises {self.promised} bytes, the body ends after {len(body)}"
            raise self.malformed(f"the {self.kind} header {came}")
        flat = np.frombuffer(body, self.dtype, offset=self.end)
        return flat.reshape(self.shape, order="F" if self.fortran else "C")


@dataclass(frozen=True)
class Limits:
    """What one request may hold: `[M, L]` of a spec, or `[B, M, L]` where clips are allowed, B · L frames."""

    spec: MelSpec
    layout: Layout
    max_frames: int
    max_clips: int | None = None  # None: one mel, and no batch of them

    @property
    def binary_bytes(self) -> int:
        """The longest file that can hold such a mel."""
        return HEADER_BYTES + self.spec.n_mels * self.max_frames * 8

    @property
    def json_bytes(self) -> int:
        """The longest JSON that is read for such a mel."""
        return HEADER_BYTES + self.spec.n_mels * self.max_frames * JSON_NUMBER_BYTES

    @property
    def expected(self) -> str:
        """The shapes that are accepted, in words."""
        bands = self.spec.n_mels
        one = f"[{bands}, frames]" if self.layout == "ML" else f"[frames, {bands}]"
        return one if self.max_clips is None else f"{one} or [clips, {one[1:]}"

    def check(self, header: Header) -> None:
        """Raise what `check_shape` raises, and `InvalidMel` for a dtype that is not accepted."""
        if header.dtype not in DTYPES.values():
            came = str(header.dtype)[:40]
            raise InvalidMel(f"mel has dtype {came}, expected little-endian float16, float32 or float64")
        self.check_shape(header.shape)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise `InvalidMel`, `TooManyClips` or `MelTooLong` for a shape as it came, of either layout."""
        ranks = (2,) if self.max_clips is None else (2, 3)
        clips, bands, frames = self._axes(shape) if len(shape) in ranks else (0, 0, 0)
        if bands != self.spec.n_mels or frames < 1 or clips < 1:
            came = str(list(shape))[:80]
            hint = "; the query parameter layout says which way round" if self.spec.n_mels in shape else ""
            raise InvalidMel(f"mel has shape {came}, expected {self.expected} with at least one frame{hint}")
        if self.max_clips is not None and clips > self.max_clips:
            raise TooManyClips(f"mel has {_short(clips)} clips, at most {self.max_clips} are accepted")
        if clips * frames > self.max_frames:
            raise self.too_long(f"{_short(frames)} frames" + (f" in each of {clips} clips" * (clips > 1)))

    def too_long(self, came: str) -> MelTooLong:
        """The refusal of a mel that has what `came` says."""
        seconds = self.spec.samples(self.max_frames) / self.spec.sample_rate
        return MelTooLong(f"mel has {came}, at most {self.max_frames} ({seconds:.3g} s) are accepted")

    def arranged(self, mel: Array) -> Array:
        """`[M, L]` or `[B, M, L]`, whichever way round it came."""
        return mel if self.layout == "ML" else mel.swapaxes(-1, -2)

    def _axes(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        clips = shape[0] if len(shape) == 3 else 1
        bands, frames = shape[-2:] if self.layout == "ML" else shape[:-3:-1]
        return clips, bands, frames


def _short(number: int) -> str:
    return str(number)[:20]
