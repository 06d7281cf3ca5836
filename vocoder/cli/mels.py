"""Mels in files: NumPy's `.npy`, or safetensors with one tensor or one that is called `mel`. No pickles.

A safetensors file can declare what its mel was made with: its metadata has the `MelSpec` as JSON under
`mel_spec`. `vocoder mel` writes that, and a mel that was made with other numbers is refused. A `.npy` file
cannot declare anything.
"""

import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from vocoder.errors import InvalidConfig, InvalidMel
from vocoder.features import MeanVariance, MelSpec
from vocoder.features.conventions import named

__all__ = ["read", "write"]

Array = np.ndarray[Any, np.dtype[Any]]
DECLARED = "mel_spec"


def read(place: str, spec: MelSpec, convention: str | None = None, stats: str | None = None) -> Array:
    """The mel `[M, L]` of a file, or of standard input for `-`; a leading axis of one clip is dropped.

    With a `convention`, or `stats`, the file with the statistics of a standardised mel, it is converted from
    that. Raises `InvalidMel`, naming the file and its problem, a declared spec other than `spec` among them.
    What the mel holds is for the voice to judge.
    """
    try:
        data = _bytes(place)
        mel = _one(_npy(data) if data.startswith(b"\x93NUMPY") else _safetensors(data))
        spec.require(_declared(data) or spec)
        return _converted(mel, spec, convention, stats) if convention or stats else mel
    except InvalidMel as error:
        raise InvalidMel(f"cannot read {_called(place)}: {error}") from error


def write(place: str, mel: Array, spec: MelSpec) -> None:
    """Write a mel `[M, L]` of this spec; for `-` to standard output, as safetensors if the name says so."""
    if place.endswith(".safetensors"):
        data = safetensors.numpy.save({"mel": mel}, {DECLARED: json.dumps(spec.to_dict())})
    else:
        file = io.BytesIO()
        np.save(file, mel, allow_pickle=False)
        data = file.getvalue()
    if place == "-":
        sys.stdout.buffer.write(data)
    else:
        Path(place).write_bytes(data)


def _called(place: str) -> str:
    return "standard input" if place == "-" else place


def _bytes(place: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if place == "-" else Path(place).read_bytes()
    except OSError as error:
        raise InvalidMel(error.strerror or str(error)) from error


def _one(mel: Array) -> Array:
    if mel.ndim == 3 and len(mel) == 1:
        return mel[0]
    if mel.ndim != 2:
        raise InvalidMel(f"it has shape {list(mel.shape)}, expected that of one clip, [bands, frames]")
    return mel


def _npy(data: bytes) -> Array:
    try:
        mel: Array = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # NumPy evaluates the header, and a damaged one can raise nearly anything
        raise InvalidMel(f"it is a damaged .npy file, or holds Python objects: {error}") from error
    return mel


def _safetensors(data: bytes) -> Array:
    try:
        tensors: dict[str, Array] = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError) as error:  # the latter for a dtype that NumPy lacks
        what = "is empty (0 bytes)" if not data else "is neither a .npy nor a safetensors file"
        raise InvalidMel(f"it {what}") from error
    if len(tensors) != 1 and "mel" not in tensors:
        raise InvalidMel(f"it holds the tensors {sorted(tensors)}, expected one, or one called 'mel'")
    return tensors["mel"] if "mel" in tensors else next(iter(tensors.values()))


def _declared(data: bytes) -> MelSpec | None:
    """What a safetensors file says of its mel; None for a file that says nothing, or is none."""
    length = int.from_bytes(data[:8], "little")
    if data[8:9] != b"{" or length > len(data) - 8:
        return None
    try:
        told = (json.loads(data[8 : 8 + length]).get("__metadata__") or {}).get(DECLARED)
        return None if told is None else MelSpec.from_dict(dict(json.loads(told)))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:  # InvalidConfig is among these
        raise InvalidMel(f"its {DECLARED!r} is no JSON of a mel spec: {error}") from error


def _converted(mel: Array, spec: MelSpec, convention: str | None, stats: str | None) -> Array:
    written = named(convention or "ln")
    return spec.convert(mel, MeanVariance(*_statistics(stats), of=written) if stats else written).numpy()


def _by_name(held: Mapping[str, Array]) -> tuple[Array, Array]:
    return held["mean"], held["std" if "std" in held else "scale"]


def _statistics(place: str) -> tuple[Array, Array]:
    """Mean and deviation of the bands: the rows of a `.npy`, or `mean` and `std` or `scale` in a `.npz`."""
    try:
        held = np.load(io.BytesIO(Path(place).read_bytes()), allow_pickle=False)
        mean, std = held if isinstance(held, np.ndarray) else _by_name(held)
    except OSError as error:
        raise InvalidConfig(f"cannot read {place}: {error.strerror or error}") from error
    except Exception as error:  # as for a mel
        rule = "a .npy [2, bands], mean and deviation, or a .npz with 'mean' and 'std' or 'scale'"
        raise InvalidConfig(f"cannot read {place}: expected {rule}") from error
    return mean, std
