"""A client that stamps what it hears in the very callback of the socket; times are `time.monotonic()`.

It keeps every moment at which bytes came, so that a listener can be played back afterwards (`listeners.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

__all__ = ["PATIENCE", "WAV_HEADER", "Address", "Answer", "Connection", "ask", "post"]

PATIENCE = 120.0  # seconds until an answer is given up
WAV_HEADER = 44  # bytes before the first sample

Address = tuple[str, int]


def post(path: str, body: bytes, content_type: str = "application/x-npy") -> bytes:
    """The bytes of a request."""
    head = f"POST {path} HTTP/1.1\r\nHost: load\r\nContent-Type: {content_type}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@dataclass
class Answer:
    """What became of a request that was due at a moment; `status` 0: no connection, or one that broke."""

    due: float
    sent: float = 0.0
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    head: float = 0.0  # when the whole head was there
    first: float | None = None  # when a byte after the header of a WAV file was there
    end: float = 0.0
    pieces: list[tuple[float, int]] = field(default_factory=list)  # moments, and bytes of the body by then
    expected: int = 0

    @property
    def received(self) -> int:
        """Bytes of the body."""
        return self.pieces[-1][1] if self.pieces else 0

    @property
    def complete(self) -> bool:
        """Whether it was audio, and all of it came."""
        return self.status == 200 and self.received == self.expected

    @property
    def seconds(self) -> float:
        """Of audio that came; 0 unless all of it did."""
        return float(self.headers["x-audio-duration"]) if self.complete else 0.0

    @property
    def first_after(self) -> float:
        """Seconds from its moment to the first audio."""
        assert self.first is not None
        return self.first - self.due

    @property
    def whole_after(self) -> float:
        """Seconds from its moment to the last byte."""
        return self.end - self.due

    @property
    def pause(self) -> float:
        """The longest time in which no byte came, from the first audio on."""
        heard = [at for at, _ in self.pieces if self.first is not None and at >= self.first]
        return max((after - before for before, after in pairwise(heard)), default=0.0)


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._done: asyncio.Future[None] | None = None
        self._answer, self._head, self._leave = Answer(0.0), b"", False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """For asyncio."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    async def ask(self, request: bytes, due: float | None = None, *, leave: bool = False) -> Answer:
        """Send a request and wait for its answer; `leave` goes away as soon as there is audio."""
        assert self._transport
        self._done = asyncio.get_running_loop().create_future()
        self._head, self._leave = b"", leave
        sent = time.monotonic()
        self._answer = Answer(sent if due is None else due, sent)
        self._transport.write(request)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._done
        return self._answer

    def data_received(self, data: bytes) -> None:
        """Stamp it; for asyncio."""
        now = time.monotonic()
        if not self._answer.status:
            self._head += data
            if b"\r\n\r\n" not in self._head:
                return
            head, _, data = self._head.partition(b"\r\n\r\n")
            self._begin(head.decode("latin-1"), now)
        self._count(len(data), now)

    def connection_lost(self, exc: Exception | None) -> None:
        """For asyncio; a broken answer shows by its length."""
        self._finish(time.monotonic())

    def close(self) -> None:
        """Hang up."""
        if self._transport:
            self._transport.close()

    def _begin(self, head: str, now: float) -> None:
        status, *lines = head.split("\r\n")
        fields = (line.partition(":") for line in lines)
        self._answer.headers = {name.lower(): value.strip() for name, _, value in fields}
        self._answer.status, self._answer.head = int(status.split()[1]), now
        self._answer.expected = int(self._answer.headers.get("content-length", sys.maxsize))

    def _count(self, length: int, now: float) -> None:
        answer = self._answer
        if length:
            answer.pieces.append((now, answer.received + length))
        if answer.status == 200 and answer.first is None and answer.received > WAV_HEADER:
            answer.first = now
        if answer.received >= answer.expected or (self._leave and answer.first):
            self._finish(now)

    def _finish(self, now: float) -> None:
        if self._done and not self._done.done():
            self._answer.end = now
            self._done.set_result(None)


async def ask(address: Address, request: bytes, due: float | None = None, *, leave: bool = False) -> Answer:
    """The same on a connection of its own, which is part of what takes time."""
    began = time.monotonic()
    try:
        _, connection = await asyncio.get_running_loop().create_connection(Connection, *address)
    except OSError:
        return Answer(began if due is None else due, began, end=time.monotonic())
    try:
        return await connection.ask(request, began if due is None else due, leave=leave)
    finally:
        connection.close()
