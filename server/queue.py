"""What waits for a worker: bounded by requests and by frames, first come first served.

A request takes a `Place` once, and puts its windows one or two at a time; so long requests take turns with
short ones. A place counts against the bounds while it has work here, with every frame that it has still to
render: whoever stops listening asks for no further window, and frees the place within one. A job that is
given up (deadline, client gone) leaves at once; one being rendered counts until it is done, since a kernel
cannot be called back.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from server.metrics import Stage
from vocoder import Window

if TYPE_CHECKING:
    from server.worker import Worker

__all__ = ["Errand", "Job", "NotReady", "Part", "Place", "Queue", "QueueFull", "Rendering"]

LONGEST_RETRY = 60  # seconds; clients give up on a Retry-After that is much longer

Errand = Callable[["Worker"], Any]


class NotReady(Exception):
    """The model is still loading, could not be loaded, or the service is shutting down."""

    retry_after = 1


class QueueFull(Exception):
    """As many requests or frames are admitted as the settings allow."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_after} s")
        self.retry_after = retry_after


@dataclass(frozen=True, eq=False)
class Part:
    """A window to render, and how to draw its noise."""

    model: str
    window: Window
    seed: int
    temperature: float


@dataclass(frozen=True, eq=False)
class Rendering:
    """Audio `[T]`, float32, and the seconds it waited and took."""

    audio: Tensor
    queued: float
    rendered: float


@dataclass(eq=False)
class Place:
    """What a request occupies: the frames that it has still to render, and its jobs that are not done.

    `begun` tells whether a worker has taken one of them, `sending` whether some of the answer has been sent.
    """

    frames: int
    jobs: "set[Job]" = field(default_factory=set)
    begun: bool = False
    delivered: bool = False  # all of the answer has been handed over
    sending: bool = False

    @property
    def stage(self) -> Stage:
        """How far the request has come."""
        return "sending" if self.sending else "rendering" if self.begun else "queued"


@dataclass(eq=False)
class Job:
    """A part to render, or an errand for the worker; it fills the future, whoever asked waits or cancels."""

    task: Part | Errand
    frames: int
    place: Place
    future: "Future[Any]" = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)


class Queue:
    """Callers `admit`, `put` and `release`; one worker takes; any thread may do either.

    `batch_frames` is how many frames, padding included, are taken together (0: one window at a time), and
    `batch_delay` how many seconds a worker waits for others to come.
    """

    def __init__(
        self, *, max_requests: int, max_frames: int, batch_frames: int = 0, batch_delay: float = 0.0
    ) -> None:
        self._max_requests, self._max_frames = max_requests, max_frames
        self._batch_frames, self._batch_delay = batch_frames, batch_delay
        self._waiting: deque[Job] = deque()
        self._places: set[Place] = set()
        self._door = threading.Condition(threading.RLock())
        self._pace = math.inf  # frames a second, as measured
        self.closed = self.ended = False

    @property
    def requests(self) -> int:
        """How many requests have work here."""
        return len(self._places)

    @property
    def frames(self) -> int:
        """How many frames these have still to render."""
        with self._door:
            return sum(place.frames for place in self._places)

    def require_room(self, frames: int = 1) -> None:
        """Raise `QueueFull` or `NotReady` if a request of so many frames would be refused now."""
        if self.closed:
            raise NotReady("the service is shutting down")
        held = self.frames
        if len(self._places) >= self._max_requests or held + frames > self._max_frames:
            raise QueueFull(min(LONGEST_RETRY, max(1, math.ceil(held / self._pace))))

    def admit(self, frames: int) -> Place:
        """Take a place for a request of so many frames, or raise what `require_room` raises."""
        with self._door:
            self.require_room(frames)
            place = Place(frames)
            self._places.add(place)
            return place

    def returns(self, place: Place, frames: int) -> bool:
        """Count a place again that had no work here, if there is room for so many frames."""
        with self._door:
            crowded = len(self._places) >= self._max_requests or self.frames + frames > self._max_frames
            if place not in self._places and self._places and crowded:
                return False
            self._places.add(place)
            return True

    def put(self, place: Place, task: Part | Errand, frames: int) -> Job:
        """Queue a task of an admitted request; `NotReady` once everything is given up."""
        with self._door:
            if self.ended:
                raise NotReady("the service is shutting down")
            job = Job(task, frames, place)
            place.frames = max(place.frames, frames)  # a stream does not know its length beforehand
            place.jobs.add(job)
            self._places.add(place)
            self._waiting.append(job)
            self._door.notify()
            return job

    def release(self, place: Place) -> None:
        """Give a place up, with every job of it that still waits."""
        with self._door:
            for job in [job for job in self._waiting if job.place is place]:
                self._waiting.remove(job)
                place.jobs.discard(job)
                job.future.cancel()
            place.frames = sum(job.frames for job in place.jobs)
            if not place.jobs:
                self._places.discard(place)

    def take(self, seconds: float) -> list[Job]:
        """Wait so many seconds for work, and take it: one job, or parts that are rendered together."""
        with self._door:
            self._door.wait_for(lambda: self._waiting or self.ended, seconds)
            taken = [self._waiting.popleft()] if self._waiting else []
            if taken and self._batch_frames and isinstance(taken[0].task, Part):
                self._fill(taken, time.monotonic() + self._batch_delay)
            for job in taken:
                job.place.begun = True
            return taken

    def done(self, job: Job, pace: float | None = None) -> None:
        """Strike a job off its place, before its caller hears of it and sends another.

        `pace`, in frames a second, is learnt for the time that `QueueFull` names.
        """
        with self._door:
            job.place.jobs.discard(job)
            job.place.frames = max(job.place.frames - job.frames, 0)
            if not job.place.jobs:
                self._places.discard(job.place)
            if pace is not None:
                self._pace = pace if math.isinf(self._pace) else 0.8 * self._pace + 0.2 * pace

    def close(self) -> None:
        """Admit nothing more; what is admitted goes on."""
        self.closed = True

    def end(self) -> None:
        """Close, and give up what still waits: whoever asked gets `NotReady`."""
        with self._door:
            self.closed = self.ended = True
            while self._waiting:
                job = self._waiting.popleft()
                self.done(job)
                if job.future.set_running_or_notify_cancel():
                    job.future.set_exception(NotReady("the service is shutting down"))
            self._door.notify_all()

    def _fill(self, taken: list[Job], until: float) -> None:
        while True:
            for job in list(self._waiting):
                if self._joins(job, taken):
                    self._waiting.remove(job)
                    taken.append(job)
            left = until - time.monotonic()
            if left <= 0 or not self._door.wait(left):
                return

    def _joins(self, job: Job, taken: list[Job]) -> bool:
        """Whether the job is of the batch's kind, and the batch with it within the budget.

        Two windows of one clip are not rendered together: the first would have to wait for the second.
        """
        if not isinstance(job.task, Part):
            return False
        parts = [each.task for each in taken if isinstance(each.task, Part)]
        if job.task.model != parts[0].model or any(_one_clip(job, each) for each in taken):
            return False
        widest = max(part.window.width for part in [*parts, job.task])
        return widest * (len(taken) + 1) <= self._batch_frames


def _one_clip(a: Job, b: Job) -> bool:
    """Whether two parts are of one clip of one request; the clips of a batch have seeds of their own."""
    assert isinstance(a.task, Part)
    assert isinstance(b.task, Part)
    return a.place is b.place and a.task.seed == b.task.seed
