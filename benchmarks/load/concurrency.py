"""So many requests at the same moment, again and again at a constant rate that waits for no answer."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.load.arrivals import open_loop
from benchmarks.load.bench import Bench, Service
from benchmarks.load.client import Answer
from benchmarks.load.figures import Section, milliseconds, percentile, percentiles, table

__all__ = ["measure"]

TITLE = "Latency by concurrency"
FRAMES = 392  # 4.55 s at the usual hop and rate
SPARE = 1.25  # a wave's share of the time until the next, inverted
PROBES = 3
FEWEST = 3  # waves


async def measure(bench: Bench) -> Section:
    """A row for each number of requests at once."""
    request = bench.request(FRAMES, "stream=true")
    async with bench.serving() as service:
        data = {count: _told(await _waves(bench, service, request, count)) for count in bench.concurrency}
    rows = [_row(count, told) for count, told in data.items()]
    text = f"{_explained(service)}\n\n{table(HEAD, rows)}"
    return Section(TITLE, text, {"ready_s": service.ready_after, "at_once": data})


HEAD = (
    "At once",
    "First audio, p50 / p95 / p99 (ms)",
    "Whole answer (ms)",
    "Longest pause, p99 (ms)",
    "RTF, p99",
    "Audio s per s",
    "429",
    "Requests",
)


def _explained(service: Service) -> str:
    return (
        f"Streamed WAVs of {FRAMES} frames: waves of so many requests at one moment, {SPARE} times as far "
        "apart as one takes, and waiting for none; each request on a connection of its own, timed from the "
        "moment it was due. Audio per second: a wave's, until its last byte, median. RTF: whole answer over "
        "duration. "
        f"The service was ready {service.ready_after:.1f} s after its start."
    )


async def _waves(bench: Bench, service: Service, request: bytes, count: int) -> list[list[Answer]]:
    async def send(_: int, due: float) -> Answer:
        return await service.ask(request, due)

    taken = [_makespan(await open_loop([0.0] * count, send)) for _ in range(PROBES)]
    apart = SPARE * statistics.median(taken)
    moments = [index * apart for index in range(max(FEWEST, round(bench.seconds / apart)))]
    answers = await open_loop([moment for moment in moments for _ in range(count)], send)
    return [answers[start : start + count] for start in range(0, len(answers), count)]


def _makespan(wave: list[Answer]) -> float:
    return max(answer.whole_after for answer in wave)


def _told(waves: list[list[Answer]]) -> dict[str, Any]:
    answers = [answer for wave in waves for answer in wave]
    whole = [answer for answer in answers if answer.complete]
    speeds = [sum(answer.seconds for answer in wave) / _makespan(wave) for wave in waves]
    return {
        "first_s": percentiles(answer.first_after for answer in whole),
        "whole_s": percentiles(answer.whole_after for answer in whole),
        "pause_p99_s": percentile((answer.pause for answer in whole), 99),
        "rtf_p99": percentile((answer.whole_after / answer.seconds for answer in whole), 99),
        "audio_s_per_s": statistics.median(speeds),
        "refused": sum(answer.status == 429 for answer in answers),
        "failed": sum(not answer.complete and answer.status != 429 for answer in answers),
        "lag_p99_s": percentile((answer.sent - answer.due for answer in answers), 99),
        "requests": len(answers),
    }


def _row(count: int, told: dict[str, Any]) -> list[object]:
    return [
        count,
        milliseconds(told["first_s"], 1),
        milliseconds(told["whole_s"], 1),
        milliseconds([told["pause_p99_s"]], 1),
        f"{told['rtf_p99']:.3f}",
        f"{told['audio_s_per_s']:.1f}",
        f"{told['refused'] / told['requests']:.1%}",
        told["requests"],
    ]
