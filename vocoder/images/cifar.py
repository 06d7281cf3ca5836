"""CIFAR-10's batches, in both forms in which they are handed out.

```
data_batch_1.bin …   records of 1 label and 3072 pixels: 32×32 red, then green, then blue
data_batch_1 …       a pickled table: data [N, 3072] uint8, the same order, and labels
```

(Krizhevsky, "The CIFAR-10 dataset".) The pickles are read by a machine that runs none of their code.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from vocoder.errors import CheckpointError, InvalidInput
from vocoder.images.split import held_out_tail
from vocoder.importer.inert import Global, Inert
from vocoder.importer.machine import Limits, Rules, Seen, run
from vocoder.training.density.data import Dataset, Part

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32
CLASSES = 10
VALIDATION = 10  # one in ten of the training images, the last ones
FOLDERS = ("", "cifar-10-batches-bin", "cifar-10-batches-py")
LATIN = Global("_codecs", "encode")


class Found(NamedTuple):
    """The folder of the batches, and their suffix."""

    folder: Path
    suffix: str


def found(folder: Path) -> Found | None:
    """Where the batches are: in a folder, or in the one that its archive unpacks to."""
    places = [Found(folder / below, suffix) for below in FOLDERS for suffix in (".bin", "")]
    return next((at for at in places if (at.folder / f"data_batch_1{at.suffix}").is_file()), None)


def load(at: Found) -> Dataset:
    """CIFAR-10; training batches that are missing are done without, the test batch is not."""
    read = read_binary if at.suffix else read_pickled
    names = [f"data_batch_{number}{at.suffix}" for number in range(1, 6)]
    parts = [read(at.folder / name) for name in names if (at.folder / name).is_file()]
    images, labels = (torch.cat(each) for each in zip(*parts, strict=True))
    if not (test := at.folder / f"test_batch{at.suffix}").is_file():
        raise InvalidInput(f"{at.folder} has no {test.name}")
    return held_out_tail("cifar10", 256, Part(images, labels), Part(*read(test)), VALIDATION)


def read_binary(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Images ``[N, 3, 32, 32]`` uint8 and labels ``[N]`` of a binary batch."""
    data = np.fromfile(path, np.uint8)
    if len(data) == 0 or len(data) % (1 + PIXELS):
        raise InvalidInput(f"{path} must hold records of {1 + PIXELS} bytes, got {len(data)} bytes")
    records = data.reshape(-1, 1 + PIXELS)
    return _checked(path, records[:, 1:], records[:, 0].astype(np.int64))


def read_pickled(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """The same of a batch for Python: a table whose values are understood, not unpickled."""
    rules = Rules({LATIN: _encoded}, lambda name: name.module.startswith(("numpy", "_codecs")), _refuse)
    try:
        with path.open("rb") as file:
            table = run(file, path.stat().st_size, rules, Limits(), Seen())
        if not isinstance(table, dict):
            raise CheckpointError("holds no table")
        values = {key.decode() if isinstance(key, bytes) else key: value for key, value in table.items()}
        pixels, labels = _pixels(values.get("data")), values.get("labels")
    except CheckpointError as error:
        raise InvalidInput(f"{path} {error}") from error
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise InvalidInput(f"{path} has no list of labels")
    return _checked(path, pixels, np.array(labels, dtype=np.int64))


def _checked(path: Path, pixels: np.ndarray, labels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    if len(labels) != len(pixels) or not ((labels >= 0) & (labels < CLASSES)).all():
        rule = f"{len(pixels)} labels in 0 … {CLASSES - 1}"
        raise InvalidInput(f"{path} must hold {rule}; is it another data set?")
    return torch.from_numpy(pixels.reshape(-1, *SHAPE).copy()), torch.from_numpy(labels)


def _pixels(data: object) -> np.ndarray:
    """The array of bytes that numpy's pickle describes: ``_reconstruct`` with a state, or ``_frombuffer``."""
    if not isinstance(data, Inert) or not data.kind.module.startswith("numpy"):
        raise CheckpointError("has no array of pixels under 'data'")
    if data.kind.name == "_frombuffer" and len(data.arguments) == 4:
        raw, dtype, shape, order = data.arguments
        fortran = order != "C"
    elif data.kind.name == "_reconstruct" and isinstance(data.state, tuple) and len(data.state) == 5:
        _, shape, dtype, fortran, raw = data.state
    else:
        raise CheckpointError(f"has an array made by {data.kind}, which is not known")
    raw = raw.encode("latin-1") if isinstance(raw, str) else raw  # Python 2 had no bytes
    kind = dtype.arguments[:1] if isinstance(dtype, Inert) else ()
    sized = isinstance(shape, tuple) and len(shape) == 2 and type(shape[0]) is int and shape[1] == PIXELS
    if kind not in (("u1",), ("|u1",)) or fortran or not sized or not isinstance(raw, (bytes, bytearray)):
        raise CheckpointError(f"must hold an array of bytes [N, {PIXELS}] under 'data', in C order")
    if len(raw) != shape[0] * PIXELS:
        raise CheckpointError(f"promises {shape[0]} images and holds {len(raw)} bytes")
    return np.frombuffer(raw, np.uint8).reshape(shape)


def _encoded(text: object, encoding: object = "latin1", *_: object) -> bytes:
    """What Python 3 writes for bytes in a pickle that Python 2 can read."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise CheckpointError("has bytes in an encoding other than latin1")
    return text.encode("latin-1")


def _refuse(_: object) -> object:
    raise CheckpointError("refers to something outside of itself")
