"""Mels in files: NumPy's `.npy`, or safetensors with one tensor or one that is called `mel`. No pickles."""

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from vocoder.errors import InvalidMel

__all__ = ["read", "write"]

Array = np.ndarray[Any, np.dtype[Any]]


def read(place: str) -> Array:
    """The mel `[M, L]` of a file, or of standard input for `-`; a leading axis of one clip is dropped.

    Raises `InvalidMel`, naming the file and its problem. What the mel holds is for the voice to judge.
    """
    name = "standard input" if place == "-" else place
    try:
        data = sys.stdin.buffer.read() if place == "-" else Path(place).read_bytes()
        return _one(_npy(data) if data.startswith(b"\x93NUMPY") else _safetensors(data))
    except OSError as error:
        raise InvalidMel(f"cannot read {name}: {error.strerror or error}") from error
    except InvalidMel as error:
        raise InvalidMel(f"cannot read {name}: {error}") from error


def write(place: str, mel: Array) -> None:
    """Write a mel `[M, L]`; to standard output for `-`, as safetensors where the name says so."""
    if place.endswith(".safetensors"):
        data = safetensors.numpy.save({"mel": mel})
    else:
        file = io.BytesIO()
        np.save(file, mel, allow_pickle=False)
        data = file.getvalue()
    if place == "-":
        sys.stdout.buffer.write(data)
    else:
        Path(place).write_bytes(data)


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
