"""Clients that are slow on purpose, or gone without a word: their connections end in bounded time.

uvicorn waits for ever for a client to send the head of its request, and for one to take its answer, even when
the connection is closed otherwise: what is unsent is still to be sent. Here both are on a clock.
"""

import asyncio
import socket
import sys
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

if sys.platform == "linux":
    import fcntl
    import termios

__all__ = ["Patience", "WatchedTransport", "patient"]

CROWDED = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
LOOKS = 4  # in a write timeout, so that it is kept to within a quarter of it
SEND_BUFFER = 256 * 1024  # bytes of the system's for each connection; it would let them grow to 4 MiB


class WatchedTransport:
    """A transport that is aborted once its peer has taken no byte of what waits for so many seconds.

    Everything else is the transport's own, so it can stand in its place, in a WebSocket as in HTTP. What a
    peer has taken is what was written less what still waits, here or (where Linux tells) in the system's own
    buffer, which is kept small.
    """

    def __init__(self, transport: asyncio.Transport, timeout: float) -> None:
        self._transport, self._timeout = transport, timeout
        self._written, self._taken, self._since = 0, 0, 0.0
        self._loop = asyncio.get_running_loop()
        self._clock: asyncio.TimerHandle | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write as the transport does; the clock runs while something waits."""
        self._transport.write(data)
        self._written += len(data)
        if self._clock is None and self._waiting:
            self._taken, self._since = self._progress(), self._loop.time()
            self._set()

    @property
    def _waiting(self) -> int:
        return self._transport.get_write_buffer_size()

    def _progress(self) -> int:
        return self._written - self._waiting - _unacknowledged(self._transport.get_extra_info("socket"))

    def _set(self) -> None:
        self._clock = self._loop.call_later(self._timeout / LOOKS, self._look)

    def _look(self) -> None:
        self._clock = None
        if not self._waiting:
            return
        now, taken = self._loop.time(), self._progress()
        if taken > self._taken:
            self._taken, self._since = taken, now
        if now - self._since >= self._timeout:
            self._transport.abort()
        else:
            self._set()


class Patience(H11Protocol):
    """HTTP/1.1 with an end to it: `write_timeout` and `header_timeout` in seconds, set by `patient`.

    A complete request head must have come within `header_timeout` of the connection or of the first byte of a
    later head; so must, after an answer, the rest of a body that nobody read.
    """

    write_timeout: float
    header_timeout: float
    _head_clock: asyncio.TimerHandle | None = None
    _upgraded = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Watch the transport, and wait for a head."""
        if (connection := transport.get_extra_info("socket")) is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        watched = WatchedTransport(transport, self.write_timeout)
        super().connection_made(cast("asyncio.Transport", watched))
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Take what came, and see whether a head is begun or ended."""
        super().data_received(data)
        self._mind()

    def on_response_complete(self) -> None:
        """See whether the request has ended as well."""
        super().on_response_complete()
        self._mind()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: Any) -> None:
        """Stop the clock for good: what follows is not HTTP. WebSockets count among the connections, too."""
        self._stop()
        self._upgraded = True
        if self.limit_concurrency is None or len(self.connections) < self.limit_concurrency:
            return super().handle_websocket_upgrade(event)
        self.transport.write(CROWDED)
        return self.transport.close()

    def _mind(self) -> None:
        if self._upgraded or not self._incomplete():
            self._stop()
        elif self._head_clock is None:
            self._expect_head()

    def _incomplete(self) -> bool:
        idle = self.cycle is None or self.cycle.response_complete
        unread = self.conn.their_state in (h11.IDLE, h11.SEND_BODY)
        return idle and unread and (self.cycle is None or self._begun())

    def _begun(self) -> bool:
        return self.conn.their_state is h11.SEND_BODY or bool(self.conn.trailing_data[0])

    def _expect_head(self) -> None:
        self._head_clock = self.loop.call_later(self.header_timeout, self._give_up)

    def _give_up(self) -> None:
        self._head_clock = None
        self.transport.abort()

    def _stop(self) -> None:
        if self._head_clock is not None:
            self._head_clock.cancel()
            self._head_clock = None


def _unacknowledged(connection: socket.socket | None) -> int:
    """Bytes that the system holds for the peer; it asks for more in steps too long for a slow reader."""
    if connection is None or sys.platform != "linux":
        return 0
    try:
        held = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):  # it is closed
        return 0
    return int.from_bytes(held, sys.byteorder)


def patient(*, write_timeout: float, header_timeout: float) -> type[Patience]:
    """The protocol with these timeouts, in seconds, for `uvicorn.Config(http=…)`."""
    timeouts = {"write_timeout": write_timeout, "header_timeout": header_timeout}
    return type("PatientProtocol", (Patience,), timeouts)
