"""What waits for the model: bounded by requests and by frames, first come first served.

A job that is given up (deadline, client gone) leaves the queue and its memory at once. The job being
rendered still counts until it is done, since a kernel cannot be called back.
"""

import math
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

__all__ = ["Job", "NotReady", "Order", "Queue", "QueueFull", "Rendering"]

LONGEST_RETRY = 60  # seconds; clients give up on a Retry-After that is much longer


class NotReady(Exception):
    """The voice is still loading, could not be loaded, or the service is shutting down."""

    retry_after = 1


class QueueFull(Exception):
    """As many requests or frames are admitted as the settings allow."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_after} s")
        self.retry_after = retry_after


@dataclass(frozen=True)
class Order:
    """What to render: a mel `[M, L]`, float32, and how to draw its noise."""

    mel: np.ndarray[Any, np.dtype[np.float32]]
    seed: int
    temperature: float

    @property
    def frames(self) -> int:
        """L."""
        return int(self.mel.shape[-1])


@dataclass(frozen=True)
class Rendering:
    """Audio `[T]`, float32, and the seconds it waited and took."""

    audio: Tensor
    queued: float
    rendered: float


@dataclass(eq=False)
class Job:
    """An order on its way: the worker fills the future, whoever asked waits for it or cancels it."""

    order: Order
    future: "Future[Rendering]" = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)


class Queue:
    """Callers `put` and `withdraw`, one worker takes `next`; any thread may do either."""

    def __init__(self, *, max_requests: int, max_frames: int) -> None:
        self._max_requests, self._max_frames = max_requests, max_frames
        self._waiting: deque[Job] = deque()
        self._taken: Job | None = None
        self._door = threading.Condition(threading.RLock())
        self._pace = math.inf  # frames a second, as measured
        self.closed = False

    @property
    def held(self) -> int:
        """How many jobs are admitted: those that wait, and the one being rendered."""
        return len(self._jobs())

    def require_open(self) -> None:
        """Raise `NotReady` once the queue is closed."""
        if self.closed:
            raise NotReady("the service is shutting down")

    def admit(self, frames: int = 1) -> None:
        """Raise `QueueFull` or `NotReady` if a job of this many frames would be refused now."""
        self.require_open()
        jobs = self._jobs()
        queued = sum(job.order.frames for job in jobs)
        if len(jobs) >= self._max_requests or queued + frames > self._max_frames:
            raise QueueFull(min(LONGEST_RETRY, max(1, math.ceil(queued / self._pace))))

    def put(self, job: Job) -> None:
        """Queue the job, or raise what `admit` raises."""
        with self._door:
            self.admit(job.order.frames)
            self._waiting.append(job)
            self._door.notify()

    def withdraw(self, job: Job) -> None:
        """Take the job out if it still waits."""
        with self._door:
            if job in self._waiting:
                self._waiting.remove(job)

    def next(self) -> Job | None:
        """Wait for a job and take it; None once the queue is closed and empty."""
        with self._door:
            self._taken = None
            self._door.wait_for(lambda: self._waiting or self.closed)
            self._taken = self._waiting.popleft() if self._waiting else None
            return self._taken

    def done(self, pace: float | None = None) -> None:
        """Free the place of the job that was taken, before its caller hears of it and sends another.

        `pace`, in frames a second, is learnt for the time that `QueueFull` names.
        """
        with self._door:
            self._taken = None
            if pace is not None:
                self._pace = pace if math.isinf(self._pace) else 0.8 * self._pace + 0.2 * pace

    def close(self) -> None:
        """Admit nothing more; what is admitted goes on."""
        with self._door:
            self.closed = True
            self._door.notify()

    def abandon(self) -> None:
        """Give up what still waits: whoever asked gets `NotReady`."""
        with self._door:
            while self._waiting:
                future = self._waiting.popleft().future
                if future.set_running_or_notify_cancel():
                    future.set_exception(NotReady("the service is shutting down"))

    def _jobs(self) -> list[Job]:
        with self._door:
            return [*self._waiting, *filter(None, [self._taken])]
