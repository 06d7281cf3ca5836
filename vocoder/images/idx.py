"""MNIST's format: a magic number, the sizes as big-endian integers, then the bytes; often gzipped.

```
00 00 08 03 │ N │ H │ W │ N·H·W bytes        08: unsigned byte, 03: three dimensions
00 00 08 01 │ N │ N bytes                    the labels
```

(LeCun, Cortes & Burges, "The MNIST database", section "File formats".)
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from vocoder.errors import InvalidInput
from vocoder.images.split import held_out_tail
from vocoder.training.density.data import Dataset, Part

UNSIGNED_BYTE = 0x08
LARGEST = 2**31  # bytes that a header is believed to promise
VALIDATION = 6  # one in six of the training images: the last 10 000 of MNIST's 60 000, as for NICE


def is_here(folder: Path) -> bool:
    """Whether a folder holds MNIST's training images."""
    return _file(folder, "train-images", 3) is not None


def load(folder: Path) -> Dataset:
    """MNIST, or what comes in its four files (Fashion-MNIST, KMNIST)."""
    train, test = (_part(folder, name) for name in ("train", "t10k"))
    return held_out_tail(folder.name or "mnist", 256, train, test, VALIDATION)


def read(path: Path) -> Tensor:
    """The array in an IDX file of unsigned bytes, gzipped or not, as uint8."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return _array(path, file)  # type: ignore[arg-type]  # GzipFile reads as a BinaryIO does
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InvalidInput(f"{path} is damaged: {error}") from error


def _array(path: Path, file: BinaryIO) -> Tensor:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] != UNSIGNED_BYTE or not magic[3]:
        raise InvalidInput(f"{path} is no IDX file of unsigned bytes: it begins with {magic.hex(' ')}")
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise InvalidInput(f"{path} is cut: it ends within its header")
    shape = struct.unpack(f">{magic[3]}I", sizes)
    if (count := math.prod(shape)) > LARGEST:
        raise InvalidInput(f"{path} promises {count} bytes, which is not believed")
    data = file.read(count + 1)
    if len(data) != count:
        raise InvalidInput(f"{path} promises {count} bytes of shape {shape}, {_held(data, count)} are there")
    return torch.from_numpy(np.frombuffer(data, np.uint8).reshape(shape).copy())


def _held(data: bytes, count: int) -> str:
    return str(len(data)) if len(data) < count else "more"


def _part(folder: Path, name: str) -> Part:
    images, labels = _file(folder, f"{name}-images", 3), _file(folder, f"{name}-labels", 1)
    if images is None:
        raise InvalidInput(f"{folder} has no {name}-images-idx3-ubyte, gzipped or not")
    pixels = read(images)
    if pixels.ndim != 3:
        raise InvalidInput(f"{images} must hold images [N, H, W], got shape {tuple(pixels.shape)}")
    return Part(pixels[:, None], None if labels is None else read(labels).long())


def _file(folder: Path, name: str, rank: int) -> Path | None:
    """The file as it is called on its site, or as unpackers sometimes rename it."""
    names = [f"{name}{mark}idx{rank}-ubyte{end}" for mark in "-." for end in ("", ".gz")]
    return next((folder / each for each in names if (folder / each).is_file()), None)
