"""Recordings to training batches: any folder of audio files, each batch a pure function of (seed, step).

Shape letters: B batch, T samples, M mel bands, L mel frames.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from vocoder import audio as shore
from vocoder.errors import InvalidAudio, InvalidConfig, InvalidInput
from vocoder.features import LogMel, MelSpec

log = logging.getLogger(__name__)

SILENT = 1e-3
"""A clip whose RMS stays below −60 dBFS holds no speech, and would dominate a likelihood."""


@dataclass(frozen=True)
class Cut:
    """How batches are cut and altered.

    Attributes:
        batch: B, segments a step (of all processes together).
        frames: L, mel frames a segment.
        gain_db: range of the random gain; limited so that no sample leaves ±1.
        speed: range of the random speed; pitch and formants move together. (1, 1) for none.
    """

    batch: int = 8
    frames: int = 32
    gain_db: tuple[float, float] = (-6.0, 14.0)
    speed: tuple[float, float] = (1.0, 1.0)


class Recordings:
    """Clips decoded once and kept as 16-bit samples, 2.6 MB a minute; short and silent ones are dropped."""

    def __init__(self, paths: Iterable[Path], spec: MelSpec, shortest: int, *, quiet: bool = False) -> None:
        decoded = (
            _pcm16(path, spec.sample_rate)
            for path in tqdm(list(paths), "reading", unit="clip", disable=quiet or None)
        )
        self.clips = [
            clip for clip in decoded if clip is not None and len(clip) >= shortest and _rms(clip) >= SILENT
        ]
        if not self.clips:
            raise InvalidInput(f"data has no clip of at least {shortest} samples that is not silent")
        lengths = np.array([len(clip) for clip in self.clips], dtype=np.float64)
        self.weights = lengths / lengths.sum()


class Batches:
    """The part of batch number ``step`` that process ``rank`` of ``world`` trains on.

    The mel of a segment is that of the whole clip: audio is cut with a margin of n_fft / 2 samples rounded up
    to frames on both sides, and the margin's frames are dropped, so that edge padding is never taught.
    Everything random about a segment is drawn from ``(seed, step, its place in the batch)``: a resumed run
    sees the very batches that an undisturbed one would have seen, and so does a run on another number of
    processes.
    """

    def __init__(
        self, recordings: Recordings, spec: MelSpec, cut: Cut, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        if cut.batch % world:
            raise InvalidConfig(
                f"batch (= {cut.batch}) must be a multiple of the number of processes (= {world})"
            )
        self.recordings, self.spec, self.cut, self.seed = recordings, spec, cut, seed
        size = cut.batch // world
        self.places = range(rank * size, (rank + 1) * size)
        self.margin = margin_frames(spec)
        self.log_mel = LogMel(spec)

    def __call__(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """``audio [B, T]``, ``mel [B, M, L]`` and standard normal ``noise [3, B, T]``."""
        sources = [np.random.default_rng([self.seed, step, place]) for place in self.places]
        wide = torch.from_numpy(np.stack([self._segment(rng) for rng in sources]))
        audio, mel = trim_margin(wide, self.log_mel(wide), self.margin, self.spec.hop_length)
        noise = np.stack([rng.standard_normal((3, audio.shape[1]), dtype=np.float32) for rng in sources], 1)
        return audio, mel, torch.from_numpy(noise)

    def _segment(self, rng: np.random.Generator) -> np.ndarray:
        clip = self.recordings.clips[rng.choice(len(self.recordings.clips), p=self.recordings.weights)]
        length = (self.cut.frames + 2 * self.margin) * self.spec.hop_length
        raw = min(round(length * rng.uniform(*self.cut.speed)), len(clip))
        start = rng.integers(len(clip) - raw + 1)
        segment = clip[start : start + raw].astype(np.float32) / 32768
        return _gain(_change_speed(segment, length), rng.uniform(*self.cut.gain_db))


def margin_frames(spec: MelSpec) -> int:
    """Frames at either end of a cut whose windows reach over its edge."""
    return -(-spec.n_fft // 2 // spec.hop_length)


def trim_margin(audio: Tensor, mel: Tensor, margin: int, hop: int) -> tuple[Tensor, Tensor]:
    """Drop ``margin`` frames at both ends: those whose windows reach over the edge of ``audio [B, T]``."""
    frames = audio.shape[1] // hop - 2 * margin
    return audio[:, margin * hop : (margin + frames) * hop], mel[:, :, margin : margin + frames]


def shortest_clip(spec: MelSpec, cut: Cut) -> int:
    """Samples that a clip needs to have for one segment with its margins."""
    return (cut.frames + 2 * margin_frames(spec)) * spec.hop_length


def _change_speed(segment: np.ndarray, length: int) -> np.ndarray:
    if len(segment) == length:
        return segment
    return shore.resample(torch.from_numpy(segment), len(segment), length).numpy()


def _gain(segment: np.ndarray, decibels: float) -> np.ndarray:
    peak = max(float(np.abs(segment).max()), 1e-6)
    return segment * np.float32(min(10 ** (decibels / 20), 0.99 / peak))


def _pcm16(path: Path, sample_rate: int) -> np.ndarray | None:
    try:
        samples = shore.load(path, sample_rate)
    except InvalidAudio as error:
        log.warning("left out: %s", error)  # one broken file among thousands should not end the run
        return None
    return (samples.clamp(-1, 1) * 32767).round().to(torch.int16).numpy()


def _rms(clip: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(clip.astype(np.float32) / 32768)))) if len(clip) else 0.0
