"""One device, and the thread that owns it: its models, and all that is ever computed with them.

```
queue ──► take ──► errand ─────────────────► result ──► future
             └───► parts, one or a batch ──► audio ───► futures
                     out of memory: halves, once; then `OutOfMemory`, and not ready after some of these
```

It waits for nothing but its queue: not for a socket, not for an encoder.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from server.metrics import Metrics
from server.queue import Job, NotReady, Part, Queue, Rendering
from vocoder import Vocoder

__all__ = ["Load", "OutOfMemory", "Worker"]

log = logging.getLogger("server.worker")

Load = Callable[[str, str | None], Vocoder]  # a model's name and a device → its voice there

WARM_UP_FRAMES = (16, 256)
IDLE_SECONDS = 1.0  # between two looks at what may be unloaded, or whether memory has come back


class OutOfMemory(Exception):
    """The device has not the memory for this, not even for half of it at a time."""

    retry_after = 5


@dataclass
class _Shelved:
    voice: Vocoder
    used: float


class Worker:
    """Renders what its queue holds. `names` are loaded at the start, others when they are asked for.

    Models that have not been used for `ttl` seconds are unloaded, but for the first. `failure` is what ended
    the worker: a model that could not be loaded at the start, or a device that is beyond help.
    """

    def __init__(
        self,
        device: str | None,
        load: Load,
        queue: Queue,
        metrics: Metrics,
        *,
        names: Sequence[str],
        threads: int | None = None,
        ttl: float | None = None,
        oom_limit: int = 3,
    ) -> None:
        self.device, self.queue = device, queue
        self._load, self._metrics, self._threads = load, metrics, threads
        self._names, self._ttl, self._oom_limit = list(names), ttl, oom_limit
        self._shelf: dict[str, _Shelved] = {}
        self._short_of_memory = 0  # how many times in a row
        self._thread = threading.Thread(target=self._work, name=f"worker {device or ''}", daemon=True)
        self.failure: Exception | None = None
        self.loaded = False

    def start(self) -> None:
        """Start the thread, which loads and warms its models."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Give up what waits, and wait for the thread, at most so many seconds. Blocks."""
        self.queue.end()
        self._thread.join(seconds)

    @property
    def ready(self) -> bool:
        """Whether work is done here."""
        try:
            self.require_ready()
        except NotReady:
            return False
        return True

    def require_ready(self) -> None:
        """Raise `NotReady` unless work is done here."""
        if self.failure:
            raise NotReady("a model could not be loaded, or its device failed")
        if not self.loaded:
            raise NotReady("the model is still loading")
        if self._short_of_memory >= self._oom_limit:
            raise NotReady("the device is out of memory")
        if self.queue.closed:
            raise NotReady("the service is shutting down")

    @property
    def models(self) -> list[str]:
        """Names of the models that are loaded."""
        return list(self._shelf)

    def loaded_voice(self, name: str) -> Vocoder | None:
        """A model if it is loaded, for what it says of itself."""
        kept = self._shelf.get(name)
        return kept.voice if kept else None

    def voice(self, name: str) -> Vocoder:
        """A model, loaded and warmed if it has to be. For the worker's thread only."""
        if name not in self._shelf:
            self._shelf[name] = _Shelved(self._warmed(name), 0.0)
        self._shelf[name].used = time.monotonic()
        return self._shelf[name].voice

    def drop(self, names: Iterable[str]) -> None:
        """Unload models. For the worker's thread only."""
        for name in [name for name in names if self._shelf.pop(name, None)]:
            log.info("model %s is unloaded from %s", name, self._place)
            self._free()

    @property
    def _place(self) -> str:
        return self.device or "its device"

    def _work(self) -> None:
        try:
            if self._threads:  # OpenMP keeps this number for each thread, so it has to be set in this one
                torch.set_num_threads(self._threads)
            for name in self._names:
                self.voice(name)
            self.loaded = True
            while not self.queue.ended:
                self._serve(self.queue.take(IDLE_SECONDS))
                self._unload_idle()
        except Exception as error:
            log.exception("the worker of %s has failed", self._place)
            self.failure = error
            self.queue.end()

    def _serve(self, taken: list[Job]) -> None:
        jobs = [job for job in taken if job.future.set_running_or_notify_cancel()]
        for job in set(taken) - set(jobs):
            self.queue.done(job)
        if not jobs:
            if self._short_of_memory >= self._oom_limit:
                self._try_again()
        elif isinstance(jobs[0].task, Part):
            self._render(jobs)
        else:
            self._settle(jobs, lambda: [jobs[0].task(self)])  # type: ignore[operator]  # no part: an errand

    def _render(self, jobs: list[Job]) -> None:
        parts = [job.task for job in jobs if isinstance(job.task, Part)]
        started = time.monotonic()

        def work() -> list[Rendering]:
            audio = self._rendered(self.voice(parts[0].model), parts)
            took = time.monotonic() - started
            self._measure(parts, jobs, started, took)
            return [
                Rendering(each, started - job.arrived, took) for each, job in zip(audio, jobs, strict=True)
            ]

        self._settle(jobs, work)

    def _settle(self, jobs: list[Job], work: Callable[[], list[Any]]) -> None:
        """Do the work and hand its results, or what went wrong, to those who wait."""
        started = time.monotonic()
        try:
            results = work()
        except torch.OutOfMemoryError:
            self._metrics.out_of_memory(self._place)
            self._fail(jobs, self._shortage())
        except torch.AcceleratorError as error:
            self._fail(jobs, error)
            raise  # a context that has failed stays so
        except Exception as error:  # noqa: BLE001  # it is for whoever asked, and the worker goes on
            self._part(jobs, error)
        else:
            self._succeed(jobs, results, time.monotonic() - started)

    def _succeed(self, jobs: list[Job], results: list[Any], took: float) -> None:
        pace = sum(job.frames for job in jobs) / max(took, 1e-6)
        for job, result in zip(jobs, results, strict=True):
            self.queue.done(job, pace if job.frames else None)
            job.future.set_result(result)

    def _part(self, jobs: list[Job], error: Exception) -> None:
        """Of a batch one may have spoilt it for all: render each by itself, and let that one fail alone."""
        if len(jobs) == 1 or isinstance(error, OutOfMemory):
            self._fail(jobs, error)
        else:
            for place, job in enumerate(jobs, start=1):
                try:
                    self._render([job])
                except torch.AcceleratorError as failure:  # nobody comes after it
                    self._fail(jobs[place:], failure)
                    raise

    def _fail(self, jobs: list[Job], error: Exception) -> None:
        for job in jobs:
            self.queue.done(job)
            job.future.set_exception(error)

    def _shortage(self) -> OutOfMemory:
        """Count one more of these, and say it to the caller."""
        self._free()
        self._short_of_memory += 1
        return OutOfMemory("the device is out of memory; try again later")

    def _rendered(self, voice: Vocoder, parts: list[Part]) -> list[Tensor]:
        """Render together; in two halves if the memory does not suffice."""
        try:
            audio = self._once(voice, parts)
        except torch.OutOfMemoryError:
            self._free()
            try:
                audio = self._in_halves(voice, parts)
            except torch.OutOfMemoryError:
                raise self._shortage() from None
        self._short_of_memory = 0
        return audio

    def _once(self, voice: Vocoder, parts: list[Part]) -> list[Tensor]:
        try:
            return voice.render(
                [part.window for part in parts],
                seeds=[part.seed for part in parts],
                temperatures=[part.temperature for part in parts],
            )
        except torch.OutOfMemoryError:
            self._metrics.out_of_memory(self._place)
            raise

    def _in_halves(self, voice: Vocoder, parts: list[Part]) -> list[Tensor]:
        if len(parts) > 1:
            middle = len(parts) // 2
            return self._once(voice, parts[:middle]) + self._once(voice, parts[middle:])
        halves = parts[0].window.halves(voice.model.halo)
        return [torch.cat([self._once(voice, [replace(parts[0], window=half)])[0] for half in halves])]

    def _unload_idle(self) -> None:
        if self._ttl is not None:
            since = time.monotonic() - self._ttl
            stale = [n for n, kept in self._shelf.items() if kept.used < since and n not in self._names[:1]]
            self.drop(stale)

    def _try_again(self) -> None:
        """See whether memory has come back."""
        self._free()
        try:
            self._warm(next(iter(self._shelf.values())).voice)
        except torch.OutOfMemoryError:
            return
        self._short_of_memory = 0

    def _warmed(self, name: str) -> Vocoder:
        started, voice = time.monotonic(), self._load(name, self.device)
        self._warm(voice)
        voice.denoiser()  # is made by rendering, which nobody else may
        log.info("model %s is ready on %s after %.1f s", name, voice.device, time.monotonic() - started)
        return voice

    def _warm(self, voice: Vocoder) -> None:
        for frames in WARM_UP_FRAMES:
            silence = np.full((voice.spec.n_mels, frames), voice.spec.log_floor, np.float32)
            voice(silence, temperature=0.0)

    def _free(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _measure(self, parts: list[Part], jobs: list[Job], started: float, took: float) -> None:
        self._metrics.batched(len(parts), max(part.window.width for part in parts) * len(parts))
        for part, job in zip(parts, jobs, strict=True):
            spec = self.voice(part.model).spec
            seconds = spec.samples(part.window.frames) / spec.sample_rate
            self._metrics.rendered(part.model, queued=started - job.arrived, took=took, audio=seconds)
