"""The service under load: latency, throughput, listeners, overload, overhead, batching; and whether it leaks.

    python -m benchmarks.load [--only concurrency overload …] [--out benchmarks/results/load-cpu] [--check]
    python -m benchmarks.load --soak 12 [--out benchmarks/results/soak-cpu] [--check]

Each section starts `vocoder serve`, drives it over sockets from this process, which imports no torch, and
ends it. Where there are two cores or more, the last is the client's and the others are the service's.
Settings of the service in the environment (`VOCODER_*`) are handed on to it, and named in the report. Without
`--soak` it takes about five minutes; on a machine that does something else, the figures mean little.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import sys
from collections.abc import Callable, Coroutine
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.load import batching, concurrency, listeners, overhead, overload, soak
from benchmarks.load.bench import ROOT, Bench
from benchmarks.load.figures import Section, table

__all__ = ["main"]

SECTIONS: dict[str, Callable[[Bench], Coroutine[Any, Any, Section]]] = {
    "concurrency": concurrency.measure,
    "listeners": listeners.measure,
    "overload": overload.measure,
    "overhead": overhead.measure,
    "batching": batching.measure,
}
LIBRARIES = ("flow-vocoder", "torch", "fastapi", "starlette", "uvicorn", "uvloop", "h11")


def main() -> int:
    """Measure, print, and write; 1 if `--check` is given and something does not hold."""
    asked = _arguments().parse_args()
    bench = _bench(asked)
    chosen = {"soak": soak.measure} if asked.soak else {name: SECTIONS[name] for name in asked.only}
    machine = _machine(bench)
    _show(f"# {'Soak' if asked.soak else 'Load'}\n\n`{_command()}`\n\n{_described(machine)}\n")
    done = {name: _shown(asyncio.run(measure(bench))) for name, measure in chosen.items()}
    limits = [limit for section in done.values() for limit in section.limits]
    _show(_limits(done))
    if asked.out:
        _write(asked.out, machine, done)
    return int(asked.check and not all(limit.kept for limit in limits))


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.load",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="these sections")
    parser.add_argument("--soak", type=float, default=0.0, metavar="MINUTES", help="the soak instead")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 2, 4, 8, 16], metavar="N")
    parser.add_argument("--batch-frames", type=int, nargs="+", default=[0, 512, 2048], metavar="N")
    parser.add_argument("--voice", default="default", help="by name or path")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="of the model on CPU")
    parser.add_argument("--mel", type=Path, default=ROOT / "samples" / "hello.npy", help="what is spoken")
    parser.add_argument("--seed", type=int, default=0, help="of the arrivals")
    parser.add_argument("--out", type=Path, metavar="PREFIX", help="write PREFIX.md and PREFIX.json")
    parser.add_argument("--check", action="store_true", help="fail if something does not hold")
    return parser


def _bench(asked: argparse.Namespace) -> Bench:
    return Bench(
        voice=asked.voice,
        device=asked.device,
        threads=asked.threads,
        seconds=asked.seconds,
        mel=np.load(asked.mel, allow_pickle=False),
        seed=asked.seed,
        concurrency=tuple(asked.concurrency),
        budgets=tuple(asked.batch_frames),
        soak=asked.soak,
    )


def _machine(bench: Bench) -> dict[str, Any]:
    return {
        "processor": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "pinned": str(bench.cores),
        "voice": bench.voice,
        "device": bench.device,
        "threads": bench.threads,
        "settings": {
            name: value for name, value in sorted(os.environ.items()) if name.startswith("VOCODER_")
        },
        "seconds": bench.seconds,
        "load_average_before": os.getloadavg()[0],
        "versions": {name: version(name) for name in LIBRARIES} | {"Python": platform.python_version()},
    }


def _described(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    settings = "".join(f", {name}={value}" for name, value in machine["settings"].items())
    return (
        f"{machine['processor']}, {machine['system']}, {machine['cores']} cores: {machine['pinned']}; voice "
        f"{machine['voice']} on {machine['device']}, threads: {machine['threads']}{settings}; load average "
        f"before: {machine['load_average_before']:.1f}; {machine['seconds']:g} s a measurement.\n{versions}."
    )


def _command() -> str:
    return re.sub(r" --out \S+", "", " ".join(["python -m benchmarks.load", *sys.argv[1:]]))


def _show(text: str) -> None:
    print(text, flush=True)


def _shown(section: Section) -> Section:
    _show(_as_text(section))
    return section


def _as_text(section: Section) -> str:
    return f"## {section.title}\n\n{section.text}\n"


def _limits(done: dict[str, Section]) -> str:
    limits = [limit for section in done.values() for limit in section.limits]
    rows = [[limit.claim, limit.measured, "yes" if limit.kept else "**no**"] for limit in limits]
    return f"## Limits\n\n{table(('Claim', 'Measured', 'Holds'), rows)}\n" if rows else ""


def _write(prefix: Path, machine: dict[str, Any], done: dict[str, Section]) -> None:
    title = f"# {'Soak' if 'soak' in done else 'Load'}\n\n`{_command()}`\n\n{_described(machine)}\n"
    parts = [title, *map(_as_text, done.values()), _limits(done)]
    prefix.with_suffix(".md").write_text("\n".join(filter(None, parts)), encoding="utf-8")
    data = {"machine": machine, **{name: section.data for name, section in done.items()}}
    numbers = json.loads(json.dumps(data), parse_constant=lambda _: None)  # JSON has no NaN
    prefix.with_suffix(".json").write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")


def _processor() -> str:
    """Its name, where the system tells."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.is_file() else None
    return found[1].strip() if found else platform.machine()


if __name__ == "__main__":
    sys.exit(main())
