"""When requests are sent: by a schedule that waits for no answer or, to find the most there is, after one."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeVar

__all__ = ["in_flight", "open_loop", "poisson"]

T = TypeVar("T")
LEAD = 0.05  # seconds before the first of a schedule


def poisson(rate: float, seconds: float, seed: int = 0) -> Iterator[float]:
    """Moments in `[0, seconds)`, so many a second in the mean, each independent of all others.

    >>> 900 < len(list(poisson(100, 10))) < 1100
    True
    """
    draw = random.Random(seed)
    at = draw.expovariate(rate)
    while at < seconds:
        yield at
        at += draw.expovariate(rate)


async def open_loop(times: Iterable[float], send: Callable[[int, float], Awaitable[T]]) -> list[T]:
    """Call `send(index, due)` at these times from now, whatever becomes of the earlier ones."""
    began, tasks = time.monotonic() + LEAD, []

    async def one(index: int, due: float) -> T:
        return await send(index, due)

    async with asyncio.TaskGroup() as group:
        for index, at in enumerate(times):
            await asyncio.sleep(max(0.0, began + at - time.monotonic()))
            tasks.append(group.create_task(one(index, began + at)))
    return [task.result() for task in tasks]


async def in_flight(count: int, seconds: float, send: Callable[[], Awaitable[T]]) -> list[T]:
    """So many callers, each of whom sends the next as soon as the last is answered: a closed loop."""
    until = time.monotonic() + seconds

    async def caller() -> list[T]:
        heard = []
        while time.monotonic() < until:
            heard.append(await send())
        return heard

    return [answer for each in await asyncio.gather(*(caller() for _ in range(count))) for answer in each]
