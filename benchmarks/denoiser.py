"""Tones at multiples of Fs / G: in recordings, in what a voice makes of their mels, and in that denoised.

    python -m benchmarks.denoiser --data DIR [--split test] [--limit 8] [--checkpoint VOICE]

Prints a table of means over the clips: `tone_level` and the highest of `tone_levels` in decibels, PESQ-wb
(and its change from the voice as it is, clip by clip, with the standard error of their mean) and STOI. Seed
0, the voice's own temperature. Then how long a denoiser takes to make, and to clean a second of audio.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor

from vocoder import Vocoder, audio
from vocoder.clips import find_clips
from vocoder.denoise import Bias
from vocoder.features import LogMel
from vocoder.metrics import Reference
from vocoder.tones import tone_level, tone_levels

STRENGTHS: dict[Bias, tuple[float, ...]] = {
    "speech": (0.01, 0.05, 0.1, 0.3, 1.0),
    "silence": (0.1, 1.0),
    "published": (0.01, 0.05, 0.1),
}


@dataclass(frozen=True)
class Score:
    """One clip of one system."""

    level: float
    highest: float
    pesq: float
    stoi: float


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="a folder of recordings")
    parser.add_argument("--split", help="split of metadata.tsv; all if not given")
    parser.add_argument("--limit", type=int, default=8, help="the first so many recordings")
    parser.add_argument("--checkpoint", default="default", help="a voice, by name or path")
    asked = parser.parse_args()
    voice = Vocoder.load(asked.checkpoint, device="cpu")
    paths = find_clips(asked.data, asked.split)[: asked.limit]
    print(table(voice, [audio.load(path, voice.spec.sample_rate) for path in paths]))
    print(costs(voice))


def table(voice: Vocoder, recordings: Sequence[Tensor]) -> str:
    """The rows: recordings, the voice, and the voice denoised by every bias and strength."""
    log_mel = LogMel(voice.spec)
    spoken = [voice(log_mel(sound[None])[0])[: len(sound)] for sound in recordings]
    references = [Reference(sound, voice.spec.sample_rate) for sound in recordings]
    plain = _score(voice, references, spoken)
    rows = [_row("recordings", _score(voice, references, recordings), None), _row(voice.name, plain, None)]
    for bias, strengths in STRENGTHS.items():
        for strength in strengths:
            cleaned = [voice.denoiser(bias)(sound, strength) for sound in spoken]
            rows.append(_row(f"bias of {bias}, {strength:g}", _score(voice, references, cleaned), plain))
    return "\n".join([*_head(voice, recordings), *rows, ""])


def costs(voice: Vocoder) -> str:
    """Milliseconds, the median of five runs."""
    noise = 0.05 * torch.randn(10 * voice.spec.sample_rate)
    denoiser = voice.denoiser()
    made = _median_time(lambda: Vocoder(voice.model, voice.header).denoiser())
    cleaned = _median_time(lambda: denoiser(noise, 0.1)) / 10
    means = ", ".join(f"{bias} {float(voice.denoiser(bias).bias.mean()):.5f}" for bias in STRENGTHS)
    return (
        f"Making the denoiser takes {made:.1f} ms, once; cleaning a second of audio {cleaned:.2f} ms. "
        f"Mean magnitudes of the biases: {means}."
    )


def _score(voice: Vocoder, references: Sequence[Reference], sounds: Sequence[Tensor]) -> list[Score]:
    rate, group = voice.spec.sample_rate, voice.model.config.group
    return [
        Score(
            tone_level(sound, rate, group),
            float(tone_levels(sound, rate, group).max()),
            **reference.measure(sound, ["pesq", "stoi"]),
        )
        for reference, sound in zip(references, sounds, strict=True)
    ]


def _head(voice: Vocoder, recordings: Sequence[Tensor]) -> list[str]:
    seconds = sum(len(sound) for sound in recordings) / voice.spec.sample_rate
    libraries = ("flow-vocoder", "torch", "pesq", "pystoi")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in libraries)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    group, weights = voice.model.config.group, voice.header.weights[:12]
    return [
        f"{voice.name} (weights {weights}, G = {group}) on {len(recordings)} clips, {seconds:.1f} s, seed 0.",
        f"{machine}; {versions}, Python {platform.python_version()}.",
        "",
        "| | Tones, mean (dB) | Tones, highest (dB) | PESQ-wb | change | STOI |",
        "| --- | --- | --- | --- | --- | --- |",
    ]


def _row(name: str, scores: Sequence[Score], before: Sequence[Score] | None) -> str:
    means = [statistics.fmean(column) for column in _columns(scores)]
    change = "–"
    if before is not None:
        changes = [new.pesq - old.pesq for new, old in zip(scores, before, strict=True)]
        error = statistics.stdev(changes) / len(changes) ** 0.5 if len(changes) > 1 else float("nan")
        change = f"{statistics.fmean(changes):+.3f} ± {error:.3f}"
    return f"| {name} | {means[0]:.1f} | {means[1]:.1f} | {means[2]:.3f} | {change} | {means[3]:.4f} |"


def _columns(scores: Sequence[Score]) -> list[list[float]]:
    return [
        [score.level for score in scores],
        [score.highest for score in scores],
        [score.pesq for score in scores],
        [score.stoi for score in scores],
    ]


def _median_time(work: Callable[[], object]) -> float:
    work()
    return statistics.median(_time(work) for _ in range(5))


def _time(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)


if __name__ == "__main__":
    main()
