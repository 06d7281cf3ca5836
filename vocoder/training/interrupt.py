"""Ctrl-C as a wish: the run finishes its step, saves, and then the caller is told."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["signals_stop"]


@contextmanager
def signals_stop(stop: Callable[[], None]) -> Iterator[None]:
    """Let SIGINT and SIGTERM call ``stop`` instead of ending the program; a second one ends it at once.

    After the block a signal that came is raised as `KeyboardInterrupt`, and handlers are as before.
    """
    caught: list[int] = []

    def handle(number: int, _: object) -> None:
        caught.append(number)
        stop()
        signal.signal(number, signal.default_int_handler)

    signals = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, handle) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if caught:
        raise KeyboardInterrupt
