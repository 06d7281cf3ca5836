"""One thread that owns the model, and the way to it from the event loop.

```
event loop    admit ──► render ══ await ═══════════════════════► Rendering
                           │ queue, bounded by requests and frames    ▲
worker thread   load, warm └──► voice(mel) ─────────────────► future ─┘
```

Only the worker renders, and it waits for nothing but the queue: not for a socket, not for an encoder. Only
the event loop waits for the worker.
"""

import logging
import threading
import time
from asyncio import timeout, wrap_future
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from server.queue import Job, NotReady, Order, Queue, Rendering

if TYPE_CHECKING:
    from vocoder import Vocoder

__all__ = ["DeadlineExceeded", "Engine"]

log = logging.getLogger("server.engine")

WARM_UP_FRAMES = (16, 256)


class DeadlineExceeded(Exception):
    """The audio was not ready in time."""


class Engine:
    """Renders orders one after another. `load` builds the voice; it is called once, in the worker thread.

    `failure` is what kept the voice from being loaded, if anything did.
    """

    def __init__(self, load: Callable[[], "Vocoder"], queue: Queue, *, threads: int | None = None) -> None:
        self._load, self._threads = load, threads
        self._voice: Vocoder | None = None
        self._worker = threading.Thread(target=self._work, name="engine", daemon=True)
        self.queue = queue
        self.failure: Exception | None = None

    def start(self) -> None:
        """Start the worker, which loads and warms the voice; `require_ready` says when that is done."""
        self._worker.start()

    @property
    def voice(self) -> "Vocoder":
        """The loaded voice, for what it says of itself, or `NotReady`. Only the worker may render with it."""
        if self._voice is None:
            raise NotReady("the voice could not be loaded" if self.failure else "the voice is still loading")
        return self._voice

    def require_ready(self) -> None:
        """Raise `NotReady` unless orders are taken, now or when the queue has room again."""
        _ = self.voice
        self.queue.require_open()

    async def render(self, order: Order, seconds: float) -> Rendering:
        """Queue the order and wait for its audio, at most so many seconds: then `DeadlineExceeded`.

        Raises what `Queue.put` raises, and what the voice raises.
        """
        job = Job(order)
        self.queue.put(job)
        try:
            async with timeout(seconds):
                return await wrap_future(job.future)
        except TimeoutError:
            raise DeadlineExceeded(f"the audio was not ready within {seconds:g} s") from None
        finally:
            self.queue.withdraw(job)

    def stop(self, seconds: float) -> None:
        """Close the queue, give up what waits, and wait for the worker, at most so many seconds. Blocks."""
        self.queue.close()
        self.queue.abandon()
        self._worker.join(seconds)

    def _work(self) -> None:
        try:
            voice = self._voice = self._prepare()
        except Exception as error:
            log.exception("the voice could not be loaded")
            self.failure = error
            return
        while job := self.queue.next():
            if job.future.set_running_or_notify_cancel():
                self._render(voice, job)

    def _prepare(self) -> "Vocoder":
        if self._threads:  # OpenMP keeps this number for each thread, so it has to be set in this one
            torch.set_num_threads(self._threads)
        started, voice = time.monotonic(), self._load()
        for frames in WARM_UP_FRAMES:
            voice(np.full((voice.spec.n_mels, frames), voice.spec.log_floor, np.float32))
        log.info("voice %s is ready on %s after %.1f s", voice.name, voice.device, time.monotonic() - started)
        return voice

    def _render(self, voice: "Vocoder", job: Job) -> None:
        started = time.monotonic()
        try:
            audio = voice(job.order.mel, seed=job.order.seed, temperature=job.order.temperature)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is for the caller that waits
            self.queue.done()
            job.future.set_exception(error)
            return
        took = time.monotonic() - started
        self.queue.done(job.order.frames / max(took, 1e-6))
        job.future.set_result(Rendering(audio, started - job.arrived, took))
