"""Clips to batches of much the same length, each a pure function of (seed, step).

Shape letters: B batch, N symbols, M mel bands, L mel frames.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vocoder.training.acoustic.corpus import Clip

__all__ = ["Batch", "Batches", "collate"]

STEP = 32  # frames: lengths of batches are multiples, for there to be few shapes


class Batch(NamedTuple):
    """``mel [B, M, L]``, ``ids [B, N]``, ``f0 [B, L]``, ``symbols [B]``, ``frames [B]``."""

    mel: Tensor
    ids: Tensor
    f0: Tensor
    symbols: Tensor
    frames: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(*(each.to(device) for each in self))


class Batches:
    """Batch number ``step``: clips of much the same length, as many as fit into ``frames`` padded ones.

    Every clip is in one batch of each epoch. Clips are sorted by lengths that are off by up to a tenth, anew
    in each epoch, and so meet others each time. A clip longer than ``frames`` is a batch of its own.
    """

    def __init__(self, clips: Sequence[Clip], frames: int, seed: int) -> None:
        self.clips, self.frames, self.seed = clips, frames, seed
        self.lengths = np.array([len(clip.f0) for clip in clips])
        self.ends: list[int] = []  # the first step behind each epoch, as far as they are known
        self.epoch: tuple[int, list[list[int]]] = (-1, [])

    def __call__(self, step: int) -> Batch:
        while not self.ends or self.ends[-1] <= step:
            self.ends.append((self.ends or [0])[-1] + len(self._batches(len(self.ends))))
        epoch = bisect_right(self.ends, step)
        if self.epoch[0] != epoch:
            self.epoch = epoch, self._batches(epoch)
        place = step - self.ends[epoch]  # below zero: counted from the end of the epoch
        return collate([self.clips[each] for each in self.epoch[1][place]])

    def _batches(self, epoch: int) -> list[list[int]]:
        rng = np.random.default_rng([self.seed, epoch])
        batches: list[list[int]] = [[]]
        longest = 0
        for each in np.argsort(self.lengths * rng.uniform(0.9, 1.1, len(self.lengths))).tolist():
            longest = max(longest, _padded(int(self.lengths[each])))
            if batches[-1] and longest * (len(batches[-1]) + 1) > self.frames:
                batches.append([])
                longest = _padded(int(self.lengths[each]))
            batches[-1].append(each)
        rng.shuffle(batches)
        return batches


def collate(clips: Sequence[Clip]) -> Batch:
    """Clips as one batch, padded with zeros."""
    frames = torch.tensor([len(clip.f0) for clip in clips])
    symbols = torch.tensor([len(clip.ids) for clip in clips])
    longest, bands = _padded(int(frames.max())), clips[0].mel.shape[1]
    mel, f0 = torch.zeros(len(clips), longest, bands), torch.zeros(len(clips), longest)
    ids = torch.zeros(len(clips), int(symbols.max()), dtype=torch.long)
    for row, clip in enumerate(clips):
        mel[row, : len(clip.f0)] = torch.from_numpy(clip.mel).float()
        f0[row, : len(clip.f0)] = torch.from_numpy(clip.f0)
        ids[row, : len(clip.ids)] = torch.from_numpy(clip.ids).long()
    return Batch(mel.mT.contiguous(), ids, f0, symbols, frames)


def _padded(frames: int) -> int:
    return -(-frames // STEP) * STEP
