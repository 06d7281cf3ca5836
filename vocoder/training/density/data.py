"""What a density is trained on: integers in three parts, and batches that are a function of (seed, step).

Letters: N examples, B batch; the shape of one example is ``[C, H, W]`` or ``[D]``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vocoder.errors import InvalidConfig, InvalidInput

ORDER, NOISE, FLIPS, DRAWS = range(4)  # streams of random numbers under one seed


@dataclass(frozen=True)
class Part:
    """Examples of one part of a data set.

    Attributes:
        images: integers ``[N, …]`` of any integer dtype.
        labels: classes ``[N]``, 0, 1, 2, …, or None where there are none.
    """

    images: Tensor
    labels: Tensor | None = None

    def __post_init__(self) -> None:
        if self.images.is_floating_point() or self.images.ndim < 2 or len(self.images) == 0:
            got = f"{self.images.dtype} of shape {tuple(self.images.shape)}"
            raise InvalidInput(f"images must be integers of shape [N, …], N at least 1, got {got}")
        if self.labels is not None and self.labels.shape != self.images.shape[:1]:
            raise InvalidInput(f"labels must have shape [{len(self.images)}], got {tuple(self.labels.shape)}")

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Dataset:
    """A data set of integers in 0 … levels − 1, cut into training, validation and test."""

    name: str
    levels: int
    train: Part
    valid: Part
    test: Part

    def __post_init__(self) -> None:
        if self.levels < 2:
            raise InvalidInput(f"levels (= {self.levels}) must be at least 2")
        for name in ("train", "valid", "test"):
            images = getattr(self, name).images
            if images.shape[1:] != self.train.images.shape[1:]:
                rule = f"those of train, {tuple(self.train.images.shape[1:])}"
                raise InvalidInput(f"{name} has images of shape {tuple(images.shape[1:])}, expected {rule}")
            if int(images.min()) < 0 or int(images.max()) >= self.levels:
                got = f"{int(images.min())} … {int(images.max())}"
                raise InvalidInput(f"{name} must hold integers in 0 … {self.levels - 1}, got {got}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        return tuple(self.train.images.shape[1:])

    @property
    def classes(self) -> int:
        """How many labels there are; 0 without labels."""
        return 0 if self.train.labels is None else int(self.train.labels.max()) + 1

    def with_bits(self, bits: int) -> Dataset:
        """The same with fewer grey levels: ``⌊x · 2ᵇ / levels⌋``, as Glow trains on faces with 5 bits."""
        if bits < 1 or 2**bits > self.levels:
            raise InvalidInput(f"bits (= {bits}) must be at least 1, and 2^bits at most {self.levels}")
        train, valid, test = (
            replace(part, images=part.images.long() * 2**bits // self.levels)
            for part in (self.train, self.valid, self.test)
        )
        return Dataset(self.name, 2**bits, train, valid, test)


class Batch(NamedTuple):
    """Integers ``[B, …]``, uniform noise on [0, 1) shaped like them, and labels ``[B]`` if there are any."""

    images: Tensor
    noise: Tensor
    labels: Tensor | None


class Batches:
    """Batch number ``step``: every example once an epoch, in an order, with noise and flips, that are
    functions of (seed, step). A resumed run sees the very batches that an undisturbed one would have seen.

    A last batch that would be smaller is left out; the next epoch's order is another one.
    """

    def __init__(self, part: Part, size: int, seed: int, *, flip: bool = False) -> None:
        if size < 1:
            raise InvalidConfig(f"batch (= {size}) must be at least 1")
        self.part, self.size, self.seed, self.flip = part, min(size, len(part)), seed, flip
        self.per_epoch = len(part) // self.size

    def __call__(self, step: int) -> Batch:
        epoch, place = divmod(step, self.per_epoch)
        order = self._random(ORDER, epoch).permutation(len(self.part))
        chosen = torch.from_numpy(order[place * self.size : (place + 1) * self.size])
        images = self.part.images[chosen]
        noise = self._random(NOISE, step).random(images.shape, np.float32)
        labels = None if self.part.labels is None else self.part.labels[chosen]
        return Batch(self._flipped(images, step) if self.flip else images, torch.from_numpy(noise), labels)

    def _flipped(self, images: Tensor, step: int) -> Tensor:
        """Half of the images mirrored, left to right."""
        mirrored = torch.from_numpy(self._random(FLIPS, step).random(len(images)) < 0.5)
        return torch.where(mirrored.view(-1, *[1] * (images.ndim - 1)), images.flip(-1), images)

    def _random(self, stream: int, count: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, stream, count])


def draw(seed: int, number: int, shape: torch.Size) -> Tensor:
    """Draw ``number`` of the uniform noise that a score averages over: fixed, so that scores compare."""
    return torch.from_numpy(np.random.default_rng([seed, DRAWS, number]).random(shape, np.float32))
