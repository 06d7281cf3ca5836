"""The machine under load: its cores shared out, the service's process on some, what is asked of it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from benchmarks.load.client import Address, Answer, ask, post

__all__ = ["Bench", "Cores", "Service"]

ROOT = Path(__file__).parents[2]
START_SECONDS = 120


@dataclass(frozen=True)
class Cores:
    """Those of the service and those of the client; none where the system lets nobody choose."""

    service: frozenset[int]
    client: frozenset[int]

    @classmethod
    def shared_out(cls) -> Cores:
        """The last for the client and the others for the service; one and the same if there is but one."""
        if sys.platform != "linux":
            return cls(frozenset(), frozenset())
        every = sorted(os.sched_getaffinity(0))
        return cls(frozenset(every[:-1] or every), frozenset(every[-1:]))

    def __str__(self) -> str:
        """A sentence for the report."""
        if not self.client:
            return "cores not pinned"
        if self.client == self.service:
            return "one core for service and client alike"
        return f"service on {_named(self.service)}, client on {_named(self.client)}"

    @contextlib.contextmanager
    def for_service(self) -> Iterator[None]:
        """Processes started inside are the service's; this one is the client's afterwards."""
        _pin(self.service)
        try:
            yield
        finally:
            _pin(self.client)


@dataclass
class Service:
    """A running one."""

    address: Address
    ready_after: float  # seconds from the start of its process

    async def ask(self, request: bytes, due: float | None = None, *, leave: bool = False) -> Answer:
        """Send a request on a connection of its own."""
        return await ask(self.address, request, due, leave=leave)

    def metrics(self) -> dict[str, float]:
        """What it counts, by name and labels as they are exposed."""
        lines = _get(self.address, "/metrics")[1].decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def resident(self) -> float:
        """Its resident set, in MB."""
        return self.metrics()["process_resident_memory_bytes"] / 1e6


@dataclass
class Bench:
    """What is to be driven, and how long each measurement takes."""

    voice: str
    device: str
    threads: int
    seconds: float
    mel: np.ndarray  # [M, L] of the voice's spec
    seed: int = 0
    concurrency: tuple[int, ...] = (1, 2, 4, 8, 16)
    budgets: tuple[int, ...] = (0, 512, 2048)
    soak: float = 0.0  # minutes
    cores: Cores = field(default_factory=Cores.shared_out)

    @contextlib.asynccontextmanager
    async def serving(self, **settings: object) -> AsyncIterator[Service]:
        """The service with these settings, ready and pinned, until the block ends."""
        with tempfile.TemporaryFile() as log:
            started, address = time.monotonic(), ("127.0.0.1", _free_port())
            process = self._start(address, settings, log)
            try:
                await asyncio.to_thread(_until_ready, address, process, log)
                yield Service(address, time.monotonic() - started)
            finally:
                await asyncio.to_thread(_stop, process)

    def request(self, frames: int, query: str = "") -> bytes:
        """A mel of so many frames, to be spoken."""
        return post(f"/v1/vocode?{query}", self.body(frames))

    def body(self, frames: int) -> bytes:
        """A mel of so many frames as a file; the mel again and again, if it is longer."""
        file = io.BytesIO()
        times = -(-frames // self.mel.shape[1])
        np.save(file, np.ascontiguousarray(np.tile(self.mel, times)[:, :frames], np.float32))
        return file.getvalue()

    def _start(
        self, address: Address, settings: dict[str, object], log: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        own = {"port": address[1], "voice": self.voice, "device": self.device, "threads": self.threads}
        given = {f"VOCODER_{name.upper()}": str(value) for name, value in (own | settings).items()}
        command = [sys.executable, "-m", "vocoder.cli", "serve"]
        with self.cores.for_service():
            return subprocess.Popen(command, cwd=ROOT, env=os.environ | given, stderr=log)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _until_ready(address: Address, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    while not _is_ready(address):
        if process.poll() is not None or time.monotonic() > until:
            log.seek(0)
            raise RuntimeError(f"the service does not get ready:\n{log.read().decode()[-2000:]}")
        time.sleep(0.05)


def _pin(cores: frozenset[int]) -> None:
    if cores and sys.platform == "linux":
        os.sched_setaffinity(0, cores)


def _named(cores: frozenset[int]) -> str:
    first, last = min(cores), max(cores)
    return f"core {first}" if first == last else f"cores {first} to {last}"


def _get(address: Address, path: str) -> tuple[int, bytes]:
    caller = http.client.HTTPConnection(*address, timeout=10)
    with contextlib.closing(caller):
        caller.request("GET", path)
        answer = caller.getresponse()
        return answer.status, answer.read()


def _is_ready(address: Address) -> bool:
    try:
        return _get(address, "/health/ready")[0] == 200
    except OSError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
