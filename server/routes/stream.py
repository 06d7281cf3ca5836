"""`WS /v1/vocode/stream`: frames in as an acoustic model emits them, audio out as soon as the halo allows.

```
client                                          server
{binary: a piece of mel, .npy or safetensors} ►
                                              ◄ {"type": "start", "sample_rate", "seed", …}
{binary} {binary} … {"type": "end"}           ► ◄ {binary: audio} …
                                              ◄ {"type": "done", "samples", "duration"}, close 1000
                        or at any time        ◄ {"type": "error", "error": {…}}, close 1008, 1011 or 1013
```

Two windows of a stream are on their way at most; until one of them has been sent, no further piece is read,
so that a client which does not listen is not listened to either.
"""

import asyncio
import json
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from server import failures
from server.delivery import Order, aside
from server.engine import DeadlineExceeded, Engine, Seat, finished
from server.metrics import Metrics
from server.parts import EnginePart, MetricsPart, SettingsPart
from server.queue import Job
from server.schemas import LiveQuery
from server.settings import Settings
from server.wire import Layout, MelTooLong, SlowBody, check_values, parse_mel
from vocoder import Window, Windows
from vocoder.errors import InvalidInput, InvalidMel

__all__ = ["router"]

router = APIRouter(prefix="/v1")

log = logging.getLogger("server.routes.stream")

AHEAD = 2  # windows on their way


@router.websocket("/vocode/stream")
async def stream(
    socket: WebSocket, engine: EnginePart, settings: SettingsPart, metrics: MetricsPart
) -> None:
    """A conversation as drawn above; the query is that of `POST /v1/vocode`, but for `stream`."""
    await socket.accept()
    try:
        with metrics.streaming():
            await _converse(socket, engine, settings, metrics)
    except* Exception as group:  # noqa: BLE001  # whatever it is, it is for the caller that waits
        if isinstance(error := _first(group), DeadlineExceeded):
            metrics.aborted("rendering")
        await _refuse(socket, error)


async def _converse(socket: WebSocket, engine: Engine, settings: Settings, metrics: Metrics) -> None:
    query = LiveQuery.model_validate(dict(socket.query_params))
    socket.state.format = query.format
    profile = await engine.profile(query.model)
    order = Order.of(profile, query, query.format)
    windows = Windows(halo=profile.halo, chunk=settings.chunk_frames, first=settings.first_frames)
    speech = _Speech(socket, order, query.layout, windows, settings, metrics)
    try:
        piece = await speech.hear()
        with engine.admit(settings.first_frames) as seat:
            seat.rest()
            await speech.begin()
            async with asyncio.TaskGroup() as both:
                both.create_task(speech.listen(seat, piece))
                both.create_task(speech.speak())
    except* WebSocketDisconnect:
        if speech.frames:
            metrics.aborted("sending" if speech.said else "queued")
    finally:
        speech.encoder.close()


@dataclass
class _Speech:
    """One conversation: what was heard, what is on its way, what was said."""

    socket: WebSocket
    order: Order
    layout: Layout
    windows: Windows
    settings: Settings
    metrics: Metrics
    frames: int = 0
    said: int = 0
    room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AHEAD))
    ahead: "asyncio.Queue[Job | None]" = field(default_factory=asyncio.Queue)

    def __post_init__(self) -> None:
        self.encoder = self.order.encoder()
        self.at_work = self.order.profile.denoiser.at(self.order.denoise)

    async def begin(self) -> None:
        """Say what is to come."""
        await self._tell(
            type="start",
            request_id=self.socket.scope["state"]["request_id"],
            model=self.order.profile.name,
            seed=self.order.seed,
            temperature=self.order.temperature,
            sample_rate=self.encoder.sample_rate,
            format=self.order.format,
        )

    async def hear(self) -> torch.Tensor | None:
        """The next piece `[M, L]`; None at the end."""
        try:
            async with asyncio.timeout(self.settings.request_timeout):
                message = await self.socket.receive()
        except TimeoutError:
            raise SlowBody(f"a piece must come within {self.settings.request_timeout:g} s") from None
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        if (data := message.get("bytes")) is None:
            _require_end(message.get("text") or "")
            return None
        return await asyncio.to_thread(self._piece, data)

    def _piece(self, data: bytes) -> torch.Tensor:
        spec = self.order.profile.spec
        mel = parse_mel(data, spec, layout=self.layout, max_frames=self.settings.max_frames)
        return torch.from_numpy(check_values(mel, spec))

    async def listen(self, seat: Seat, piece: torch.Tensor | None) -> None:
        """Cut what is heard into windows, and have them rendered."""
        while piece is not None:
            self.frames += piece.shape[1]
            if self.frames > (most := self.settings.max_stream_frames):
                raise MelTooLong(f"a stream has at most {most} frames")
            await self._put(seat, self.windows.push(piece))
            piece = await self.hear()
        if not self.frames:
            raise InvalidMel("the stream ended before a frame came; expected at least one")
        await self._put(seat, self.windows.end())
        self.ahead.put_nowait(None)

    async def _put(self, seat: Seat, windows: Iterable[Window]) -> None:
        for window in windows:
            await self.room.acquire()
            self.ahead.put_nowait(await seat.put(self.order.part(window), self.settings.request_timeout))

    async def speak(self) -> None:
        """Send what is rendered, in order, and say goodbye."""
        while job := await self.ahead.get():
            rendering = await finished(job, self.settings.request_timeout)
            data = await aside(self._encoded, rendering.audio)
            if not self.said:
                seconds = time.perf_counter() - self.socket.state.started
                self.metrics.first_audio(self.order.profile.name, seconds)
            self.said += len(rendering.audio)
            await self._send(data)
            self.room.release()
        await self._send(await aside(self._last))
        rate = self.order.profile.spec.sample_rate
        samples = -(-self.said * self.encoder.sample_rate // rate)
        await self._tell(type="done", samples=samples, duration=samples / self.encoder.sample_rate)
        await self.socket.close()

    def _encoded(self, samples: torch.Tensor) -> bytes:
        made = self.at_work.push(samples)
        return self.encoder.push(made) if len(made) else b""

    def _last(self) -> bytes:
        held = self.at_work.finish()
        return (self.encoder.push(held) if len(held) else b"") + self.encoder.finish()

    async def _send(self, data: bytes) -> None:
        if data:
            await self.socket.send_bytes(data)

    async def _tell(self, **what: object) -> None:
        await self.socket.send_text(json.dumps(what))


def _require_end(text: str) -> None:
    """The one thing that a client may say in words."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    if said != {"type": "end"}:
        raise InvalidInput('a text message must be {"type": "end"}; pieces of mel are binary messages')


async def _refuse(socket: WebSocket, error: Exception) -> None:
    """Tell the client what went wrong and close, if it is still there."""
    failure, body = failures.explain(socket.scope, error)
    if failure.status == 500:
        fields = {"request_id": socket.scope["state"]["request_id"]}
        log.error("unforeseen", exc_info=error, extra={"fields": fields})
    code = {True: 1013, False: 1011}[failure.status in (429, 503)] if failure.status >= 429 else 1008
    try:
        await socket.send_text(json.dumps({"type": "error", **body}))
        await socket.close(code)
    except (RuntimeError, WebSocketDisconnect):  # it has gone, or is going
        return


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    """What went wrong first, of what went wrong together."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error
