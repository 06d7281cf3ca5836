"""The real service with the real test voice, in this process or on a real socket."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.testclient import TestClient
from torch import Tensor

from server.app import create_app
from server.run import configuration
from server.settings import Settings
from vocoder import Vocoder, Window

TINY = Settings(voice="waveglow-tiny")  # the small seeded voice that is made for tests
Serving = Callable[[FastAPI], AbstractContextManager[str]]


@pytest.fixture(scope="session")
def voice() -> Vocoder:
    """The small seeded voice that is made for tests."""
    return Vocoder.load("waveglow-tiny")


@pytest.fixture(scope="module")
def client(voice: Vocoder) -> Iterator[TestClient]:
    """A client of the whole application, voice loaded."""
    with TestClient(create_app(TINY, load=lambda *_: voice)) as client:
        until(lambda: client.get("/health/ready").status_code == 200)
        yield client


class Gate(Vocoder):
    """A voice behind a gate: it renders once `opened` is set, and counts what it was asked."""

    def __init__(self, voice: Vocoder) -> None:
        super().__init__(voice.model, voice.header)
        self.opened = threading.Event()
        self.entered = 0

    def render(
        self, windows: Sequence[Window], *, seeds: Sequence[int], temperatures: Sequence[float]
    ) -> list[Tensor]:
        """The voice's, behind the gate; a warm-up has no noise, and goes straight through."""
        if any(temperatures):
            self.entered += 1
            assert self.opened.wait(30)
        return super().render(windows, seeds=seeds, temperatures=temperatures)


@pytest.fixture
def gate(voice: Vocoder) -> Iterator[Gate]:
    """A gated voice, opened at the end of the test so that nothing is left hanging."""
    gate = Gate(voice)
    yield gate
    gate.opened.set()


class Turnstile(Vocoder):
    """A voice that renders as many windows as were let through, and notes the seed and frames of each."""

    def __init__(self, voice: Vocoder) -> None:
        super().__init__(voice.model, voice.header)
        self.asked: list[tuple[int, int]] = []
        self._tickets = threading.Semaphore(0)

    def let(self, windows: int = 1000) -> None:
        """Let so many windows through."""
        self._tickets.release(windows)

    def render(
        self, windows: Sequence[Window], *, seeds: Sequence[int], temperatures: Sequence[float]
    ) -> list[Tensor]:
        """The voice's, one ticket a call; a warm-up has no noise, and goes straight through."""
        if any(temperatures):
            self.asked.append((seeds[0], windows[0].frames))
            assert self._tickets.acquire(timeout=30)
        return super().render(windows, seeds=seeds, temperatures=temperatures)


@pytest.fixture
def turnstile(voice: Vocoder) -> Iterator[Turnstile]:
    """A voice behind a turnstile, which turns freely at the end of the test."""
    turnstile = Turnstile(voice)
    yield turnstile
    turnstile.let()


@pytest.fixture(scope="session")
def serving() -> Serving:
    """`with serving(app) as url`: the application under uvicorn, on a socket of this machine."""
    return _serving


@contextmanager
def _serving(app: FastAPI) -> Iterator[str]:
    # The protocol is named because asyncio sets TCP_NODELAY only where it is; without it answers take 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        config = configuration(app, None)
        config.timeout_graceful_shutdown = 5
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            until(lambda: server.started and httpx2.get(f"{url}/health/ready").status_code == 200)
            yield url
        finally:
            server.should_exit = True
            thread.join(20)


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for something that another thread or process brings about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)
