"""Two data sets that need no files: scikit-learn's handwritten digits, and two moons."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from vocoder.images.split import hashed
from vocoder.training.density.data import Dataset, Part

DIGITS_TEST, DIGITS_VALID = 360, 144
MOONS = 4000
MOON_BOX = (-1.7, 2.7)  # both coordinates are cut to it: three deviations of the noise around the moons


def digits() -> Dataset:
    """1797 grey digits 8×8 in 17 levels: 1293 to train, 144 for validation, 360 for test, all stratified.

    (Alpaydin & Kaynak 1998, "Optical Recognition of Handwritten Digits", as `load_digits` of scikit-learn
    has them.) The test part is cut off first, both times with ``random_state=0``.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x, y, test_size=DIGITS_TEST, random_state=0, stratify=y)
    x, x_valid, y, y_valid = train_test_split(x, y, test_size=DIGITS_VALID, random_state=0, stratify=y)
    parts = [_part(*pair) for pair in ((x, y), (x_valid, y_valid), (x_test, y_test))]
    return Dataset("digits", 17, *parts)


def moons() -> Dataset:
    """4000 points of two interleaved half circles, with noise, as vectors ``[2]`` of 256 levels."""
    from sklearn.datasets import make_moons

    points, labels = make_moons(MOONS, noise=0.1, random_state=0)
    low, high = MOON_BOX
    cells = np.clip(np.floor((points - low) / (high - low) * 256), 0, 255).astype(np.int64)
    names = [str(number) for number in range(MOONS)]
    return hashed("moons", 256, torch.from_numpy(cells), torch.from_numpy(labels).long(), names)


def _part(x: np.ndarray, y: np.ndarray) -> Part:
    return Part(torch.from_numpy(x.reshape(-1, 1, 8, 8).astype(np.uint8)), torch.from_numpy(y).long())


NAMED: Mapping[str, Callable[[], Dataset]] = {"digits": digits, "moons": moons}
