"""Variants of the small voice, each trained for equal minutes of CPU time, in one table.

    python -m benchmarks.voice_search --data DIR --minutes 3 [--set shapes|history] [--only NAME …]

`shapes` are shapes and objectives, `history` the couplings and mixings of NICE, RealNVP and Glow. Minutes are
process time of one thread, so that what else the machine does changes nothing but the waiting. Trials that
`SET.jsonl` already holds are not repeated; `SET.md` is written anew each time.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from benchmarks.voice_search.trials import SETS
from vocoder import noise
from vocoder.audio import load
from vocoder.clips import find_clips
from vocoder.features import LogMel
from vocoder.macs import giga_macs
from vocoder.metrics import METRICS
from vocoder.training.recipes import Recipe
from vocoder.training.run import Run
from vocoder.training.validation import Validation

HERE = Path(__file__).parent
SCORES = ("stoi", "pesq", "mstft")


def main() -> None:
    """Run the trials that are asked for and not done yet, then write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="a folder of recordings with train and val splits"
    )
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--clips", type=int, default=6, help="validation clips that are scored")
    parser.add_argument("--set", choices=SETS, default="shapes")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="these trials only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    trials, results = SETS[arguments.set], HERE / f"{arguments.set}.jsonl"
    done = {line["name"] for line in _read(results) if line["minutes"] == arguments.minutes}
    for name in (name for name in arguments.only or trials if name not in done):
        line = trial(name, trials[name], arguments.data, arguments.minutes, arguments.clips)
        with results.open("a") as file:
            file.write(json.dumps(line) + "\n")
    results.with_suffix(".md").write_text(table(_read(results)))


def trial(name: str, recipe: Recipe, data: Path, minutes: float, clips: int) -> dict[str, Any]:
    """Train one trial and score its averaged weights."""
    recipe = replace(recipe, steps=10**6, save_every=10**6, validate_every=10**6)
    with tempfile.TemporaryDirectory() as out:
        run = Run(Fabric(accelerator="cpu", devices=1), recipe, [data], Path(out), None)
        run.go(60 * minutes, time.process_time)
        model = run.averaged
        nll = Validation(run.held_out, model)(model)
    audio = run.step * recipe.cut.batch * recipe.cut.frames * recipe.spec.hop_length / recipe.spec.sample_rate
    return {
        "name": name,
        "minutes": minutes,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "giga_macs": round(giga_macs(model), 3),
        "steps": run.step,
        "audio_seconds_per_second": round(audio / (60 * minutes), 2),
        "nll": round(nll, 3),
        **_scores(model, recipe, find_clips(data, "val")[:clips]),
        "machine": f"{platform.machine()}, torch {torch.__version__}, one thread",
    }


def _scores(model: Any, recipe: Recipe, clips: list[Path]) -> dict[str, float]:
    """Mean scores of what the model makes of the clips' mels."""
    measured = [tuple(_clip_scores(model, recipe, clip)) for clip in clips]
    return {
        name: round(sum(values) / len(values), 4)
        for name, values in zip(SCORES, zip(*measured, strict=True), strict=True)
    }


def _clip_scores(model: Any, recipe: Recipe, clip: Path) -> Iterator[float]:
    audio = load(clip, recipe.spec.sample_rate)
    frames = len(audio) // recipe.spec.hop_length
    audio, mel = audio[: frames * recipe.spec.hop_length], LogMel(recipe.spec)(audio[None])[..., :frames]
    with torch.inference_mode():
        sample, _ = model.inverse(recipe.temperature * noise.noise(0, 0, len(audio))[None], mel)
    for name in SCORES:
        yield METRICS[name](audio, sample[0], recipe.spec.sample_rate)


def table(results: list[dict[str, Any]]) -> str:
    """All results as Markdown, best first."""
    columns = (
        "name",
        "minutes",
        "parameters",
        "giga_macs",
        "steps",
        "audio_seconds_per_second",
        "nll",
        *SCORES,
    )
    lines = sorted(results, key=lambda line: -line["pesq"])
    rows = [columns, ("---",) * len(columns), *(tuple(line[column] for column in columns) for line in lines)]
    return "".join("| " + " | ".join(str(cell) for cell in row) + " |\n" for row in rows)


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


if __name__ == "__main__":
    main()
