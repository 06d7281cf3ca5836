"""Whether it pays to render requests together: what the service makes, and how long they take, by budget."""

from __future__ import annotations

import math
from typing import Any

from benchmarks.load.arrivals import in_flight, open_loop, poisson
from benchmarks.load.bench import Bench, Service
from benchmarks.load.client import Answer
from benchmarks.load.figures import Section, milliseconds, percentile, percentiles, table

__all__ = ["measure"]

TITLE = "Dynamic batching"
LENGTHS = (64, 258)  # frames
IN_FLIGHT = 16
LOAD = 0.7  # of what the service can do without batches


async def measure(bench: Bench) -> Section:
    """A row for each budget and length."""
    data: dict[str, dict[str, Any]] = {}
    rates: dict[int, float] = {}
    for budget in bench.budgets:
        async with bench.serving(batch_frames=budget) as service:
            for frames in LENGTHS:
                told = await _told(bench, service, frames, rates)
                rates.setdefault(frames, LOAD * told["requests_per_s"])
                data[f"{frames} frames, budget {budget}"] = {"frames": frames, "budget": budget, **told}
    rows = [_row(told) for told in sorted(data.values(), key=lambda told: (told["frames"], told["budget"]))]
    return Section(TITLE, f"{EXPLAINED}\n\n{table(HEAD, rows)}", data)


EXPLAINED = (
    f"Whole WAVs. Throughput with {IN_FLIGHT} always in flight, and how many clips were rendered together "
    f"then; latency under Poisson arrivals at {LOAD:.0%} of the throughput of the first budget, and how many "
    "then. A budget of 0 is no batches."
)
HEAD = (
    "Frames",
    "Budget (frames)",
    "Audio s per s",
    "Clips together, mean",
    "Whole answer, p50 / p95 / p99 (ms)",
    "Together, mean",
)


async def _told(bench: Bench, service: Service, frames: int, rates: dict[int, float]) -> dict[str, Any]:
    request = bench.request(frames)

    async def send(_: int, due: float) -> Answer:
        return await service.ask(request, due)

    before = service.metrics()
    busy = await in_flight(IN_FLIGHT, bench.seconds / 2, lambda: service.ask(request))
    between = service.metrics()
    took = max(answer.end for answer in busy) - min(answer.sent for answer in busy)
    speed = sum(answer.complete for answer in busy) / took
    rate = rates.get(frames, LOAD * speed)
    answers = await open_loop(poisson(rate, bench.seconds, bench.seed), send)
    return {
        "requests_per_s": speed,
        "audio_s_per_s": sum(answer.seconds for answer in busy) / took,
        "together": _together(before, between),
        "offered_per_s": rate,
        "whole_s": percentiles(answer.whole_after for answer in answers if answer.complete),
        "together_then": _together(between, service.metrics()),
        "failed": sum(not answer.complete for answer in (*busy, *answers)),
        "lag_p99_s": percentile((answer.sent - answer.due for answer in answers), 99),
    }


def _together(before: dict[str, float], after: dict[str, float]) -> float:
    clips, calls = (
        after[name] - before[name] for name in ("vocoder_batch_size_sum", "vocoder_batch_size_count")
    )
    return clips / calls if calls else math.nan


def _row(told: dict[str, Any]) -> list[object]:
    return [
        told["frames"],
        told["budget"],
        f"{told['audio_s_per_s']:.1f}",
        f"{told['together']:.1f}",
        milliseconds(told["whole_s"], 1),
        f"{told['together_then']:.1f}",
    ]
