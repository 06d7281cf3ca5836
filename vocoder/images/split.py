"""Which examples are held out where a data set does not say it: a choice that is the same tomorrow."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from vocoder.errors import InvalidInput
from vocoder.training.density.data import Dataset, Part

PARTS = 10  # one in ten is validation, one in ten is test


def by_hash(names: list[str]) -> dict[str, list[int]]:
    """The places of ``names`` in train, valid and test, by a hash of each name; none is left empty."""
    if len(names) < 3:
        raise InvalidInput(f"data must have at least 3 images, one for each part, got {len(names)}")
    hashes = [int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") for name in names]
    ranked = sorted(range(len(names)), key=lambda place: (hashes[place], place))
    held = max(1, len(names) // PARTS)
    places = {"valid": ranked[:held], "test": ranked[held : 2 * held], "train": ranked[2 * held :]}
    return {part: sorted(chosen) for part, chosen in places.items()}


def hashed(name: str, levels: int, images: Tensor, labels: Tensor | None, names: list[str]) -> Dataset:
    """A data set cut by `by_hash`."""
    chosen = {part: torch.tensor(places) for part, places in by_hash(names).items()}
    parts = {part: Part(images[at], None if labels is None else labels[at]) for part, at in chosen.items()}
    return Dataset(name, levels, **parts)


def held_out_tail(name: str, levels: int, train: Part, test: Part, share: int) -> Dataset:
    """A data set with a test part of its own: the last one in ``share`` of train becomes validation."""
    held = max(1, len(train) // share)
    if held == len(train):
        raise InvalidInput(f"{name} has {len(train)} images for training, expected at least 2")
    return Dataset(name, levels, _cut(train, slice(None, -held)), _cut(train, slice(-held, None)), test)


def labels_of(values: np.ndarray) -> Tensor:
    """Labels as 0, 1, 2, … in the order of the values that there are."""
    return torch.from_numpy(np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64))


def _cut(part: Part, where: slice) -> Part:
    return Part(part.images[where], None if part.labels is None else part.labels[where])
