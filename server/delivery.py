"""From a mel to the bytes of audio: windows to a worker, denoised, encoded, all of it as it comes.

```
mel ─► windows ─► worker ─► denoiser ─► encoder ─► bytes
       one ahead            a thread of their own, never the event loop's nor the worker's
```
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import numpy as np
import torch
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send
from torch import Tensor

import vocoder
from server.engine import Engine, Profile, Seat
from server.queue import Part, Rendering
from server.schemas import Wishes
from vocoder import Window, Windows

if TYPE_CHECKING:
    from vocoder.denoise import Subtraction

__all__ = ["AudioStream", "Delivery", "Order", "Tally", "aside"]

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Order:
    """What is wanted of a model: every wish that a request leaves open is decided here, once."""

    profile: Profile
    seed: int
    temperature: float
    denoise: float
    format: str
    sample_rate: int | None

    @classmethod
    def of(cls, profile: Profile, wishes: Wishes, format: str) -> "Order":  # noqa: A002
        """A request's wishes; the seed is drawn if none is given."""
        scale = wishes.noise_scale
        return cls(
            profile,
            secrets.randbits(32) if wishes.seed is None else wishes.seed,
            profile.header.temperature if scale is None else scale,
            wishes.denoise,
            format,
            wishes.sample_rate,
        )

    def part(self, window: Window, clip: int = 0) -> Part:
        """A window of one of its clips, to be rendered."""
        return Part(self.profile.name, window, self.seed + clip, self.temperature)

    def encoder(self, frames: int | None = None) -> vocoder.audio.Encoder:
        """Of audio of so many frames; `InvalidAudio` for a format or a rate that cannot be had."""
        samples = None if frames is None else self.profile.spec.samples(frames)
        rate = self.profile.spec.sample_rate
        return vocoder.audio.Encoder(self.format, rate, out_rate=self.sample_rate, samples=samples)


@dataclass
class Tally:
    """Seconds that a request waited for its first window, and that its windows took."""

    queued: float | None = None
    rendered: float = 0.0

    async def count(self, renderings: AsyncIterator[Rendering]) -> AsyncGenerator[Tensor]:
        """Pass the audio on."""
        async for rendering in renderings:
            self.queued = rendering.queued if self.queued is None else self.queued
            self.rendered += rendering.rendered
            yield rendering.audio


@dataclass
class Delivery:
    """One clip `[M, L]` on its way; `pieces` may be iterated once, and `encoder` says what they will be."""

    engine: Engine
    order: Order
    mel: np.ndarray
    encoder: vocoder.audio.Encoder
    chunk: int
    seconds: float
    first: int | None = None
    clip: int = 0
    tally: Tally = field(default_factory=Tally)

    @property
    def frames(self) -> int:
        """L."""
        return int(self.mel.shape[-1])

    async def pieces(self, seat: Seat) -> AsyncGenerator[bytes]:
        """The bytes of the file, in the order and as soon as they are made."""
        at_work = self.order.profile.denoiser.at(self.order.denoise)
        renderings, sent = self.engine.chunks(seat, self._parts(), self.seconds), 0
        try:
            async for made in self.tally.count(renderings):
                if data := await aside(_push, self.encoder, at_work, made):
                    sent += len(data)
                    seat.place.delivered = sent == self.encoder.total_bytes
                    yield data
            yield await aside(_finish, self.encoder, at_work)
        finally:
            self.encoder.close()

    def _parts(self) -> Iterator[Part]:
        halo, chunk = self.order.profile.halo, self.chunk
        windows = Windows(halo=halo, chunk=chunk, first=self.first or chunk)
        for window in windows.push(torch.from_numpy(self.mel)):
            yield self.order.part(window, self.clip)
        for window in windows.end():
            yield self.order.part(window, self.clip)


async def aside(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do it in another thread, and wait for its end even if cancelled: then what it works on may be freed."""
    done = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        await asyncio.wait([done])
        raise


class AudioStream(StreamingResponse):
    """A response that closes its generator whatever becomes of the client, at once."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, and end what makes it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self.body_iterator.aclose()  # type: ignore[attr-defined]  # a generator, as we make it


def _push(encoder: vocoder.audio.Encoder, at_work: "Subtraction", made: Tensor) -> bytes:
    denoised = at_work.push(made)
    return encoder.push(denoised) if len(denoised) else b""


def _finish(encoder: vocoder.audio.Encoder, at_work: "Subtraction") -> bytes:
    last = at_work.finish()
    return (encoder.push(last) if len(last) else b"") + encoder.finish()
