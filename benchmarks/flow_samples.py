"""Ten thousand samples each of a NICE, a RealNVP and a Glow that learned digits for a minute: all finite?

    OMP_NUM_THREADS=1 python -m benchmarks.flow_samples [--runs DIR] [--write]

Each is what `vocoder flows train --model NAME --data digits --seconds 60` makes, but for the clock: the
minute is of process time on one thread, so that what else the machine does changes nothing. Then

    vocoder flows check DIR/NAME/model.safetensors --samples 10000

and the same draws as the grey levels that they are. Runs that DIR already holds are not repeated. With
--write the report goes to benchmarks/results/flow-samples-cpu.md, else it is printed.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from vocoder import checkpoint, images
from vocoder.flows import Logit
from vocoder.models.catalogue import DENSITIES
from vocoder.models.check import Check, check
from vocoder.models.density import DensityModel
from vocoder.training.density.data import Dataset
from vocoder.training.density.presets import configure
from vocoder.training.density.recipe import Length
from vocoder.training.density.run import Run, train

RESULT = Path(__file__).parent / "results" / "flow-samples-cpu.md"
SAMPLES, SECONDS = 10_000, 60.0
HEAD = (
    *("model", "steps", "finite", "pixels", r"largest \|logit\|", "as decoded", "round trip", "log-det"),
    r"largest \|log s\|",
)


def main() -> None:
    """Train what is not there, check it, and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, help="where the models lie; a folder for now if not given")
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as now:
        text = report(asked.runs or Path(now))
    if asked.write:
        RESULT.write_text(text, encoding="utf-8")
    else:
        print(text)


def report(runs: Path) -> str:
    """Markdown: a row for each model, and the layers of each below."""
    data, rows, layers = images.load("digits"), [], []
    for name in DENSITIES:
        model, steps = trained(name, data, runs / name)
        found = check(model, (data.test.images[:64].float() + 0.5) / data.levels, samples=SAMPLES)
        drawn = model.sample_images(SAMPLES)
        pixels = f"{int(drawn.min())} … {int(drawn.max())}"
        rows.append(_row(name, steps, found, pixels))
        layers.append(f"## {name}\n\n```\n{found.to_text()}\n```\n")
    return "\n".join([_preface(), f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD), *rows, "", *layers])


def trained(name: str, data: Dataset, out: Path) -> tuple[DensityModel, int]:
    """The model after its minute, and how many steps it took."""
    config, recipe = configure(name, data)
    run = Run(config, data, replace(recipe, seed=0), out, Length(seconds=SECONDS), clock=time.process_time)
    train(run)
    model, _ = checkpoint.load(out / "model.safetensors", DensityModel)
    return model.eval(), run.trainer.step


def _row(name: str, steps: int, found: Check, pixels: str) -> str:
    scale = max(layer.log_scale for layer in found.layers if layer.log_scale is not None)
    cells = [
        name,
        str(steps),
        f"{found.finite} of {found.samples}",
        pixels,
        f"{found.largest_logit:.2f}",
        f"{found.lowest:.4f} … {found.highest:.4f}",
        f"{found.round_trip:.1e}",
        f"{found.log_det:.1e}",
        f"{scale:.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _preface() -> str:
    low, high = (float(end) for end in Logit().inverse(torch.tensor([[-1e9, 1e9]]))[0][0])
    machine = f"{_processor()}, {os.cpu_count()} cores, one thread"
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    return f"""# Samples of trained flows

`OMP_NUM_THREADS=1 python -m benchmarks.flow_samples --write`: `vocoder flows check MODEL --samples {SAMPLES}`
of three models that learned the 8×8 digits for {SECONDS:g} s each, at temperature 1, seed 0.
{machine}, {versions}, float32.

"as decoded" are the numbers that come out of the flow, which the undone logit keeps within {low:.4f} …
{high:.4f}; "pixels" are the same draws as the 17 grey levels (`DensityModel.sample_images`).
"""


def _processor() -> str:
    """Its name, where the system tells."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.is_file() else None
    return found[1].strip() if found else platform.machine()


if __name__ == "__main__":
    main()
