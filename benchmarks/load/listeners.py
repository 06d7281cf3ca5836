"""How many people can listen at once, each to one clip after another, before somebody hears a gap."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from benchmarks.load.arrivals import in_flight, open_loop
from benchmarks.load.bench import Bench, Service
from benchmarks.load.client import WAV_HEADER, Answer
from benchmarks.load.figures import Section, milliseconds, percentile, table

__all__ = ["gap", "measure", "most"]

TITLE = "Listeners at once"
FRAMES = 392
CLIPS = 2  # for each listener
BUFFER = 0.2  # seconds of audio that a player gathers before it begins
AUDIBLE = 0.1  # seconds without audio
TOLERATED = 0.01  # of the clips
PRECISION = 0.05  # of the answer
PROBE_IN_FLIGHT = 8
HOPE = 1.5  # times what the service made when asked for all it can
BYTES = 2  # of a sample


async def measure(bench: Bench) -> Section:
    """Bisect for the greatest number of listeners who hear no gaps."""
    request = bench.request(FRAMES, "stream=true")
    trials: dict[int, dict[str, Any]] = {}
    async with bench.serving() as service:
        speed = await _speed(bench, service, request)

        async def good(count: int) -> bool:
            trials[count] = await _trial(bench, service, request, count)
            return bool(trials[count]["bad"] <= TOLERATED)

        found = await most(good, math.ceil(HOPE * speed))
    rows = [
        [
            count,
            milliseconds([told["first_p99_s"]]),
            milliseconds([told["gap_p99_s"]]),
            f"{told['bad']:.1%}",
            told["clips"],
        ]
        for count, told in sorted(trials.items())
    ]
    text = f"{_explained(speed)}\n\n{table(HEAD, rows)}\n\n**{found}** listeners at once."
    return Section(TITLE, text, {"most": found, "audio_s_per_s": speed, "trials": trials})


HEAD = ("Listeners", "First audio, p99 (ms)", "Longest gap of a clip, p99 (ms)", "Bad clips", "Clips")


def _explained(speed: float) -> str:
    return (
        f"Each asks for a streamed WAV of {FRAMES} frames whenever the last one should have ended, {CLIPS} "
        f"in all, from a moment of its own on; its player gathers {BUFFER} s. A clip is bad that is refused "
        f"or leaves the player without audio for more than {AUDIBLE} s; a number is sustained if at most "
        f"{TOLERATED:.0%} of the clips are bad; bisection to {PRECISION:.0%}. With {PROBE_IN_FLIGHT} "
        f"requests always in flight the service makes {speed:.1f} s of audio a second."
    )


async def most(good: Callable[[int], Awaitable[bool]], bound: int) -> int:
    """The greatest number up to `bound` that is good, to `PRECISION`; 0 if not even 1 is."""
    low, high = 0, bound + 1
    while high - low > max(1, PRECISION * low):
        middle = (low + high) // 2
        low, high = (middle, high) if await good(middle) else (low, middle)
    return low


async def _speed(bench: Bench, service: Service, request: bytes) -> float:
    """Audio-seconds per second with enough in flight."""
    answers = await in_flight(PROBE_IN_FLIGHT, bench.seconds / 2, lambda: service.ask(request))
    began, ended = min(answer.sent for answer in answers), max(answer.end for answer in answers)
    return sum(answer.seconds for answer in answers) / (ended - began)


async def _trial(bench: Bench, service: Service, request: bytes, count: int) -> dict[str, Any]:
    length = (await service.ask(request)).seconds
    draw = random.Random(bench.seed)
    begin = [draw.uniform(0, length) for _ in range(count)]
    times = sorted(first + clip * length for first in begin for clip in range(CLIPS))

    async def send(_: int, due: float) -> Answer:
        return await service.ask(request, due)

    answers = await open_loop(times, send)
    gaps = [gap(answer.pieces, _rate(answer)) if answer.complete else math.inf for answer in answers]
    return {
        "first_p99_s": percentile((answer.first_after for answer in answers if answer.complete), 99),
        "gap_p99_s": percentile((seconds for seconds in gaps if math.isfinite(seconds)), 99),
        "bad": sum(seconds > AUDIBLE for seconds in gaps) / len(gaps),
        "clips": len(gaps),
    }


def _rate(answer: Answer) -> int:
    return BYTES * int(answer.headers["x-sample-rate"])


def gap(pieces: Sequence[tuple[float, int]], rate: float) -> float:
    """The longest silence of a player that gathers `BUFFER` seconds, or all there is, and then plays.

    `pieces` are moments and the bytes that a WAV file had by then, `rate` is bytes a second. After a silence
    it plays on with whatever has come.
    """
    heard = [(at, (size - WAV_HEADER) / rate) for at, size in pieces]
    started = next((at for at, seconds in heard if seconds >= BUFFER), heard[-1][0])
    longest = stalled = played = 0.0
    for at, seconds in heard:
        silence = max(at - (started + stalled + played), 0.0)
        longest, stalled, played = max(longest, silence), stalled + silence, seconds
    return longest
