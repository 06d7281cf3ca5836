"""Bad requests: each gets a fast 4xx with the envelope and the reason, and harms nobody who comes after."""

import time
from typing import Any, NamedTuple

import numpy as np
import pytest
from starlette.testclient import TestClient

from server.app import create_app
from tests.server.conftest import TINY, Serving
from tests.server.parcels import NPY, call, forged, header, heard, mel, npy
from vocoder import Vocoder


def _with(value: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    damaged = mel(12).astype(np.float64)
    damaged[3, 7] = value
    return damaged


class Bad(NamedTuple):
    """What is sent, and how it is refused; `word` is in the message."""

    name: str
    body: bytes
    status: int
    code: str
    word: str = ""
    query: str = ""
    media: str = "application/x-npy"


GOOD = npy(mel(12))
BAD = [
    Bad("nan", npy(_with(np.nan)), 422, "invalid_mel", "frame 7, band 3"),
    Bad("inf", npy(_with(np.inf)), 422, "invalid_mel", "frame 7, band 3"),
    Bad("-inf", npy(_with(-np.inf)), 422, "invalid_mel", "frame 7, band 3"),
    Bad("beyond float32", npy(_with(1e300)), 422, "invalid_mel", "frame 7, band 3"),
    Bad("decibels", npy(_with(-80.0)), 422, "invalid_mel", "-20"),
    Bad("79 bands", npy(np.zeros((79, 5), "<f4")), 422, "invalid_mel", "[79, 5]"),
    Bad("no frame", npy(np.zeros((80, 0), "<f4")), 422, "invalid_mel", "at least one frame"),
    Bad("scalar", npy(np.zeros((), "<f4")), 422, "invalid_mel", "[]"),
    Bad("flat", npy(np.zeros(80, "<f4")), 422, "invalid_mel", "[80]"),
    Bad("batch of batches", npy(np.zeros((1, 1, 80, 5), "<f4")), 422, "invalid_mel", "[1, 1, 80, 5]"),
    Bad("integers", npy(np.zeros((80, 5), "<i4")), 422, "invalid_mel", "int32"),
    Bad("big-endian", npy(np.zeros((80, 5), ">f4")), 422, "invalid_mel", "little-endian"),
    Bad("complex", npy(np.zeros((80, 5), "<c8")), 422, "invalid_mel", "complex64"),
    Bad("text", npy(np.full((80, 5), "x")), 422, "invalid_mel", "<U1"),
    Bad("records", npy(np.zeros((80, 5), [("a", "<f4")])), 422, "invalid_mel"),
    Bad("pickled objects", npy(np.full((80, 5), None)), 422, "invalid_mel", "object"),
    Bad("bytes of a pickle", b"\x80\x04\x95\x00", 415, "unsupported_media_type"),
    Bad("zip", b"PK\x03\x04" + bytes(60), 415, "unsupported_media_type", media="application/octet-stream"),
    Bad("text by name", GOOD, 415, "unsupported_media_type", "application/x-npy", media="text/plain"),
    Bad("pickle by name", GOOD, 415, "unsupported_media_type", media="application/x-python-pickle"),
    Bad("empty", b"", 400, "malformed_npy", "empty"),
    Bad("magic only", b"\x93NUMPY", 400, "malformed_npy", "within"),
    Bad("cut in the header", GOOD[:60], 400, "malformed_npy", "within"),
    Bad("cut in the data", GOOD[:-1], 400, "malformed_npy", "promises"),
    Bad("one byte too many", GOOD + b"\0", 400, "malformed_npy", "more bytes"),
    Bad("version 3", b"\x93NUMPY\x03\x00" + GOOD[8:], 400, "malformed_npy", "version 3.0"),
    Bad("version 255", b"\x93NUMPY\xff\xff" + bytes(200), 400, "malformed_npy", "version"),
    Bad("promise", forged(header("(80, 5000)")), 400, "malformed_npy", "promises"),
    Bad("terabytes", forged(header("(80, 1000000000000)"), bytes(512)), 413, "mel_too_long", "5168"),
    Bad("overflow", forged(header("(80, " + "9" * 300 + ")")), 413, "mel_too_long"),
    Bad("negative", forged(header("(80, -5)")), 422, "invalid_mel"),
    Bad("negative pair", forged(header("(-80, -5)"), bytes(1600)), 422, "invalid_mel"),
    Bad("million frames", forged(header("(80, 1000000)"), bytes(4096)), 413, "mel_too_long", "60 s"),
    Bad("one frame too many", forged(header("(80, 5169)")), 413, "mel_too_long", "5169"),
    Bad(
        "header of 4 GB", forged(header("(80, 5)"), version=2, length=2**32 - 1), 400, "malformed_npy", "4096"
    ),
    Bad("header of 64 KB", forged(header("(80, 5)") + " " * 65000), 400, "malformed_npy", "4096"),
    Bad("deep header", forged("(" * 3000), 400, "malformed_npy", "read"),
    Bad("deep minus", forged("-" * 3000 + "1"), 400, "malformed_npy", "read"),
    Bad("garbage header", forged(bytes(range(256))), 400, "malformed_npy", "read"),
    Bad("NUL header", forged(b"\0" * 100), 400, "malformed_npy", "read"),
    Bad("code in the header", forged("__import__('os').abort()"), 400, "malformed_npy", "read"),
    Bad("list in the header", forged("[1, 2, 3]"), 400, "malformed_npy", "read"),
    Bad("unhashable key", forged("{[]: 1}"), 400, "malformed_npy", "read"),
    Bad("no shape", forged("{'descr': '<f4', 'fortran_order': False}"), 400, "malformed_npy", "read"),
    Bad("shape of floats", forged(header("(80.0, 5)")), 400, "malformed_npy", "read"),
    Bad("unknown dtype", forged(header("(80, 5)", "'<q9'")), 400, "malformed_npy", "read"),
    Bad("dtype of nothing", forged(header("(80, 5)", "((), ())")), 400, "malformed_npy", "read"),
    Bad("Python 2", forged(header("(80L, 5L)"), bytes(1600)), 400, "malformed_npy", "read"),
    Bad(
        "too many bytes", forged(header("(80, 5)"), bytes(4_000_000)), 413, "body_too_large", "content-length"
    ),
    Bad("temperature nan", GOOD, 422, "invalid_parameter", "temperature", "temperature=nan"),
    Bad("temperature inf", GOOD, 422, "invalid_parameter", "temperature", "temperature=inf"),
    Bad("temperature -1", GOOD, 422, "invalid_parameter", "temperature", "temperature=-1"),
    Bad("temperature 2.1", GOOD, 422, "invalid_parameter", "temperature", "temperature=2.1"),
    Bad("temperature text", GOOD, 422, "invalid_parameter", "temperature", "temperature=warm"),
    Bad("sigma 3", GOOD, 422, "invalid_parameter", "sigma", "sigma=3"),
    Bad("both names", GOOD, 422, "invalid_parameter", "one of them", "sigma=1&temperature=1"),
    Bad("seed -1", GOOD, 422, "invalid_parameter", "seed", "seed=-1"),
    Bad("seed 2^63", GOOD, 422, "invalid_parameter", "seed", f"seed={2**63}"),
    Bad("seed of 5000 digits", GOOD, 422, "invalid_parameter", "seed", "seed=" + "9" * 5000),
    Bad("seed 1.5", GOOD, 422, "invalid_parameter", "seed", "seed=1.5"),
    Bad("seed empty", GOOD, 422, "invalid_parameter", "seed", "seed="),
    Bad("format mp4", GOOD, 422, "invalid_parameter", "'wav', 'wav_f32', 'flac'", "format=mp4"),
    Bad("layout XY", GOOD, 422, "invalid_parameter", "layout", "layout=XY"),
    Bad("misspelt name", GOOD, 422, "invalid_parameter", "sead", "sead=1"),
    Bad("long name", GOOD, 422, "invalid_parameter", "", "x" * 9000 + "=1"),
    Bad("many names", GOOD, 422, "invalid_parameter", "more", "&".join(f"x{n}=1" for n in range(500))),
]


@pytest.mark.parametrize("bad", BAD, ids=[bad.name for bad in BAD])
def test_refused_with_a_reason_and_without_harm(client: TestClient, bad: Bad) -> None:
    """The status and code fit, the reason is given in few bytes, and a good request is served right after."""
    started = time.perf_counter()
    response = client.post(f"/v1/vocode?{bad.query}", content=bad.body, headers={"Content-Type": bad.media})
    elapsed = time.perf_counter() - started
    assert (response.status_code, response.json()["error"]["code"]) == (bad.status, bad.code)
    error = response.json()["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert error["type"] == "invalid_request_error"
    assert bad.word in error["message"]
    assert len(response.content) < 1024
    assert response.headers["x-request-id"]
    assert elapsed < 0.5
    assert client.post("/v1/vocode", content=GOOD, headers=NPY).status_code == 200


def test_missing_content_type(client: TestClient) -> None:
    """A body of no stated type is refused like one of another type."""
    response = client.post("/v1/vocode", content=GOOD)
    assert response.status_code == 415


@pytest.mark.parametrize("length", ["-1", "abc", str(2**64), "9" * 4000])
def test_senseless_content_length(client: TestClient, length: str) -> None:
    """A content-length that is absurd is refused or overlooked, and never believed."""
    response = client.post("/v1/vocode", content=GOOD, headers={**NPY, "Content-Length": length})
    assert response.status_code in (200, 413)


def test_body_is_cut_at_the_header_even_without_content_length(voice: Vocoder, serving: Serving) -> None:
    """A chunked body that never ends is left as soon as it holds more than its header promises."""
    app = create_app(TINY, load=lambda *_: voice)
    with serving(app) as url, call(url, "Transfer-Encoding: chunked") as caller:
        for piece in (GOOD, bytes(1024)):
            caller.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        answer = heard(caller)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"more bytes" in answer


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nope", 404), ("GET", "/v1/vocode", 405)])
def test_unknown_places_have_the_envelope(client: TestClient, method: str, path: str, status: int) -> None:
    """404 and 405 speak like every other refusal, and do not repeat the path."""
    response = client.request(method, path)
    assert response.status_code == status
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert path not in response.text


def test_random_headers_never_break_the_service(client: TestClient) -> None:
    """A thousand damaged copies of a good file: each is served or refused, none is a 5xx."""
    rng = np.random.default_rng(1)
    small = npy(mel(1))
    for _ in range(1000):
        damaged = bytearray(small)
        for place in rng.integers(6, 128, rng.integers(1, 6)):
            damaged[place] = rng.integers(256)
        response = client.post("/v1/vocode?seed=1", content=bytes(damaged), headers=NPY)
        assert response.status_code in (200, 400, 413, 422)
        assert len(response.content) < 1024
