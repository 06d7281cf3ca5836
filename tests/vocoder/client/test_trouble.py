"""What can go wrong on the way: refusals of every status, answers cut short, answers of somebody else."""

import itertools
import json
import pickle
import re
import socket
import time
from email.utils import formatdate

import numpy as np
import pytest

from tests.server.parcels import mel
from tests.vocoder.client.conftest import PCM_HEADERS, Connect, Script, answer, spoken
from vocoder import client
from vocoder.client import (
    BadRequest,
    ClientError,
    ConnectionFailed,
    IncompleteAudio,
    NotFound,
    RateLimited,
    ServerError,
    TimedOut,
    TooLarge,
    Unauthorized,
    UnexpectedAnswer,
    failures,
)

SAMPLES = np.array([0, 0.5, -0.5, -1], np.float32)
AT_ONCE = "Retry-After: 0"


def envelope(code: str, message: str = "no", param: str | None = None) -> bytes:
    """A refusal in the service's words."""
    return json.dumps({"error": {"message": message, "type": "t", "param": param, "code": code}}).encode()


@pytest.fixture(autouse=True)
def _brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that nobody asked for begin at a twentieth of a second, not at half of one."""
    monkeypatch.setattr("vocoder.client.retries.FIRST", 0.05)


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_passing_refusals_are_tried_again(connect: Connect, status: int) -> None:
    """The second try is the very same request, seed and all, and its audio is what the call gives."""
    with Script(answer(status, b"", AT_ONCE), spoken()) as server:
        audio = connect(server.url).vocode(mel(3), format="pcm")
    np.testing.assert_array_equal(audio.array(), SAMPLES)
    first, second = server.requests
    assert first == second
    assert b"seed=" in first[0]


LASTING = [
    (400, BadRequest),
    (401, Unauthorized),
    (403, Unauthorized),
    (404, NotFound),
    (409, BadRequest),
    (413, TooLarge),
    (422, BadRequest),
    (500, ServerError),
    (501, ServerError),
    (302, UnexpectedAnswer),
]


@pytest.mark.parametrize(("status", "kind"), LASTING)
def test_lasting_refusals_are_not(connect: Connect, status: int, kind: type[ClientError]) -> None:
    """They are raised at once, typed by status, with what the envelope says; no redirect is followed."""
    body = envelope("some_code", "some words", "seed")
    refused = answer(status, body, "X-Request-Id: r1", "Location: http://127.0.0.1:9/")
    with Script(refused, spoken()) as server, pytest.raises(kind) as caught:
        connect(server.url, api_key="sesame").vocode(mel(3), format="pcm")
    assert len(server.requests) == 1
    error = caught.value
    assert (str(error), error.status, error.code) == ("some words", status, "some_code")
    assert (error.param, error.request_id, error.retriable) == ("seed", "r1", False)
    assert vars(pickle.loads(pickle.dumps(error))) == vars(error)  # noqa: S301  # our own


@pytest.mark.parametrize(
    "headers",
    [("X-Should-Retry: false", AT_ONCE), ("Retry-After: 61",), (f"Retry-After: {formatdate(4e9)}",)],
    ids=["said to be pointless", "a minute and more", "in another century"],
)
def test_not_where_there_is_no_point(connect: Connect, headers: tuple[str, ...]) -> None:
    """The service says that another try is pointless, or asks for more patience than there is."""
    with Script(answer(503, b"", *headers), spoken()) as server, pytest.raises(ServerError) as caught:
        connect(server.url).vocode(mel(3))
    assert len(server.requests) == 1
    assert caught.value.retry_after == 0 or (caught.value.retry_after or 0) > 60


def test_retry_after_is_waited_for(connect: Connect) -> None:
    """The second try is not sent before the time that the first was told."""
    began = time.monotonic()
    with Script(answer(429, b"", "Retry-After: 0.4"), spoken()) as server:
        assert connect(server.url).vocode(mel(3), format="pcm").samples == 4
    assert 0.4 <= time.monotonic() - began < 4


def test_tries_have_an_end(connect: Connect) -> None:
    """So many and no more; the last refusal is what is raised."""
    busy = answer(429, envelope("queue_full", "full"), AT_ONCE)
    with Script(busy, busy, busy, spoken()) as server, pytest.raises(RateLimited, match="full") as caught:
        connect(server.url).vocode(mel(3))
    assert len(server.requests) == 3
    assert caught.value.retry_after == 0


def test_lost_connection_is_tried_again(connect: Connect) -> None:
    """A reset, or an end without an answer, is a passing thing; a stream begins anew as well."""
    with Script(None, b"", spoken()) as server:
        assert connect(server.url).vocode(mel(3), format="pcm").samples == 4
    with Script(b"HTTP/1.1 2", spoken()) as server:
        with connect(server.url).stream(mel(3), format="pcm") as audio:
            assert audio.read() == spoken()[-8:]
        assert len(server.requests) == 2


def test_nobody_there(connect: Connect) -> None:
    """A port where nobody listens is `ConnectionFailed`, after the last try, with the cause kept."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(ConnectionFailed, match="no answer") as caught:
        connect(f"http://127.0.0.1:{port}", max_retries=1).models()
    assert caught.value.__cause__ is not None
    assert (caught.value.status, caught.value.retriable) == (None, True)


def test_silence_is_not_tried_again(connect: Connect) -> None:
    """A request that nobody answers in time may be in work, so it is not sent twice."""
    with Script(5.0, spoken()) as server, pytest.raises(TimedOut):
        connect(server.url, timeout=0.2).vocode(mel(3))
    assert len(server.requests) == 1


SHORT = {
    "less than promised": answer(200, bytes(6), *PCM_HEADERS, length=8),
    "cut in a chunk": b"8\r\n" + bytes(6),
    "cut between chunks": b"6\r\n" + bytes(6) + b"\r\n",
    "fewer samples than told": b"6\r\n" + bytes(6) + b"\r\n0\r\n\r\n",
}


def _short(name: str) -> bytes:
    head = "\r\n".join(
        ("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", *PCM_HEADERS, "X-Request-Id: r2", "", "")
    )
    return SHORT[name] if SHORT[name].startswith(b"HTTP") else head.encode() + SHORT[name]


@pytest.mark.parametrize("name", SHORT)
def test_short_answer_is_no_answer(connect: Connect, name: str) -> None:
    """However an answer falls short, it is `IncompleteAudio` with the count, and not asked for again."""
    with Script(_short(name), _short(name), spoken()) as server:
        client, taken = connect(server.url), list[bytes]()
        with pytest.raises(IncompleteAudio, match="broke off after 6 of 8 bytes") as caught:
            client.vocode(mel(3), format="pcm")
        assert (caught.value.received, caught.value.expected, caught.value.status) == (6, 8, 200)
        with client.stream(mel(3), format="pcm") as audio, pytest.raises(IncompleteAudio):
            taken.extend(audio)
        assert b"".join(taken) == bytes(6)  # what came was handed on, before it turned out to be short
    assert len(server.requests) == 2


def test_list_whose_length_is_not_said_is_read_to_its_end(connect: Connect) -> None:
    """Only raw samples are counted by their number: a batch of them comes in JSON."""
    clip = {"index": 0, "audio": "AAA=", "media_type": "audio/pcm", "seed": 1, "samples": 1, "duration": 0.1}
    body = json.dumps({"data": [clip], "sample_rate": 8000}).encode()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Audio-Samples: 1\r\n\r\n"
    with Script(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)) as server:
        (audio,) = connect(server.url).vocode_batch([mel(3)], format="pcm")
    assert (audio.content, audio.sample_rate, audio.samples) == (bytes(2), 8000, 1)


STRANGE = {
    "a page": answer(200, b"<html>hello", "Content-Type: text/html"),
    "half the headers": answer(200, b"", *PCM_HEADERS[:3]),
    "no number": answer(200, b"", *PCM_HEADERS[:4], "X-Seed: three"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_answer_of_somebody_else(connect: Connect, name: str) -> None:
    """A 200 that is none of this service's is `UnexpectedAnswer`, whatever was asked."""
    with Script(*itertools.repeat(STRANGE[name], 3)) as server:
        client = connect(server.url)
        with pytest.raises(UnexpectedAnswer, match="HTTP 200"):
            client.vocode(mel(3))
        with pytest.raises(UnexpectedAnswer), client.stream(mel(3)):
            pytest.fail("there is nothing to stream")
        with pytest.raises(UnexpectedAnswer):
            client.score(b"a recording")


ODD_BODIES = [
    b"",
    b"<html>",
    b"[]",
    b'"error"',
    b'{"error": "text"}',
    b'{"error": {"message": 3}}',
    b"[" * 99999,
]


@pytest.mark.parametrize("body", ODD_BODIES, ids=lambda body: repr(body[:20]))
def test_refusal_without_an_envelope(connect: Connect, body: bytes) -> None:
    """A proxy's own page is typed by its status, and never quoted."""
    with Script(answer(502, body)) as server, pytest.raises(ServerError, match="HTTP 502") as caught:
        connect(server.url, max_retries=0).models()
    assert caught.value.code is None
    assert caught.value.retriable


def test_endless_refusal_is_read_in_part(connect: Connect) -> None:
    """Of a refusal no more is read than an envelope can be, however much is promised."""
    endless = answer(400, bytes(200_000), length=10**12)
    began = time.monotonic()
    with Script(endless) as server, pytest.raises(BadRequest, match="HTTP 400"):
        connect(server.url).models()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("key", ["two\nlines", "schlüssel", "", " spaced "])
def test_key_that_cannot_be_sent_is_not_shown(connect: Connect, key: str) -> None:
    """It is refused before anything is sent, and the refusal does not hold it."""
    with pytest.raises(ValueError, match="api_key") as refused:
        connect("http://127.0.0.1:9", api_key=key)
    assert not key.strip() or key not in str(refused.value)


def test_key_is_in_the_header_and_nowhere_else(connect: Connect) -> None:
    """It is sent as a bearer token, and is not in what the client shows of itself."""
    with Script(spoken()) as server:
        client = connect(server.url + "/behind/", api_key="sesame")
        client.vocode(mel(3), format="pcm")
    head, body = server.requests[0]
    assert head.startswith(b"POST /behind/v1/vocode?seed=")
    assert b"authorization: bearer sesame\r\n" in head.lower()
    assert b"accept-encoding: identity\r\n" in head.lower()
    assert body.startswith(b"\x93NUMPY")
    assert "sesame" not in repr(client) and server.url in repr(client)


@pytest.mark.parametrize("place", ["localhost:8000", "ftp://here", "http://", "http://here?x=1", ""])
def test_address_that_is_none(connect: Connect, place: str) -> None:
    """The mistake is told where it was made."""
    with pytest.raises(ValueError, match="base_url"):
        connect(place)


def test_the_drawing_of_the_tree_is_complete() -> None:
    """Every exception is drawn under the one that it is a kind of, and can be had from the front door."""
    drawn = re.findall(r"^([│ ]*)[├└]── (\w+) ", failures.__doc__ or "", re.MULTILINE)
    kinds: list[type] = [ClientError]
    for lead, name in drawn:
        depth = 1 + len(lead) // 4
        kind = getattr(client, name)
        assert kind.__bases__ == (kinds[depth - 1],)
        kinds[depth:] = [kind]
    every = {name for name in failures.__all__ if name[0].isupper() and name != "REASON_BYTES"}
    assert {name for _, name in drawn} | {"ClientError"} == every
