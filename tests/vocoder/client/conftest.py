"""Both clients in one manner, a service to ask, and a server that says whatever it is told to."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import pytest

from server.app import create_app
from tests.server.conftest import TINY, Serving, gate, serving, voice
from vocoder import Vocoder
from vocoder.client import AsyncAudioStream, AsyncClient, Audio, AudioStream, Client

__all__ = ["gate", "serving", "voice"]  # fixtures of the service's own tests


class Blocking(Client):
    """`Client`, and what a crowd of its calls at once gives."""

    def crowd(self, mels: Sequence[Any], **wishes: Any) -> list[Audio]:
        """Each mel vocoded, all at once."""
        with ThreadPoolExecutor(len(mels)) as pool:
            return list(pool.map(lambda mel: self.vocode(mel, **wishes), mels))


class Awaited:
    """`AsyncClient` in the manner of `Client`: every call is awaited on a loop of its own."""

    def __init__(self, url: str, **options: Any) -> None:
        self._client, self._loop = AsyncClient(url, **options), asyncio.Runner()

    def __enter__(self) -> Self:
        self._loop.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run(self._client.close())
        self._loop.__exit__(None, None, None)

    def __repr__(self) -> str:
        return repr(self._client)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **wishes: self._loop.run(getattr(self._client, name)(*args, **wishes))

    @contextmanager
    def stream(self, mel: Any, **wishes: Any) -> Iterator["AwaitedStream"]:
        """The stream, iterated in the same manner."""
        entered = self._client.stream(mel, **wishes)
        audio = self._loop.run(_awaited(entered.__aenter__))
        try:
            yield AwaitedStream(audio, self._loop)
        finally:
            self._loop.run(_awaited(entered.__aexit__, None, None, None))

    def crowd(self, mels: Sequence[Any], **wishes: Any) -> list[Audio]:
        """Each mel vocoded, all at once."""

        async def gathered() -> list[Audio]:
            return await asyncio.gather(*(self._client.vocode(mel, **wishes) for mel in mels))

        return self._loop.run(gathered())


class AwaitedStream:
    """`AsyncAudioStream`, iterated without `async`."""

    def __init__(self, audio: AsyncAudioStream, loop: asyncio.Runner) -> None:
        self._audio, self._loop = audio, loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._audio, name)

    def __iter__(self) -> Iterator[bytes]:
        chunks = aiter(self._audio)
        with contextlib.suppress(StopAsyncIteration):
            while True:
                yield self._loop.run(_awaited(chunks.__anext__))

    def read(self) -> bytes:
        """All of it."""
        return self._loop.run(self._audio.read())


async def _awaited(call: Callable[..., Any], *args: Any) -> Any:
    return await call(*args)


AnyClient = Blocking | Awaited
AnyStream = AudioStream | AwaitedStream
Connect = Callable[..., AnyClient]


@pytest.fixture(params=[Blocking, Awaited], ids=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """`connect(url, **options)`: a client of either kind, closed at the end."""
    with ExitStack() as open_clients:
        yield lambda url, **options: open_clients.enter_context(request.param(url, **options))


@pytest.fixture(scope="module")
def url(voice: Vocoder, serving: Serving) -> Iterator[str]:
    """The whole service with the test voice, on a socket."""
    with serving(create_app(TINY, load=lambda *_: voice)) as place:
        yield place


class Script:
    """A server that gives each connection the next answer, byte for byte, and hangs up.

    `answers` are bytes; None is a reset without a word, and a number so many seconds of silence. `requests`
    are the heads and bodies that came.
    """

    def __init__(self, *answers: bytes | float | None) -> None:
        self._answers, self.requests = answers, list[tuple[bytes, bytes]]()
        self._door = socket.create_server(("127.0.0.1", 0))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self.url = f"http://127.0.0.1:{self._door.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        self._thread.join(10)

    def _serve(self) -> None:
        for answer in self._answers:
            try:
                caller, _ = self._door.accept()
            except OSError:
                return
            with caller, caller.makefile("rb") as heard:
                self.requests.append(_request(heard))
                self._answer(caller, answer)

    def _answer(self, caller: socket.socket, answer: bytes | float | None) -> None:
        if isinstance(answer, bytes):
            caller.sendall(answer)
        elif answer is None:  # a reset instead of an orderly end
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            self._ended.wait(answer)


def _request(heard: Any) -> tuple[bytes, bytes]:
    head = b""
    while (line := heard.readline()).strip():
        head += line
    lengths = (line[15:] for line in head.lower().splitlines() if line.startswith(b"content-length:"))
    return head, heard.read(int(next(lengths, 0)))


def answer(status: int, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    """An HTTP answer, which may promise more than it holds."""
    promised = len(body) if length is None else length
    lines = (f"HTTP/1.1 {status} So", f"Content-Length: {promised}", "Connection: close", *headers, "", "")
    return "\r\n".join(lines).encode() + body


PCM_HEADERS = (
    "Content-Type: audio/pcm;rate=8000;channels=1",
    "X-Sample-Rate: 8000",
    "X-Audio-Samples: 4",
    "X-Audio-Duration: 0.0005",
    "X-Seed: 3",
)


def spoken() -> bytes:
    """An answer of four raw samples."""
    return answer(200, struct.pack("<4h", 0, 16384, -16384, -32768), *PCM_HEADERS)
