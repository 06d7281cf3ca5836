"""How fast the small voice trains on this CPU: one thread, two threads, two processes of one thread each.

    python -m benchmarks.training_speed --data DIR [--steps 60]

Prints audio-seconds a second and the ratio to one thread. Reading the recordings and validation do not count.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from vocoder.training.recipes import RECIPES

LAYOUTS = {
    "1 process, 1 thread": (1, 1),
    "1 process, 2 threads": (1, 2),
    "2 processes, 1 thread each": (2, 1),
}


def main() -> None:
    """Time every layout and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="a folder of recordings")
    parser.add_argument("--steps", type=int, default=60)
    asked = parser.parse_args()
    speeds = {name: speed(asked.data, asked.steps, *layout) for name, layout in LAYOUTS.items()}
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {asked.steps} steps each\n"
    )
    print("| layout | audio s/s | ratio |\n| --- | --- | --- |")
    for name, value in speeds.items():
        print(f"| {name} | {value:.2f} | {value / speeds['1 process, 1 thread']:.2f} |")


def speed(data: str, steps: int, processes: int, threads: int) -> float:
    """Audio-seconds a second of the recipe in this layout."""
    recipe = RECIPES["waveglow-small"]
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "vocoder.cli", "train", "--recipe", recipe.name, "--data", data]
        command += ["--out", out, "--steps", str(steps), "--processes", str(processes), "--device", "cpu"]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        subprocess.run(command, env=environment, check=True, capture_output=True)
        last = json.loads((Path(out) / "log.jsonl").read_text().splitlines()[-1])
    audio = steps * recipe.cut.batch * recipe.cut.frames * recipe.spec.hop_length / recipe.spec.sample_rate
    return audio / (3600 * float(last["hours"]))


if __name__ == "__main__":
    main()
