"""The way from the event loop to the workers, one for each device, and back.

```
event loop    admit ──► place ══ chunks ═══════════════════════► renderings, in order
                          │ queue, bounded by requests and frames   ▲
worker thread             └──► voice.render(windows) ────► futures ─┘
```

Only workers render. Only the event loop waits for them, and a request that is not being listened to asks
for nothing further.
"""

import asyncio
import time
from asyncio import timeout, wrap_future
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from server.catalogue import Catalogue
from server.metrics import Metrics
from server.queue import Job, Part, Place, Rendering
from server.worker import Worker
from vocoder import MelSpec, Vocoder

if TYPE_CHECKING:
    from vocoder.checkpoint import Header
    from vocoder.denoise import Denoiser

__all__ = ["DeadlineExceeded", "Engine", "ModelInUse", "Profile", "Seat", "finished", "within"]

T = TypeVar("T")

LOOK_SECONDS = 0.02  # between two looks whether there is room


class DeadlineExceeded(Exception):
    """The audio was not ready in time."""


class ModelInUse(Exception):
    """A model that is loaded for good cannot be unloaded."""


@dataclass(frozen=True)
class Profile:
    """What a model that is, or was, loaded says of itself; its weights may be gone by now."""

    name: str
    header: "Header"
    halo: int
    denoiser: "Denoiser"

    @classmethod
    def of(cls, name: str, voice: Vocoder) -> "Profile":
        """Of a voice that a worker has loaded."""
        return cls(name, voice.header, voice.model.halo, voice.denoiser())

    @property
    def spec(self) -> MelSpec:
        """What its mels must be."""
        assert self.header.mel
        return self.header.mel


@dataclass(frozen=True)
class Seat:
    """A place in the queue of one worker."""

    worker: Worker
    place: Place

    async def put(self, part: Part, seconds: float) -> Job:
        """Queue a part of the request; one that was not listened to waits, so long, until there is room."""
        async with within(seconds):
            while not self.worker.queue.returns(self.place, part.window.frames):  # noqa: ASYNC110  # by threads
                await asyncio.sleep(LOOK_SECONDS)
        return self.worker.queue.put(self.place, part, part.window.frames)

    def rest(self) -> None:
        """Take up no room until a part is put: a speaker may be silent for long."""
        self.worker.queue.release(self.place)


class Engine:
    """Several models behind one worker for each device."""

    def __init__(
        self, catalogue: Catalogue, workers: list[Worker], metrics: Metrics, *, patience: float = 60.0
    ) -> None:
        """`patience` is how many seconds a request waits for a model that has to be loaded for it."""
        self.catalogue, self.workers, self.metrics = catalogue, workers, metrics
        self._patience = patience
        self._profiles: dict[str, Profile] = {}

    def start(self) -> None:
        """Start the workers, which load their models; `require_ready` says when that is done."""
        for worker in self.workers:
            worker.start()

    def stop(self, seconds: float) -> None:
        """Give up what waits and wait for the workers, at most so many seconds. Blocks."""
        self.end()
        until = time.monotonic() + seconds
        for worker in self.workers:
            worker.stop(max(until - time.monotonic(), 0))

    def close(self) -> None:
        """Admit nothing more; what is admitted goes on."""
        for worker in self.workers:
            worker.queue.close()

    def end(self) -> None:
        """Give up what still waits."""
        for worker in self.workers:
            worker.queue.end()

    @property
    def failure(self) -> Exception | None:
        """What ended a worker, if anything did."""
        return next((worker.failure for worker in self.workers if worker.failure), None)

    @property
    def loaded(self) -> list[str]:
        """Models that are in the memory of every device."""
        return [name for name in self.workers[0].models if all(name in each.models for each in self.workers)]

    @property
    def requests(self) -> int:
        """How many requests have work at the workers."""
        return sum(worker.queue.requests for worker in self.workers)

    @property
    def frames(self) -> int:
        """How many frames these have still to render."""
        return sum(worker.queue.frames for worker in self.workers)

    def require_ready(self) -> None:
        """Raise `NotReady` unless every worker works and requests are taken, now or when there is room."""
        for worker in self.workers:
            worker.require_ready()

    def require_room(self, frames: int = 1) -> None:
        """Raise `QueueFull` or `NotReady` if a request of so many frames would be refused now."""
        self._idlest().queue.require_room(frames)

    async def profile(self, model: str | None) -> Profile:
        """A model by name, the default one if none is given; loaded if it has to be.

        Raises `UnknownModel`, `NotReady`, `DeadlineExceeded`, and what keeps a checkpoint from being loaded.
        """
        self._idlest()
        name = self.catalogue.resolve(model)
        voice = self.workers[0].loaded_voice(name)
        if voice is None:
            async with within(self._patience):
                return await self.load(name)
        if name not in self._profiles or self._profiles[name].header is not voice.header:  # loaded anew
            self._profiles[name] = Profile.of(name, voice)
        return self._profiles[name]

    async def load(self, model: str) -> Profile:
        """Load a model on every device, if it is not there."""
        name = self.catalogue.resolve(model)
        profile, *_ = await self._everywhere(lambda worker: Profile.of(name, worker.voice(name)))
        self._profiles[name] = profile
        return profile

    async def unload(self, model: str) -> None:
        """Unload a model from every device; it is loaded again when it is asked for."""
        name = self.catalogue.resolve(model)
        if name == self.catalogue.default:
            raise ModelInUse(f"model {name} is the default one and stays")
        await self._everywhere(lambda worker: worker.drop([name]))

    @contextmanager
    def admit(self, frames: int) -> Iterator[Seat]:
        """A place at the worker that has least to do, for a request of so many frames; given up at the end.

        Raises `QueueFull` and `NotReady`.
        """
        worker = self._idlest()
        seat = Seat(worker, worker.queue.admit(frames))
        try:
            yield seat
        except (GeneratorExit, asyncio.CancelledError, DeadlineExceeded):
            if not seat.place.delivered:
                self.metrics.aborted(seat.place.stage)
            raise
        finally:
            worker.queue.release(seat.place)

    async def chunks(
        self, seat: Seat, parts: Iterable[Part], seconds: float
    ) -> AsyncGenerator[Rendering]:
        """Render parts in order, one of them ahead of whoever takes the results.

        Raises `DeadlineExceeded` if one takes longer than so many seconds, and what rendering raises.
        """
        ahead: Job | None = None
        for part in parts:
            job = await seat.put(part, seconds)
            if ahead:
                yield await finished(ahead, seconds)
            ahead = job
        if ahead:
            yield await finished(ahead, seconds)

    async def ask(
        self, model: str | None, frames: int, work: Callable[[Vocoder], T], seconds: float
    ) -> T:
        """Do any other work with a model, counted as so many frames, in its worker's thread.

        Raises `UnknownModel`, `QueueFull`, `NotReady`, `DeadlineExceeded`, and what the work raises.
        """
        name = (await self.profile(model)).name
        with self.admit(frames) as seat:
            job = seat.worker.queue.put(seat.place, lambda worker: work(worker.voice(name)), frames)
            return await finished(job, seconds)

    def _idlest(self) -> Worker:
        ready = [worker for worker in self.workers if worker.ready]
        if not ready:
            self.require_ready()  # which may find one that has become ready since
        return min(ready or self.workers, key=lambda worker: (worker.queue.frames, worker.queue.requests))

    async def _everywhere(self, errand: Callable[[Worker], T]) -> list[T]:
        self.require_ready()
        jobs = [worker.queue.put(Place(0), errand, 0) for worker in self.workers]
        return list(await asyncio.gather(*(wrap_future(job.future) for job in jobs)))


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """At most so many seconds for what is awaited inside; then `DeadlineExceeded`."""
    try:
        async with timeout(seconds):
            yield
    except TimeoutError:
        raise DeadlineExceeded(f"the audio was not ready within {seconds:g} s") from None


async def finished(job: Job, seconds: float) -> Any:
    """What a job came to, at most so many seconds from now; then `DeadlineExceeded`."""
    async with within(seconds):
        return await wrap_future(job.future)
