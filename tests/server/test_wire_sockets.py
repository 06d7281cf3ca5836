"""Bodies as sockets bring them: long, slow, without an end, a byte at a time."""

import select
import threading
import time
from collections.abc import Iterator

import httpx2
import pytest

from server.app import create_app
from tests.server.conftest import TINY, Serving
from tests.server.parcels import JSON, big_json, call, forged, header, heard, mel, npy, packed
from vocoder import Vocoder


def test_others_are_served_while_a_long_json_is_read(voice: Vocoder, serving: Serving) -> None:
    """Probes are answered all the while that a request of 33 MB is received, parsed and refused."""
    settings = TINY.model_copy(update={"max_frames": 20_000})
    answers: list[httpx2.Response] = []
    with serving(create_app(settings, load=lambda *_: voice)) as url, httpx2.Client() as probes:
        content = big_json(20_000, last="1e999")

        def send() -> None:
            answers.append(httpx2.post(f"{url}/v1/vocode", content=content, headers=JSON, timeout=30))

        sender = threading.Thread(target=send)
        probes.get(f"{url}/health/live")
        sender.start()
        took = []
        while sender.is_alive():
            started = time.perf_counter()
            assert probes.get(f"{url}/health/live").status_code == 200
            took.append(time.perf_counter() - started)
        sender.join()
    assert answers[0].status_code == 422
    assert "frame 19999, band 79" in answers[0].json()["error"]["message"]
    assert max(took) < 0.5


def chunk(data: bytes) -> bytes:
    """One chunk of a body that comes in chunks."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.fixture(scope="module")
def place(voice: Vocoder, serving: Serving) -> Iterator[str]:
    """The address of a service that waits a second for a body."""
    settings = TINY.model_copy(update={"body_timeout": 1.0})
    with serving(create_app(settings, load=lambda *_: voice)) as url:
        yield url


@pytest.mark.parametrize(("media", "body"), [("x-npy", npy(mel(1))), ("json", packed(mel(1)))])
def test_chunks_of_a_byte(place: str, media: str, body: bytes) -> None:
    """A body that comes byte by byte is read like any other."""
    with call(place, "Transfer-Encoding: chunked", media=f"application/{media}") as caller:
        caller.sendall(b"".join(chunk(bytes([byte])) for byte in body) + b"0\r\n\r\n")
        assert caller.recv(4096).startswith(b"HTTP/1.1 200")


def test_chunks_of_a_byte_without_an_end(place: str) -> None:
    """A body that would take for ever, byte by byte, is given up in time."""
    started = time.perf_counter()
    with call(place, "Transfer-Encoding: chunked") as caller:
        caller.sendall(chunk(forged(header("(80, 5168)"))))
        while not select.select([caller], [], [], 0.001)[0]:
            caller.sendall(chunk(b"\0"))
        answer = heard(caller)
    assert answer.startswith(b"HTTP/1.1 408")
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("media", ["application/x-npy", "application/json", "application/octet-stream"])
def test_a_slow_body_is_given_up(place: str, media: str) -> None:
    """A body that stops half-way is answered with 408 after the time it has."""
    with call(place, "Content-Length: 5000", media=media) as caller:
        caller.sendall(packed(mel(12))[:100] if media.endswith("json") else npy(mel(12))[:100])
        answer = heard(caller)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"body_timeout" in answer


def test_json_without_an_end(place: str) -> None:
    """A JSON body of no stated length is left when it is longer than any that could be read."""
    with call(place, "Transfer-Encoding: chunked", media="application/json") as caller:
        piece = chunk(b'{"mel": [[' + b"1," * 2**20)
        try:
            for _ in range(20):
                caller.sendall(piece)
        except OSError:
            pass  # it was hung up on
        answer = heard(caller)
    assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "+5", str(2**64), "9" * 4000])
def test_a_senseless_content_length_on_a_socket(place: str, length: str) -> None:
    """A content-length that is none is refused before anything is read."""
    with call(place, f"Content-Length: {length}") as caller:
        answer = caller.recv(4096)
    assert answer.split(maxsplit=2)[1] in (b"400", b"413")
