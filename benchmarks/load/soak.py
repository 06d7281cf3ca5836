"""Whether the service grows: hours of the things that callers do, good and bad, at half of what it can."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter
from typing import Any

from benchmarks.load.arrivals import in_flight, open_loop, poisson
from benchmarks.load.bench import Bench, Service
from benchmarks.load.client import Answer, post
from benchmarks.load.figures import Limit, Section, milliseconds, percentile, slope, table

__all__ = ["measure"]

TITLE = "Soak"
LOAD = 0.5
WARM_UP = 120.0  # seconds that do not count, or a quarter of a short run
EVERY = 5.0  # seconds between two looks, or less in a short run
LOOKS = 20
LIMIT = 1.0  # MB a minute
LEAVES = "stream, leaves at the first audio"
KINDS = {  # query, frames, whether the caller leaves at the first audio
    "whole WAV, 3 s": ("", 258, False),
    "stream, 4.5 s": ("stream=true", 392, False),
    "whole FLAC, 0.7 s": ("format=flac", 64, False),
    "whole Opus, denoised, 3 s": ("format=opus&denoise=0.1", 258, False),
    LEAVES: ("stream=true", 2000, True),
}
BAD = "no mel"


async def measure(bench: Bench) -> Section:
    """The resident set over time, and its slope."""
    seconds = 60 * bench.soak
    async with bench.serving() as service:
        rate = LOAD * await _capacity(bench, service)
        looking = asyncio.create_task(_look(service, seconds))
        answers = await open_loop(poisson(rate, seconds, bench.seed), _sender(bench, service))
        points = await looking
    warm = min(WARM_UP, seconds / 4)
    kept = [point for point in points if point[0] >= warm]
    growth = 60 * slope(kept)
    told = _told(answers)
    data = {"minutes": bench.soak, "rate": rate, "mb_per_minute": growth, **told, "resident": points}
    rows = table(HEAD, _rows(answers))
    text = f"{_explained(bench, rate, warm)}\n\n{rows}\n\n{_summed_up(points, kept, growth)}"
    failed = told["failed"]
    limits = [
        Limit(f"resident set grows < {LIMIT:g} MB a minute", f"{growth:+.2f}", growth < LIMIT),
        Limit("every answer as it should be in the soak", f"{failed} not", failed == 0),
    ]
    return Section(TITLE, text, data, limits)


HEAD = ("Request", "How many", "Answered as it should be", "Whole, p50 (ms)")


def _explained(bench: Bench, rate: float, warm: float) -> str:
    return (
        f"{bench.soak:g} minutes of Poisson arrivals, {rate:.1f} a second ({LOAD:.0%} of what it can) "
        f"of these kinds alike; the slope is that of a line through the resident sets after {warm:.0f} s."
    )


def _summed_up(points: list[tuple[float, float]], kept: list[tuple[float, float]], growth: float) -> str:
    first, begun, last = points[0][1], kept[0][1], points[-1][1]
    return (
        f"Resident set {first:.0f} MB at first, {begun:.0f} MB where the slope begins, {last:.0f} MB at the "
        f"end: **{growth:+.2f} MB a minute**."
    )


def _sender(bench: Bench, service: Service) -> Any:
    draw = random.Random(bench.seed)
    requests = {
        name: (bench.request(frames, query), leave) for name, (query, frames, leave) in KINDS.items()
    } | {BAD: (post("/v1/vocode", b"no mel at all"), False)}
    names = list(requests)

    async def send(_: int, due: float) -> tuple[str, Answer]:
        name = draw.choice(names)
        request, leave = requests[name]
        answer = await service.ask(request, due, leave=leave)
        answer.pieces = answer.pieces[-1:]  # a soak of an hour need not keep every moment
        return name, answer

    return send


async def _capacity(bench: Bench, service: Service) -> float:
    """Requests of these kinds a second."""
    send = _sender(bench, service)
    answers = await in_flight(8, bench.seconds, lambda: send(0, time.monotonic()))
    took = max(answer.end for _, answer in answers) - min(answer.sent for _, answer in answers)
    return len(answers) / took


async def _look(service: Service, seconds: float) -> list[tuple[float, float]]:
    """Seconds and MB, every now and then; a line a minute for whoever waits."""
    began, points, minute = time.monotonic(), [], 1
    while (now := time.monotonic() - began) < seconds:
        points.append((now, await asyncio.to_thread(service.resident)))
        if now >= 60 * minute:
            print(f"{minute} min: {points[-1][1]:.1f} MB", file=sys.stderr, flush=True)
            minute += 1
        await asyncio.sleep(min(EVERY, seconds / LOOKS))
    return points


def _well(name: str, answer: Answer) -> bool:
    if name == BAD:
        return 400 <= answer.status < 500 and answer.status != 429
    return answer.first is not None if name == LEAVES else answer.complete


def _told(answers: list[tuple[str, Answer]]) -> dict[str, Any]:
    statuses = Counter(f"{answer.status}" for _, answer in answers)
    return {
        "requests": len(answers),
        "failed": sum(not _well(name, answer) for name, answer in answers),
        "statuses": dict(statuses),
    }


def _rows(answers: list[tuple[str, Answer]]) -> list[list[object]]:
    rows: list[list[object]] = []
    for kind in (*KINDS, BAD):
        mine = [answer for name, answer in answers if name == kind]
        well = sum(_well(kind, answer) for answer in mine)
        rows.append([kind, len(mine), well, milliseconds([percentile((a.whole_after for a in mine), 50)])])
    return rows
