"""A few threads for work on whole files, which is neither the event loop's nor the model's."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, ParamSpec, TypeVar

from fastapi import Depends, Request

__all__ = ["Busy", "Desk", "DeskPart"]

P = ParamSpec("P")
T = TypeVar("T")


class Busy(Exception):
    """As many files are being worked on, or wait for it, as the desk has places."""

    retry_after = 1


class Desk:
    """Does `threads` pieces of work at once and lets others wait, `places` in all: each holds a file."""

    def __init__(self, *, threads: int = 2, places: int = 8) -> None:
        self._places = threading.BoundedSemaphore(places)
        self._threads = ThreadPoolExecutor(threads, "desk")

    def require_place(self) -> None:
        """Raise `Busy` if work would be refused now."""
        self._take()
        self._places.release()

    async def do(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the work, or raise `Busy`; what is begun keeps its place until it is done, awaited or not."""
        self._take()
        done = self._threads.submit(work, *args, **kwargs)
        done.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(done)

    def _take(self) -> None:
        if not self._places.acquire(blocking=False):
            raise Busy("too many files are being read; try again in 1 s")


async def _desk(request: Request) -> Desk:
    """The application's own; made when it is first asked for, if nothing else was put there."""
    state = request.app.state
    if not hasattr(state, "desk"):
        state.desk = Desk()
    assert isinstance(state.desk, Desk)
    return state.desk


DeskPart = Annotated[Desk, Depends(_desk)]
