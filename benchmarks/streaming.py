"""Streams: what a smaller halo costs and saves, and the memory that an hour of mel takes.

    python -m benchmarks.streaming MEL [--checkpoint VOICE] [--chunk-frames 64] [--hours 1]

For every halo: the error of the joined chunks against the whole clip (RMS over RMS in decibels, and the
largest, full scale being 1), how many times faster than real time, how far ahead a chunk listens, and how
long the first chunk takes once its frames are there. Then `vocoder vocode` on the mel repeated for an hour,
in a process of its own: its largest resident set, and its time.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vocoder import Vocoder
from vocoder.streaming import FIRST

HALOS = (0, 1, 2, 4, 8, 16, 24, 32)
CHILD = """
import resource, sys, time
from vocoder.cli import main
started = time.monotonic()
assert main(sys.argv[1:]) == 0
print(time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("mel", type=Path, help="a log-mel [bands, frames], .npy")
    parser.add_argument("--checkpoint", default="default", help="a voice, by name or path")
    parser.add_argument("--chunk-frames", type=int, default=64)
    parser.add_argument("--hours", type=float, default=1.0)
    asked = parser.parse_args()
    mel, voice = torch.from_numpy(np.load(asked.mel)), Vocoder.load(asked.checkpoint, device="cpu")
    threads = f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    print(f"{voice.name}, G = {voice.model.config.group}, halo {voice.model.halo}; {threads}, ", end="")
    print(f"torch {torch.__version__}, Python {platform.python_version()}.\n")
    print(table(voice, mel, asked.chunk_frames))
    print(hour(mel, voice, asked.checkpoint, asked.hours))


def table(voice: Vocoder, mel: Tensor, chunk: int) -> str:
    """A row for each halo, the exact one last."""
    whole = voice(mel)
    rows = [_row(voice, mel, whole, chunk, halo) for halo in (*HALOS, voice.model.halo)]
    seconds = len(whole) / voice.spec.sample_rate
    return "\n".join(
        [
            f"{seconds:.2f} s of speech in chunks of up to {chunk} frames, medians of 5:",
            "",
            "| Halo (frames) | Error (dB) | Largest | × real time | Listens ahead (ms) | First chunk (ms) |",
            "| --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


def _row(voice: Vocoder, mel: Tensor, whole: Tensor, chunk: int, halo: int) -> str:
    def speak() -> Tensor:
        return torch.cat(list(voice.stream(mel, chunk_frames=chunk, halo=halo)))

    error = speak() - whole
    level = 20 * math.log10(float(error.square().mean().sqrt() / whole.square().mean().sqrt()))
    speed = len(whole) / voice.spec.sample_rate / _median(speak)
    ahead = 1000 * halo * voice.spec.hop_length / voice.spec.sample_rate
    first = 1000 * _median(lambda: next(voice.stream(mel[:, : FIRST + halo], chunk_frames=chunk, halo=halo)))
    exact = " (exact)" if halo == voice.model.halo else ""
    return (
        f"| {halo}{exact} | {level:.1f} | {error.abs().max():.1e} | {speed:.0f} | {ahead:.0f} | {first:.1f} |"
    )


def hour(mel: Tensor, voice: Vocoder, name: str, hours: float) -> str:
    """Speak the mel again and again, by the command line, and look at the memory of that process."""
    frames = round(hours * 3600 * voice.spec.sample_rate / voice.spec.hop_length)
    long = np.resize(mel.numpy().T, (frames, mel.shape[0])).T.astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "long.npy", Path(folder) / "long.wav"
        np.save(source, np.ascontiguousarray(long))
        command = ["vocode", str(source), "-o", str(target), "--checkpoint", name, "--device", "cpu"]
        done = subprocess.run([sys.executable, "-c", CHILD, *command], capture_output=True, check=True)
        size = target.stat().st_size
    took, peak = map(float, done.stdout.split())
    assert size == 44 + 2 * voice.spec.samples(frames)
    return f"{hours:g} h of mel ({frames} frames): {took:.0f} s, largest resident set {peak / 2**20:.2f} GiB."


def _median(work: Callable[[], object]) -> float:
    return statistics.median(_time(work) for _ in range(5))


def _time(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
