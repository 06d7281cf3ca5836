"""What the service still does when it is asked for more than it can, and how soon it says no."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.load.arrivals import in_flight, open_loop, poisson
from benchmarks.load.bench import Bench, Service
from benchmarks.load.client import Answer
from benchmarks.load.figures import Limit, Section, milliseconds, percentile, percentiles, table

__all__ = ["measure"]

TITLE = "Overload"
FRAMES = 258  # 3 s
SHARES = (0.5, 0.8, 1.0, 1.2)  # of what it can do
OVERLOAD = 2.0
IN_FLIGHT = 8
RAMP = 0.25  # of the time, in which the queue fills
GOODPUT, P50, P99 = 0.95, 0.010, 0.050


async def measure(bench: Bench) -> Section:
    """Goodput by offered load, and refusals."""
    request = bench.request(FRAMES)
    async with bench.serving() as service:
        capacity, length = await _capacity(bench, service, request)
        runs = {
            share: await _offered(bench, service, request, share * capacity, bench.seconds)
            for share in SHARES
        }
        peak, before = max(told["goodput"] for told in runs.values()), service.resident()
        most = max(capacity, peak / length)
        over = await _offered(bench, service, request, OVERLOAD * most, 2 * bench.seconds)
        runs[OVERLOAD], grown = over, service.resident() - before
    data = {
        "requests_per_s": capacity,
        "peak": peak,
        "kept": over["goodput"] / peak if peak else math.nan,
        "grown_mb": grown,
        "runs": runs,
    }
    rows = [_row(share, told) for share, told in runs.items()]
    text = f"{_explained(capacity)}\n\n{table(HEAD, rows)}\n\n{_summed_up(data, over)}"
    return Section(TITLE, text, data, _limits(data, over))


HEAD = ("Offered", "Goodput (audio s per s)", "Whole, p50 / p95 / p99 (ms)", "429", "Failed", "Requests")


def _explained(capacity: float) -> str:
    return (
        f"Poisson arrivals of whole WAVs of {FRAMES} frames. With {IN_FLIGHT} always in flight the service "
        f"answers {capacity:.1f} a second, which is 1. Goodput: audio of complete answers a second, without "
        f"the first {RAMP:.0%} of the time, in which the queue fills. {OVERLOAD:g} is twice "
        "the peak, for twice as long."
    )


def _summed_up(data: dict[str, Any], over: dict[str, Any]) -> str:
    return (
        f"At {OVERLOAD:g}: {data['kept']:.1%} of the peak; {over['refused']} refusals, each with an integer "
        f"Retry-After ({over['retry_after']}), {milliseconds(over['decided_s'], 1)} ms (p50 / p95 / p99) "
        f"from the sending of the request to the head of the answer; resident set {data['grown_mb']:+.1f} MB."
    )


def _limits(data: dict[str, Any], over: dict[str, Any]) -> list[Limit]:
    p50, _, p99 = over["decided_s"]
    times = f"{milliseconds((p50, p99), 1)} ms"
    return [
        Limit("goodput at 2 × overload ≥ 95 % of peak", f"{data['kept']:.1%}", data["kept"] >= GOODPUT),
        Limit("429 within 10 ms at p50 and 50 ms at p99", times, p50 <= P50 and p99 <= P99),
        Limit("nothing but audio and 429 at overload", f"{over['failed']} failed", over["failed"] == 0),
    ]


async def _capacity(bench: Bench, service: Service, request: bytes) -> tuple[float, float]:
    """Complete answers a second, and the seconds of audio of one."""
    answers = await in_flight(IN_FLIGHT, bench.seconds / 2, lambda: service.ask(request))
    took = max(answer.end for answer in answers) - min(answer.sent for answer in answers)
    return sum(answer.complete for answer in answers) / took, max(answer.seconds for answer in answers)


async def _offered(
    bench: Bench, service: Service, request: bytes, rate: float, seconds: float
) -> dict[str, Any]:
    async def send(_: int, due: float) -> Answer:
        return await service.ask(request, due)

    begun = time.monotonic()
    answers = await open_loop(poisson(rate, seconds, bench.seed), send)
    from_, to = begun + RAMP * seconds, begun + seconds
    done = sum(answer.seconds for answer in answers if from_ <= answer.end < to)
    return {"goodput": done / (to - from_), **_told(answers)}


def _told(answers: Sequence[Answer]) -> dict[str, Any]:
    no = [answer for answer in answers if answer.status == 429]
    waits = [int(answer.headers["retry-after"]) for answer in no]  # nothing but an integer passes
    return {
        "whole_s": percentiles(answer.whole_after for answer in answers if answer.complete),
        "decided_s": percentiles(answer.head - answer.sent for answer in no),
        "retry_after": f"{min(waits)} to {max(waits)} s" if waits else "none",
        "refused": len(no),
        "failed": sum(not answer.complete and answer.status != 429 for answer in answers),
        "lag_p99_s": percentile((answer.sent - answer.due for answer in answers), 99),
        "requests": len(answers),
    }


def _row(share: float, told: dict[str, Any]) -> list[object]:
    refused = f"{told['refused'] / max(told['requests'], 1):.1%}"
    whole = milliseconds(told["whole_s"])
    return [f"{share:g}", f"{told['goodput']:.1f}", whole, refused, told["failed"], told["requests"]]
