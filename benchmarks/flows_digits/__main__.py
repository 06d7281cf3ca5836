"""Digits, side by side: our NICE, RealNVP and Glow beside those of normflows, nflows and zuko, in one table.

    pip install --no-deps normflows==1.7.3 nflows==0.14 zuko==1.6.0
    OMP_NUM_THREADS=1 python -m benchmarks.flows_digits [--set peers|mixing] [--only NAME …] [--seconds 60]

All are trained on the same 1293 digits of 8×8 in 17 levels, through logit(0.05 + 0.9 y), with the same
batches and noise, for the same seconds of process time on one thread, so that what else the machine does
changes nothing but the waiting; validation is not counted. The weights of the best of 30 validations (4 fixed
draws of noise) are scored on the 360 test digits (20 draws). `peers` trains other libraries' flows as the
protocol says (Adam 1e-3, cosine, no decay), ours as their presets say, and normflows' Glow once more as ours.
`mixing` changes nothing but how a Glow mixes its channels. "largest" is the largest |logit| of 256 samples at
temperature 1, data being within 2.95. What is no flow, a mixture of Gaussians, is fitted to six dequantised
copies of the training digits, its ridge chosen by validation, and scored as the flows are; it has no seconds.

Trials that `SET.jsonl` already holds are not repeated; `SET.md` is written anew after each.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.flows_digits.mixture import Mixture
from benchmarks.flows_digits.peers import Contender
from benchmarks.flows_digits.trials import SETS, Fit, Trial
from vocoder import images
from vocoder.flows import Logit
from vocoder.models.density import DensityModel
from vocoder.training.density.data import Dataset
from vocoder.training.density.recipe import Length
from vocoder.training.density.trainer import Trainer, score

HERE = Path(__file__).parent
SAMPLES = 256
Line = dict[str, Any]


def main() -> None:
    """Run the trials that are asked for and not done yet, and write the table after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--set", choices=SETS, default="peers")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="these trials only")
    parser.add_argument("--seconds", type=float, default=60.0, help="of process time, for each")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the results; this one if not given")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")  # of the libraries, about functions of torch that are to go
    data, trials, results = images.load("digits"), SETS[asked.set], asked.out / f"{asked.set}.jsonl"
    for seed in asked.seeds:
        for name in asked.only or trials:
            run = trials[name]
            seconds = 0.0 if isinstance(run, Fit) else run.seconds or asked.seconds
            if not any(_is(line, name, seed, seconds) for line in read(results)):
                line = fit(run, data, seed) if isinstance(run, Fit) else trial(run, data, seconds, seed)
                _append(results, line)
                results.with_suffix(".md").write_text(table(read(results)), encoding="utf-8")


def trial(asked: Trial, data: Dataset, seconds: float, seed: int) -> Line:
    """Train once, score, and look at samples."""
    torch.manual_seed(seed)
    trainer = Trainer(
        asked.build(), data, replace(asked.recipe, seed=seed), Length(seconds=seconds), time.process_time
    )
    while trainer.progress < 1:
        trainer.train_step()
        if trainer.due:
            trainer.validate()
    model = trainer.finished()
    return {
        "name": asked.name,
        "kind": asked.kind,
        "seed": seed,
        "budget": seconds,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "steps": trainer.step,
        "best_at": round(trainer.best["seconds"], 1),
        "valid": round(trainer.best["bits"], 4),
        **_judged(model, data, seed),
        "skipped": trainer.skipped,
    }


def fit(asked: Fit, data: Dataset, seed: int) -> Line:
    """Fit once, score, and look at samples; steps are rounds of the fitting, and it is best at its end."""
    started = time.process_time()
    model = asked.fit(data, seed)
    seconds = time.process_time() - started
    assert isinstance(model.theirs, Mixture)
    return {
        "name": asked.name,
        "kind": asked.kind,
        "seed": seed,
        "budget": 0.0,
        "parameters": model.theirs.numbers,
        "steps": model.theirs.rounds,
        "best_at": round(seconds, 1),
        "valid": round(score(model, data.valid, data, 4), 4),
        **_judged(model, data, seed),
        "skipped": 0,
    }


def _judged(model: nn.Module, data: Dataset, seed: int) -> Line:
    """What is looked at in the end, whatever it is."""
    torch.manual_seed(seed)
    logits = _logits(model)
    finite = bool(logits.isfinite().all())
    return {
        "train": round(score(model, data.train, data, 2), 4),
        "test": round(score(model, data.test, data), 4),
        "finite": finite,
        "largest": round(float(logits.abs().max()), 2) if finite else None,
        "torch": torch.__version__,
        "machine": platform.machine(),
    }


def _logits(model: nn.Module) -> Tensor:
    if isinstance(model, Contender):
        return model.logits(SAMPLES)
    assert isinstance(model, DensityModel)
    z = model.prior.sample((SAMPLES, *model.shape), 0, 1.0)
    with torch.no_grad():
        for step in reversed(model.flow.steps()):
            if isinstance(step, Logit):
                break
            z, _ = step.inverse(z)
    return z


def table(lines: list[Line]) -> str:
    """Markdown: a row for each trial, means over seeds, the best first, of whatever kind."""
    head = "model | kind | s | parameters | steps | best at | valid | train | test bits/dim | seeds | samples"
    rows = [f"| {head} |", "|" + "---|" * 11]
    groups = sorted(_groups(lines), key=lambda group: _mean(group, "test"))
    return "\n".join([*rows, *(_row(group) for group in groups), ""])


def _row(group: list[Line]) -> str:
    first, tests = group[0], [line["test"] for line in group]
    spread = f" ± {statistics.stdev(tests):.3f}" if len(tests) > 1 else ""
    samples = (
        f"largest {max(line['largest'] for line in group)}" if all(x["finite"] for x in group) else "NaN/Inf"
    )
    cells = [
        first["name"],
        first["kind"],
        f"{first['budget']:g}" if first["budget"] else "–",
        f"{first['parameters'] / 1000:.0f}k",
        f"{_mean(group, 'steps'):.0f}",
        f"{_mean(group, 'best_at'):.0f} s",
        f"{_mean(group, 'valid'):.3f}",
        f"{_mean(group, 'train'):.3f}",
        f"**{_mean(group, 'test'):.3f}**{spread}",
        str(len(group)),
        samples,
    ]
    return "| " + " | ".join(cells) + " |"


def _groups(lines: list[Line]) -> Iterator[list[Line]]:
    """The lines of one trial under all seeds."""
    for name, budget in dict.fromkeys((line["name"], line["budget"]) for line in lines):
        yield [line for line in lines if (line["name"], line["budget"]) == (name, budget)]


def _mean(group: list[Line], key: str) -> float:
    return statistics.mean(line[key] for line in group)


def _is(line: Line, name: str, seed: int, seconds: float) -> bool:
    return (line["name"], line["seed"], line["budget"]) == (name, seed, seconds)


def _append(path: Path, line: Line) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read(path: Path) -> list[Line]:
    """The lines so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


if __name__ == "__main__":
    main()
