"""The process that `vocoder serve` runs: on a real port, with real signals."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from tests.server.conftest import until
from tests.server.parcels import NPY, call, forged, header, heard, mel, npy

ROOT = Path(__file__).parents[2]


@contextmanager
def _process(**settings: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    given = {"PORT": str(port), "VOICE": "waveglow-tiny", "THREADS": "1", **settings}
    named = {f"VOCODER_{name}": value for name, value in given.items()}
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", "from server.run import serve; serve()"],
        env={**os.environ, "PYTHONPATH": str(ROOT), **named},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.kill()
        process.wait()
        assert process.stderr
        process.stderr.close()


def _answers(url: str, path: str = "/health/ready") -> bool:
    try:
        return httpx2.get(url + path, timeout=5).status_code == 200
    except httpx2.TransportError:
        return False


def _logged(process: "subprocess.Popen[str]") -> list[dict[str, Any]]:
    assert process.stderr
    return [json.loads(line) for line in process.stderr.read().splitlines()]


def test_serves_refuses_and_ends_in_good_order() -> None:
    """Good and bad requests over a socket; after SIGTERM not ready, what was taken served, then gone."""
    with (
        _process(DRAIN_NOTICE="1.0", MAX_REQUESTS="1", MAX_FRAME="7") as (url, process),
        httpx2.Client(timeout=30) as http,
    ):
        until(lambda: _answers(url), 60)
        body = npy(mel(50))
        response = http.post(f"{url}/v1/vocode?seed=1", content=body, headers=NPY)
        assert (response.status_code, len(response.content)) == (200, 44 + 2 * 256 * 50)
        _a_huge_upload_is_refused_from_its_first_bytes(url)
        assert http.post(f"{url}/v1/vocode?seed=1", content=body, headers=NPY).content == response.content

        taken: list[int] = []
        long = threading.Thread(target=lambda: taken.append(_long(url)))
        long.start()
        # A body is read only where there is room for it, so an empty one tells whether there is.
        until(lambda: http.post(f"{url}/v1/vocode", headers=NPY).status_code == 429)
        signalled = time.monotonic()
        process.send_signal(signal.SIGTERM)
        until(lambda: http.get(f"{url}/health/ready").status_code == 503, 5)
        assert http.get(f"{url}/health/live").status_code == 200
        process.wait(20)
        assert time.monotonic() - signalled < 15
        long.join()
        assert taken == [200]

        lines = _logged(process)
        assert any(line["message"].startswith("VOCODER_MAX_FRAME is set") for line in lines)
        access = [line for line in lines if line.get("path") == "/v1/vocode"]
        assert [line["status"] for line in access[:3]] == [200, 413, 200]
        assert access[1]["error"] == "mel_too_long"
        assert all(line["request_id"] for line in access)
        assert not any(line["level"] == "error" for line in lines)


def test_voice_that_cannot_be_loaded_ends_the_process() -> None:
    """A service whose voice is missing does not linger: it exits, non-zero, and says why."""
    with _process(VOICE="no-such-voice") as (_, process):
        assert process.wait(60) != 0
        assert process.stderr
        assert "no-such-voice" in process.stderr.read()


def _long(url: str) -> int:
    return httpx2.post(f"{url}/v1/vocode", content=npy(mel(5168)), headers=NPY, timeout=30).status_code


def _a_huge_upload_is_refused_from_its_first_bytes(url: str) -> None:
    """A million frames, chunked: the answer comes after the header and one block of the 320 MB."""
    start = forged(header("(80, 1000000)"), bytes(1000))
    with call(url, "Transfer-Encoding: chunked") as caller:
        began = time.perf_counter()
        caller.sendall(b"%x\r\n%b\r\n" % (len(start), start))
        answer = heard(caller)
        assert time.perf_counter() - began < 0.5
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"mel_too_long" in answer
