"""Whatever comes: an array, or one of our own refusals; never a 5xx, never the body sent back.

A few seconds of it. `FUZZ_EXAMPLES=5000` (a number for each test, 60 by default) makes a long run.
"""

import io
import json
import os
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import numpy as np
import pytest
import safetensors.numpy
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from starlette.testclient import TestClient

from server.app import create_app
from server.failures import FAILURES
from server.wire import parse_mel
from server.wire import text as json_mel
from server.wire.shape import Limits
from tests.server.conftest import TINY, Serving
from tests.server.parcels import JSON, NPY, OCTETS, SAFETENSORS, listed, mel, npy, packed, tensors
from tests.server.test_mel import KINDS, file, recording
from vocoder import MelSpec, Vocoder

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
OURS = tuple(kind for kind, failure in FAILURES.items() if failure.status < 500)
LIMITS = Limits(MelSpec(), "ML", 64, 4)

fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,  # a short run is the same every time
    suppress_health_check=list(HealthCheck),
)


@st.composite
def damaged(draw: st.DrawFn, bodies: list[bytes], pieces: list[bytes]) -> bytes:
    """A body that was good, after a few accidents; `pieces` are what its kind is made of."""
    body = bytearray(draw(st.sampled_from(bodies)))
    for _ in range(draw(st.integers(1, 4))):
        # Most of it in the head, where there is something to misunderstand.
        at = draw(st.integers(0, min(len(body), 200)) | st.integers(0, len(body)))
        length = draw(st.integers(0, 3) | st.integers(0, 100))
        new = draw(st.binary(max_size=4) | st.sampled_from(pieces) | st.just(bytes(body[at : at + length])))
        body[at : at + length] = new if draw(st.booleans()) else new[: length or 1]
    return bytes(body)


NUMPY = [npy(mel(2)), npy(mel(3).astype("f8")), npy(mel(2).astype("f2"), version=(2, 0)), npy(mel(4)[None])]
TENSORS = [tensors(mel=mel(2)), tensors(a=mel(3).astype("f8")), tensors(m=mel(2)[None])]
TEXTS = [listed(mel(1)), listed(mel(2), indent=1), listed(mel(1)[None]), packed(mel(3)), packed(mel(2)[None])]
NUMPY_PIECES = [
    b"'<f8'",
    b"'|O'",
    b"'>f4'",
    b"(80, 2)",
    b"(80, 99999999)",
    b"(-80, -2)",
    b"True",
    b"{",
    b"(",
    b"L",
    b"\x00",
]
TENSOR_PIECES = [
    b'"F64"',
    b'"BF16"',
    b"[80,2]",
    b"[80,1e9]",
    b"[-1]",
    b"[0,9999]",
    b"{",
    b"[",
    b'"',
    b"null",
    b"\xff\xff\xff",
]
TEXT_PIECES = [
    *(bytes([char]) for char in b'"[]{},-\\ \n\xc3'),
    b"NaN",
    b"1e999",
    b"null",
    b"==",
    b'"mel":',
    b'"shape":',
]


def read(parse: Callable[[bytes], Any], body: bytes) -> Any:
    """What is made of a body: an array within the limits, or None where it is refused as it should be."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            found = parse(body)
        except OURS:
            return None
    assert found.ndim in (2, 3) and 80 in found.shape and found.size <= 80 * 64
    return found


def _message(body: bytes) -> Any:
    return parse_mel(body, MelSpec(), layout="ML", max_frames=64)


@fuzz
@given(body=damaged(NUMPY, NUMPY_PIECES))
def test_npy(body: bytes) -> None:
    """A damaged .npy file is refused, or is what NumPy makes of it."""
    if (found := read(_message, body)) is not None:
        np.testing.assert_array_equal(found, np.load(io.BytesIO(body), allow_pickle=False))


@fuzz
@given(body=damaged(TENSORS, TENSOR_PIECES))
def test_safetensors(body: bytes) -> None:
    """A damaged safetensors file is refused, or is what its own library makes of it."""
    if (found := read(_message, body)) is not None:
        (theirs,) = safetensors.numpy.load(body).values()
        np.testing.assert_array_equal(found, theirs)


@fuzz
@given(body=damaged(TEXTS, TEXT_PIECES))
def test_json(body: bytes) -> None:
    """A damaged JSON body is refused, or is what the json module makes of it."""
    if (found := read(lambda body: json_mel.parse(body, LIMITS), body)) is not None:
        theirs = json.loads(body)["mel"]
        if isinstance(theirs, list):
            np.testing.assert_array_equal(found, np.array(theirs, np.float64))


@fuzz
@given(body=st.binary(max_size=300))
def test_anything_at_all(body: bytes) -> None:
    """Bytes of no kind are refused by every reader."""
    assert read(_message, body) is None
    assert read(lambda body: json_mel.parse(body, LIMITS), body) is None


number = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**30), 10**30)


@fuzz
@given(
    frames=st.lists(number, min_size=1, max_size=9),
    shift=st.integers(0, 9),
    indent=st.sampled_from([None, 0, 3]),
)
def test_every_mel_in_json_is_read(frames: list[float], shift: int, indent: int | None) -> None:
    """Whatever the json module writes of 80 bands is read as the same numbers."""
    values = [
        frames[(shift * band) % len(frames) :] + frames[: (shift * band) % len(frames)] for band in range(80)
    ]
    found = json_mel.parse(json.dumps({"mel": values}, indent=indent).encode(), LIMITS)
    np.testing.assert_array_equal(found, np.array(values, np.float64))


WAVES = [(media, file(recording(0.1), kind=kind, code=code)) for media, kind, code in KINDS]
FORM = "multipart/form-data; boundary=x"
PART = '--x\r\nContent-Disposition: form-data; name="{0}"; filename="{0}"\r\n\r\n'


def form(**files: bytes) -> bytes:
    """A form of files."""
    parts = [PART.format(name).encode() + data + b"\r\n" for name, data in files.items()]
    return b"".join(parts) + b"--x--\r\n"


FORMS = [form(audio=WAVES[0][1]), form(audio=WAVES[1][1], mel=npy(mel(9)))]
FORM_PIECES = [
    b"--x",
    b"--x--",
    b"\r\n",
    b"\r",
    b'name="mel"',
    b"filename*=",
    b"Content-Disposition",
    b":",
    b";",
]
WAVE_PIECES = [b"RIFF", b"fmt ", b"data", b"fLaC", b"OggS", b"\xff\xfb", b"\xff" * 4, b"\0" * 8, b"\x7f" * 4]
SENT = [
    ("/v1/vocode?format=wav_f32", NPY, NUMPY, NUMPY_PIECES),
    ("/v1/vocode?stream=true", OCTETS, [*NUMPY, *TENSORS], TENSOR_PIECES),
    ("/v1/vocode?layout=ML", SAFETENSORS, TENSORS, TENSOR_PIECES),
    ("/v1/vocode?format=flac", JSON, TEXTS, TEXT_PIECES),
    ("/v1/mel", {"Content-Type": "audio/wav"}, [w for _, w in WAVES], WAVE_PIECES),
    ("/v1/score?frames=true", {"Content-Type": FORM}, FORMS, FORM_PIECES),
]


PLACES = ["vocode npy", "vocode octets", "vocode safetensors", "vocode json", "mel", "score"]


@pytest.mark.parametrize(("place", "headers", "bodies", "pieces"), SENT, ids=PLACES)
def test_the_service(
    client: TestClient, place: str, headers: dict[str, str], bodies: list[bytes], pieces: list[bytes]
) -> None:
    """Damaged bodies are served or refused, in few bytes, and what was sent does not come back."""

    @fuzz
    @given(body=damaged(bodies, pieces))
    def send(body: bytes) -> None:
        response = client.post(place, content=body, headers=headers)
        if response.status_code != 200:
            check_refusal(response.status_code, response.content, body)

    send()


def check_refusal(status: int, answer: bytes, body: bytes) -> None:
    """A refusal is the caller's or says that the service is not ready, is short, and repeats nothing."""
    assert 400 <= status < 500 or status == 503, answer
    assert len(answer) <= 4096
    assert set(json.loads(answer)["error"]) == {"message", "type", "param", "code"}
    letters = [run for run in re.findall(rb"[!-~]{12,}", body) if run in answer]
    assert letters == []


@pytest.fixture(scope="module")
def place(voice: Vocoder, serving: Serving) -> Iterator[str]:
    """A service on a socket, with everything that the document describes, the operators' part included."""
    settings_ = TINY.model_copy(update={"admin_key": SecretStr("operators-only")})
    with serving(create_app(settings_, load=lambda *_: voice)) as url:
        yield url


OPERATIONS = [
    (method.upper(), path)
    for path, operations in create_app(TINY).openapi()["paths"].items()
    for method in operations
]


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=[" ".join(each) for each in OPERATIONS])
def test_what_the_document_allows(place: str, method: str, path: str) -> None:
    """Requests made up from our own OpenAPI document, and from what it forbids, are answered well."""
    schema = schemathesis.openapi.from_url(f"{place}/openapi.json")
    operation = schema[path][method]
    modes = [schemathesis.GenerationMode.POSITIVE]
    if operation.body or operation.query:
        modes.append(schemathesis.GenerationMode.NEGATIVE)
    for mode in modes:
        _ask_all(place, operation.as_strategy(generation_mode=mode))


def _ask_all(place: str, cases: st.SearchStrategy[Any]) -> None:
    @settings(fuzz, max_examples=max(EXAMPLES // 4, 1), phases=[Phase.generate])
    @given(case=cases)
    def ask(case: Any) -> None:
        case.headers["Authorization"] = "Bearer operators-only"
        response = case.call(base_url=place, timeout=20)
        if response.status_code != 200:
            check_refusal(response.status_code, response.content, b"")

    ask()
    assert httpx2.get(f"{place}/health/ready").status_code == 200
