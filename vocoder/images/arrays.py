"""An .npz file of integer arrays: ``x_train`` and ``x_test`` as Keras names them, or ``x`` alone.

With ``x_valid`` there is a validation part, else it is cut from the end of train; ``x`` alone is cut in three
by a hash. Labels are ``y_train`` and so on, if there are any, and ``levels`` says how many grey levels there
are, 256 if it does not.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch

from vocoder.errors import InvalidInput
from vocoder.images.split import hashed, held_out_tail, labels_of
from vocoder.training.density.data import Dataset, Part

VALIDATION = 10
COLOURS = (1, 3)


def load(path: Path) -> Dataset:
    """The data set in an .npz file; `InvalidInput` where an array is missing or of another kind."""
    values = _read(path)
    levels = int(values["levels"]) if "levels" in values and values["levels"].size == 1 else 256
    if "x_train" not in values:
        whole = _part(path, values, "")
        return hashed(path.stem, levels, whole.images, whole.labels, [str(n) for n in range(len(whole))])
    train, test = _part(path, values, "_train"), _part(path, values, "_test")
    if "x_valid" not in values:
        return held_out_tail(path.stem, levels, train, test, VALIDATION)
    return Dataset(path.stem, levels, train, _part(path, values, "_valid"), test)


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise InvalidInput(f"{path} is no .npz file of plain arrays: {error}") from error


def _part(path: Path, values: dict[str, np.ndarray], name: str) -> Part:
    x, y = values.get(f"x{name}"), values.get(f"y{name}")
    if x is None or not np.issubdtype(x.dtype, np.integer) or x.ndim not in (2, 3, 4):
        got = "nothing" if x is None else f"{x.dtype} {x.shape}"
        raise InvalidInput(f"{path} must hold integers [N, D] or [N, H, W(, C)] as x{name}, got {got}")
    if y is not None and y.size != len(x):
        raise InvalidInput(
            f"{path} must hold one label for each of {len(x)} images as y{name}, got {y.shape}"
        )
    return Part(torch.from_numpy(_channels_first(x)), None if y is None else labels_of(y))


def _channels_first(x: np.ndarray) -> np.ndarray:
    if x.ndim == 3:
        x = x[:, None]
    elif x.ndim == 4 and x.shape[1] not in COLOURS and x.shape[3] in COLOURS:
        x = np.moveaxis(x, 3, 1)
    return np.ascontiguousarray(x if x.dtype == np.uint8 else x.astype(np.int64))
