"""The real service with the real test voice, in this process or on a real socket."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.testclient import TestClient
from torch import Tensor

from server.app import create_app
from server.settings import Settings
from vocoder import Vocoder
from vocoder.synthesis import Mel

Serving = Callable[[FastAPI], AbstractContextManager[str]]


@pytest.fixture(scope="session")
def voice() -> Vocoder:
    """The small seeded voice that is made for tests."""
    return Vocoder.load("waveglow-tiny")


@pytest.fixture(scope="module")
def client(voice: Vocoder) -> Iterator[TestClient]:
    """A client of the whole application, voice loaded."""
    with TestClient(create_app(Settings(), load=lambda: voice)) as client:
        until(lambda: client.get("/health/ready").status_code == 200)
        yield client


class Gate(Vocoder):
    """A voice behind a gate: it renders once `opened` is set, and counts what it was asked."""

    def __init__(self, voice: Vocoder) -> None:
        super().__init__(voice.model, voice.header)
        self.opened = threading.Event()
        self.entered = 0

    def __call__(self, mel: Mel, **wishes: Any) -> Tensor:
        if wishes:  # the warm-up has none, and goes straight through
            self.entered += 1
            assert self.opened.wait(30)
        return super().__call__(mel, **wishes)


@pytest.fixture
def gate(voice: Vocoder) -> Iterator[Gate]:
    """A gated voice, opened at the end of the test so that nothing is left hanging."""
    gate = Gate(voice)
    yield gate
    gate.opened.set()


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
        config = uvicorn.Config(app, http="h11", ws="none", log_config=None, timeout_graceful_shutdown=5)
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
