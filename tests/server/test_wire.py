"""Every way a mel may come in, what it costs, and what may be said of it beforehand."""

import asyncio
import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from server.wire import MalformedBody, MelSpecMismatch, check_spec, parse_mel
from server.wire import text as json_mel
from server.wire.shape import Limits
from tests.server.parcels import (
    JSON,
    NPY,
    OCTETS,
    SAFETENSORS,
    about,
    big_json,
    forged,
    forged_tensors,
    header,
    listed,
    mel,
    npy,
    packed,
    rows,
    tensors,
)
from vocoder import MelSpec

SPEC = MelSpec()
SMALL = mel(12)


GOOD: list[tuple[str, dict[str, str], bytes]] = [
    ("safetensors", SAFETENSORS, tensors(anything=SMALL)),
    ("safetensors, half", SAFETENSORS, tensors(m=SMALL.astype("f2"))),
    ("safetensors, double", SAFETENSORS, tensors(m=SMALL.astype("f8"))),
    ("octets of safetensors", OCTETS, tensors(m=SMALL)),
    ("octets of npy", OCTETS, npy(SMALL)),
    ("lists", JSON, listed(SMALL)),
    ("lists, indented", JSON, listed(SMALL, indent=4)),
    ("lists, charset", {"Content-Type": "application/json; charset=utf-8"}, listed(SMALL)),
    ("base64", JSON, packed(SMALL)),
    ("base64, half", JSON, packed(SMALL.astype("f2"))),
    ("base64, double", JSON, packed(SMALL.astype("f8"))),
    ("base64, slashes escaped", JSON, packed(SMALL).replace(b"/", b"\\/")),
    ("identity", {**NPY, "Content-Encoding": "identity"}, npy(SMALL)),
]


@pytest.mark.parametrize(("name", "headers", "body"), GOOD, ids=[name for name, *_ in GOOD])
def test_every_way_in_says_the_same(
    client: TestClient, name: str, headers: dict[str, str], body: bytes
) -> None:
    """A mel is the same mel however it came: the audio is, bit for bit, that of the plain file."""
    held = SMALL.astype("f2").astype("f4") if "half" in name else SMALL
    expected = client.post("/v1/vocode?seed=1", content=npy(held), headers=NPY)
    got = client.post("/v1/vocode?seed=1", content=body, headers=headers)
    assert (got.status_code, got.content) == (200, expected.content)


WAYS: list[tuple[dict[str, str], Callable[[Any], bytes]]] = [
    (JSON, listed),
    (JSON, packed),
    (SAFETENSORS, lambda array: tensors(m=array)),
]


@pytest.mark.parametrize(("headers", "body"), WAYS, ids=["lists", "base64", "safetensors"])
def test_layout_in_every_kind(
    client: TestClient, headers: dict[str, str], body: Callable[[Any], bytes]
) -> None:
    """[frames, bands], and [clips, frames, bands], are read with layout=LM."""
    one, place = np.ascontiguousarray(SMALL.T), "/v1/vocode?seed=1&layout=LM"
    expected = client.post("/v1/vocode?seed=1", content=npy(SMALL), headers=NPY)
    got = client.post(place, content=body(one), headers=headers)
    assert (got.status_code, got.content) == (200, expected.content)
    answer = client.post(place, content=body(np.array([one, one])), headers=headers).json()
    assert [clip["index"] for clip in answer["data"]] == [0, 1]


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "zstd", "gzip, identity", "nonsense"])
def test_nothing_is_inflated(client: TestClient, coding: str) -> None:
    """A compressed body is refused by its header, whatever it holds."""
    response = client.post("/v1/vocode", content=npy(SMALL), headers={**NPY, "Content-Encoding": coding})
    assert (response.status_code, response.json()["error"]["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "media",
    [
        "application/x-python-pickle",
        "application/vnd.bentoml+pickle",
        "application/python-pickle",
        "application/x-npz",
        "application/zip",
        "application/x-hdf5",
        "application/msgpack",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "",
    ],
)
def test_other_media_types(client: TestClient, media: str) -> None:
    """Whatever can hold code, or unfold into more than it is, has no reader here."""
    response = client.post("/v1/vocode", content=npy(SMALL), headers={"Content-Type": media})
    assert (response.status_code, response.json()["error"]["code"]) == (415, "unsupported_media_type")


SPECS: list[tuple[dict[str, str], bool]] = [
    ({}, True),
    ({"x-mel-spec": json.dumps(SPEC.to_dict())}, True),
    ({"x-mel-digest": SPEC.digest()}, True),
    ({"x-mel-digest": SPEC.digest().upper(), "x-mel-spec": json.dumps(SPEC.to_dict())}, True),
    ({"x-mel-spec": json.dumps({**SPEC.to_dict(), "f_max": 8000})}, True),
    ({"x-mel-spec": json.dumps({**SPEC.to_dict(), "hop_length": 300})}, False),
    ({"x-mel-spec": json.dumps({"hop_length": 256})}, False),
    ({"x-mel-spec": json.dumps({**SPEC.to_dict(), "more": 1})}, False),
    ({"x-mel-spec": json.dumps({**SPEC.to_dict(), "f_max": "8000"})}, False),
    ({"x-mel-spec": json.dumps({**SPEC.to_dict(), "f_max": True})}, False),
    ({"x-mel-spec": json.dumps({**SPEC.to_dict(), "f_max": float("nan")})}, False),
    ({"x-mel-spec": json.dumps({**SPEC.to_dict(), "hop_length": 256.5})}, False),
    ({"x-mel-spec": '{"hop_length": ' + "1" * 5000 + "}"}, False),
    ({"x-mel-spec": "[" * 5000}, False),
    ({"x-mel-spec": "5"}, False),
    ({"x-mel-spec": "[]"}, False),
    ({"x-mel-spec": ""}, False),
    ({"x-mel-spec": '{"f_min": 0, "f_min": 0}'}, False),
    ({"x-mel-digest": "0" * 64}, False),
    ({"x-mel-digest": ""}, False),
    ({"x-mel-digest": "é"}, False),
]


@pytest.mark.parametrize(("headers", "fits"), SPECS)
def test_a_declared_spec(headers: dict[str, str], fits: bool) -> None:
    """A mel that is said to be of another spec, or of one that cannot be read, is refused."""
    if fits:
        check_spec(headers, SPEC)
        return
    with pytest.raises(MelSpecMismatch) as refused:
        check_spec(headers, SPEC)
    assert len(str(refused.value)) < 300


def test_a_declared_spec_that_differs_is_named(client: TestClient) -> None:
    """The answer says which number differs, before any of the body is looked at."""
    other = json.dumps({**SPEC.to_dict(), "hop_length": 300, "f_max": 7600.0})
    response = client.post("/v1/vocode", content=b"", headers={**NPY, "X-Mel-Spec": other})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (422, "mel_spec_mismatch")
    assert "hop_length 300 (expected 256)" in error["message"]
    assert "f_max 7600.0 (expected 8000.0)" in error["message"]


@pytest.mark.parametrize("layout", ["ML", "LM"])
def test_a_message_holds_a_mel(layout: Any) -> None:
    """`parse_mel` reads either kind of file, and one clip only."""
    sent = SMALL if layout == "ML" else np.ascontiguousarray(SMALL.T)
    for data in (npy(sent), tensors(m=sent)):
        np.testing.assert_array_equal(parse_mel(data, SPEC, layout=layout, max_frames=12), SMALL)
        with pytest.raises(MalformedBody):
            parse_mel(data[:-1], SPEC, layout=layout, max_frames=12)
        with pytest.raises(MalformedBody, match="more bytes"):
            parse_mel(data + b"\0", SPEC, layout=layout, max_frames=12)
    with pytest.raises(MalformedBody):
        parse_mel(b"", SPEC, layout=layout, max_frames=12)


def _message(body: bytes) -> Any:
    return parse_mel(body, SPEC, layout="ML", max_frames=5168)


def _json(body: bytes) -> Any:
    return json_mel.parse(body, Limits(SPEC, "ML", 5168))


PROMISES: dict[str, tuple[Callable[[bytes], Any], bytes]] = {
    "npy": (_message, forged(header("(80, 5168)", "'<f8'"), bytes(64))),
    "safetensors": (_message, forged_tensors(about("[80, 5168]", "[0, 3307520]", "F64"), bytes(64))),
    "base64": (_json, packed(SMALL, shape=[80, 5168], dtype="float64")),
    "lists": (_json, rows("[[-5.0, -5.0]")),
}


@pytest.mark.parametrize(("read", "body"), PROMISES.values(), ids=PROMISES)
def test_memory_grows_with_what_came(read: Callable[[bytes], Any], body: bytes) -> None:
    """A header that promises three megabytes, of which a few bytes came, reserves nothing for the rest."""
    tracemalloc.start()
    try:
        with pytest.raises(MalformedBody):
            read(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200_000


def test_a_long_json_does_not_stall_the_loop() -> None:
    """While 32 MB are parsed the event loop goes on; the json module alone holds it up for half a second."""
    body, limits, gaps = big_json(20_000), Limits(SPEC, "ML", 20_000), [0.0]

    async def tick() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            gaps.append(time.perf_counter() - last)
            last = time.perf_counter()

    async def both() -> None:
        ticking = asyncio.create_task(tick())
        await asyncio.sleep(0.01)
        assert (await asyncio.to_thread(json_mel.parse, body, limits)).shape == (80, 20_000)
        ticking.cancel()

    assert len(body) > 32_000_000
    asyncio.run(both())
    assert len(gaps) > 50
    assert max(gaps) < 0.2
