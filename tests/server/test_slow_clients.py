"""Clients that do not read, or do not finish speaking: they lose their connection, nobody else notices."""

import contextlib
import signal
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from fastapi import FastAPI
from websockets.sync.client import connect

from server.app import create_app
from server.settings import Settings
from tests.server.conftest import Serving, until
from tests.server.parcels import NPY, mel, npy
from tests.server.test_process import _answers, _logged, _process
from vocoder import Vocoder

FRAMES = 100  # of which the answer is 890 KB: more than the sockets below hold
QUERY = "/v1/vocode?format=wav_f32&sample_rate=192000"
LENGTH = 4 * -(-FRAMES * 256 * 192_000 // 22_050)  # of its samples, in bytes
LOADED = 50


def _app(voice: Vocoder, **settings: Any) -> FastAPI:
    return create_app(Settings(voice="waveglow-tiny", **settings), load=lambda *_: voice)


def _caller(url: str) -> socket.socket:
    """A connection whose own buffer is as small as the system allows."""
    place = urlsplit(url)
    caller = socket.socket()
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    caller.settimeout(10)
    caller.connect((str(place.hostname), int(place.port or 80)))
    return caller


def _post(url: str, target: str = QUERY, *headers: str, frames: int = FRAMES) -> socket.socket:
    """A request that is sent whole, whose answer is left to the test to read, or not."""
    caller, body = _caller(url), npy(mel(frames))
    head = (f"POST {target} HTTP/1.1", "Host: here", "Content-Type: application/x-npy", *headers)
    caller.sendall("\r\n".join((*head, f"Content-Length: {len(body)}", "", "")).encode() + body)
    return caller


def _rest(caller: socket.socket) -> int | None:
    """How many bytes still come; None if the connection is reset, or given up in silence."""
    length = 0
    with contextlib.suppress(ConnectionResetError, TimeoutError):  # a kernel tells no peer of an orphan's end
        while data := caller.recv(65_536):
            length += len(data)
        return length
    return None


def _counted(url: str, series: str) -> float:
    lines = httpx2.get(f"{url}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(series))


@contextlib.contextmanager
def _deaf(url: str, number: int, *headers: str) -> Iterator[list[socket.socket]]:
    """So many clients that ask and do not read."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(_post(url, QUERY, *headers)) for _ in range(number)]


@contextlib.contextmanager
def _within(least: float, most: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert least <= time.monotonic() - began <= most


def _p99(http: httpx2.Client, url: str, number: int = 100) -> float:
    took = []
    for _ in range(number):
        began = time.perf_counter()
        assert http.get(f"{url}/health/live").status_code == 200
        took.append(time.perf_counter() - began)
    return statistics.quantiles(took, n=100)[98]


def _fetch(http: httpx2.Client, url: str) -> bytes:
    answer = http.post(f"{url}/v1/vocode?seed=1", content=npy(mel(8)), headers=NPY)
    assert answer.status_code == 200
    return answer.content


def test_fifty_that_do_not_read_disturb_nobody(voice: Vocoder, serving: Serving) -> None:
    """Their audio is made and waits for them; others are served as ever; then they are gone."""
    app = _app(voice, write_timeout=1.5)
    with serving(app) as url, httpx2.Client(timeout=30) as http:
        expected = _fetch(http, url)
        with _deaf(url, LOADED) as deaf:
            until(lambda: _counted(url, 'vocoder_requests_total{code="200",format="wav_f32"') == LOADED)
            assert _p99(http, url) < 0.05
            assert _fetch(http, url) == expected
            open_files = _counted(url, "process_open_fds")
            until(lambda: _counted(url, "process_open_fds") <= open_files - LOADED + 5, 5)
            cut = [_rest(caller) for caller in deaf]
        assert all(length is None or length < LENGTH for length in cut)


@pytest.mark.parametrize("headers", [(), ("Connection: close",)], ids=["kept alive", "closing"])
def test_cut_off_after_write_timeout_and_not_before(
    voice: Vocoder, serving: Serving, headers: tuple[str, ...]
) -> None:
    """Whether the connection was to be kept or is already closing: it ends in time, not sooner."""
    with serving(_app(voice, write_timeout=0.8)) as url, _deaf(url, 1, *headers):
        until(lambda: _counted(url, 'vocoder_requests_total{code="200",format="wav_f32"') == 1)
        open_files = _counted(url, "process_open_fds")
        with _within(0.6, 3):
            until(lambda: _counted(url, "process_open_fds") < open_files, 5)


def test_slow_reader_gets_everything(voice: Vocoder, serving: Serving) -> None:
    """Taking a little now and then, for many times `write_timeout`, is no reason to be cut off."""
    with serving(_app(voice, write_timeout=0.4)) as url, _post(url, QUERY, "Connection: close") as caller:
        answer, began = b"", time.monotonic()
        while data := caller.recv(32_768):
            answer += data
            time.sleep(0.01)
        assert time.monotonic() - began > 3 * 0.4
    head, _, body = answer.partition(b"\r\n\r\n")
    assert len(body) > LENGTH and f"content-length: {len(body)}\r\n".encode() in head.lower() + b"\r\n"


def test_stream_that_is_not_read_is_given_up(voice: Vocoder, serving: Serving) -> None:
    """A streamed answer waits for its client; cut off, it counts as aborted, and no stream is open."""
    with serving(_app(voice, write_timeout=0.5, chunk_frames=64)) as url:
        with _post(url, f"{QUERY}&stream=true", frames=5000):
            until(lambda: _counted(url, "vocoder_streams_open") == 1)
            until(lambda: _counted(url, 'vocoder_aborted_total{stage="sending"}') == 1, 10)
            until(lambda: _counted(url, "vocoder_streams_open") == 0)
        assert _counted(url, "vocoder_queue_requests") == 0


def test_websocket_that_is_not_read_is_given_up(voice: Vocoder, serving: Serving) -> None:
    """The same of a WebSocket, whose audio nobody takes."""
    with serving(_app(voice, write_timeout=0.5)) as url:
        target = url.replace("http", "ws") + "/v1/vocode/stream?format=pcm&sample_rate=192000"
        with connect(target, sock=_caller(url), max_queue=1, close_timeout=0.1) as talk:
            with contextlib.suppress(Exception):  # it may be cut off before all has been said
                for _ in range(8):
                    talk.send(npy(mel(FRAMES)))
            until(lambda: _counted(url, 'vocoder_aborted_total{stage="sending"}') == 1, 10)
        until(lambda: _counted(url, "vocoder_streams_open") == 0)


def test_signal_ends_the_process_though_nobody_reads() -> None:
    """SIGTERM with deaf clients, whole answers and streams: gone within the drain's bound."""
    with _process(WRITE_TIMEOUT="60", DRAIN_SECONDS="0.5") as (url, process):
        until(lambda: _answers(url), 60)
        with _deaf(url, 10), _post(url, f"{QUERY}&stream=true", frames=5000):
            until(lambda: _counted(url, 'vocoder_requests_total{code="200",format="wav_f32"') == 10)
            with _within(0.5, 6):
                process.send_signal(signal.SIGTERM)
                process.wait(20)
        lines = _logged(process)
        assert [line for line in lines if line["level"] == "error"] == []
        assert len([line for line in lines if line.get("path") == "/v1/vocode"]) == 11


def _trickle(caller: socket.socket, seconds: float) -> float:
    """Send a byte now and then until the other end closes; how long that took."""
    began = time.monotonic()
    caller.settimeout(0.05)
    while time.monotonic() - began < seconds:
        with contextlib.suppress(TimeoutError):
            try:
                caller.sendall(b"x")
                if not caller.recv(4096):
                    return time.monotonic() - began
            except (ConnectionResetError, BrokenPipeError):
                return time.monotonic() - began
    return float("inf")


def _say(*lines: str) -> Callable[[socket.socket], None]:
    return lambda caller: caller.sendall("\r\n".join(lines).encode())


def _first_request(caller: socket.socket) -> None:
    caller.sendall(b"GET /health/live HTTP/1.1\r\nHost: here\r\n\r\n")
    assert caller.recv(4096).startswith(b"HTTP/1.1 200")
    caller.sendall(b"GET /health/live HTTP/1.1\r\nX: ")


def _unread_body(caller: socket.socket) -> None:
    caller.sendall(b"POST /no-such-route HTTP/1.1\r\nHost: here\r\nContent-Length: 1000000\r\n\r\n")
    assert caller.recv(4096).startswith(b"HTTP/1.1 404")


SLOW = {
    "a head without end": _say("GET / HTTP/1.1", "Host: here", "X: "),
    "a method without end": _say("GE"),
    "a second head": _first_request,
    "a body that nobody reads": _unread_body,
}


@pytest.mark.parametrize("begin", SLOW.values(), ids=SLOW.keys())
def test_whoever_does_not_finish_is_cut_off(
    voice: Vocoder, serving: Serving, begin: Callable[[socket.socket], None]
) -> None:
    """Byte after byte, so that the connection never idles: it is gone after `header_timeout`."""
    with serving(_app(voice, header_timeout=0.5)) as url, _caller(url) as caller:
        begin(caller)
        assert 0.3 <= _trickle(caller, 5) <= 3


def test_whoever_says_nothing_is_cut_off(voice: Vocoder, serving: Serving) -> None:
    """A connection without a byte is closed as well, and one that idles after a request is not."""
    with serving(_app(voice, header_timeout=0.4)) as url, _caller(url) as silent, _caller(url) as polite:
        polite.sendall(b"GET /health/live HTTP/1.1\r\nHost: here\r\n\r\n")
        assert polite.recv(4096).startswith(b"HTTP/1.1 200")
        assert not _rest(silent)
        time.sleep(0.6)
        polite.sendall(b"GET /health/live HTTP/1.1\r\nHost: here\r\n\r\n")
        assert polite.recv(4096).startswith(b"HTTP/1.1 200")


def test_slow_heads_in_number_leave_room(voice: Vocoder, serving: Serving) -> None:
    """As many half-said heads as there may be connections: soon there is room again."""
    with serving(_app(voice, header_timeout=0.5, max_connections=20)) as url, contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(_caller(url)).sendall(b"GET / HTTP/1.1\r\n")
        assert httpx2.get(f"{url}/health/live").status_code == 503
        until(lambda: httpx2.get(f"{url}/health/live").status_code == 200, 3)


def test_websockets_count_as_connections(voice: Vocoder, serving: Serving) -> None:
    """Where there is no room for a request there is none for a WebSocket."""
    with serving(_app(voice, max_connections=3)) as url, _caller(url), _caller(url), _caller(url) as caller:
        caller.sendall(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert caller.recv(4096).startswith(b"HTTP/1.1 503")
