"""Bodies that are refused: each with its status and the reason, fast, and none of it sent back."""

import time
from typing import NamedTuple

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.server.parcels import (
    JSON,
    NPY,
    OCTETS,
    SAFETENSORS,
    about,
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

SMALL = mel(12)
KINDS = {"safetensors": SAFETENSORS, "json": JSON, "octets": OCTETS, "npy": NPY}


class Bad(NamedTuple):
    """What is sent, and how it is refused; `word` is in the message."""

    name: str
    kind: str
    body: bytes
    status: int
    code: str
    word: str = ""
    query: str = ""


ROW = "[" + ",".join(["-5.0"] * 12) + "]"
GRID = "[" + ",".join([ROW] * 80) + "]"
F32 = about("[80, 12]", "[0, 3840]")
DATA = SMALL.tobytes()
ST, JS = "malformed_safetensors", "malformed_json"

BAD = [
    # safetensors: what its own reader refuses, and what it does not
    Bad("empty", "safetensors", b"", 400, ST, "empty"),
    Bad("cut in the length", "safetensors", b"\x40\0\0", 400, ST, "within"),
    Bad("cut in the header", "safetensors", tensors(mel=SMALL)[:40], 400, ST, "within"),
    Bad("cut in the data", "safetensors", tensors(mel=SMALL)[:-1], 400, ST, "promises"),
    Bad("trailing byte", "safetensors", tensors(mel=SMALL) + b"\0", 400, ST, "more bytes"),
    Bad("huge header", "safetensors", forged_tensors(F32, DATA, length=2**63), 400, ST, "4096"),
    Bad("long header", "safetensors", forged_tensors(F32 + " " * 5000, DATA), 400, ST, "4096"),
    Bad("header of nothing", "safetensors", forged_tensors(""), 400, ST, "read"),
    Bad("deep header", "safetensors", forged_tensors("[" * 4000), 400, ST, "read"),
    Bad("not UTF-8", "safetensors", forged_tensors(b"\xff" * 50), 400, ST, "read"),
    Bad("a list", "safetensors", forged_tensors("[1, 2]"), 400, ST, "exactly one"),
    Bad("no tensor", "safetensors", forged_tensors("{}"), 400, ST, "exactly one"),
    Bad("two tensors", "safetensors", tensors(a=SMALL, b=SMALL), 400, ST, "exactly one"),
    Bad("twice the key", "safetensors", forged_tensors(f"{F32[:-1]}, {F32[1:]}", DATA), 400, ST, "read"),
    Bad(
        "a field more",
        "safetensors",
        forged_tensors('{"m": {"dtype": "F32", "x": 1}}'),
        400,
        ST,
        "exactly one",
    ),
    Bad(
        "offsets past the end",
        "safetensors",
        forged_tensors(about("[80, 12]", "[0, 9999]"), DATA),
        400,
        ST,
        "data_",
    ),
    Bad(
        "offsets from 8",
        "safetensors",
        forged_tensors(about("[80, 12]", "[8, 3848]"), DATA),
        400,
        ST,
        "data_",
    ),
    Bad("offsets of text", "safetensors", forged_tensors(about("[80, 12]", '"all"'), DATA), 400, ST, "data_"),
    Bad("overflow", "safetensors", forged_tensors(about("[80, 9e30]", "[0, 8]")), 400, ST, "shape"),
    Bad(
        "terabytes",
        "safetensors",
        forged_tensors(about(f"[80, {10**12}]", f"[0, {320 * 10**12}]")),
        413,
        "mel_too_long",
    ),
    Bad("negative axis", "safetensors", forged_tensors(about("[80, -5]", "[0, 8]")), 400, ST, "shape"),
    Bad(
        "axis true",
        "safetensors",
        forged_tensors(about("[80, true]", "[0, 320]"), bytes(320)),
        400,
        ST,
        "shape",
    ),
    Bad(
        "bfloat16",
        "safetensors",
        forged_tensors(about("[80, 12]", "[0, 1920]", "BF16"), bytes(1920)),
        422,
        "invalid_mel",
        "BF16",
    ),
    Bad("integers", "safetensors", tensors(mel=np.zeros((80, 5), "i4")), 422, "invalid_mel", "I32"),
    Bad("79 bands", "safetensors", tensors(mel=np.zeros((79, 5), "f4")), 422, "invalid_mel", "[79, 5]"),
    Bad(
        "nan",
        "safetensors",
        tensors(mel=np.full((80, 5), np.nan, "f4")),
        422,
        "invalid_mel",
        "frame 0, band 0",
    ),
    Bad("npy by another name", "safetensors", npy(SMALL), 400, ST, "4096"),
    Bad("safetensors by another name", "npy", tensors(mel=SMALL), 415, "unsupported_media_type"),
    # bytes of neither kind
    Bad("pickle", "octets", b"\x80\x04\x95" + bytes(60), 415, "unsupported_media_type", "neither"),
    Bad("npz", "octets", b"PK\x03\x04" + bytes(60), 415, "unsupported_media_type", "neither"),
    Bad("nothing", "octets", b"", 400, "malformed_body", "empty"),
    Bad("three bytes", "octets", b"\x01\x02\x03", 400, "malformed_body", "within"),
    # JSON
    Bad("empty", "json", b"", 400, JS, "byte 0"),
    Bad("no object", "json", b"[[0.0]]", 400, JS, "byte 0"),
    Bad("no mel", "json", b"{}", 400, JS),
    Bad("another key", "json", b'{"mol": [[0.0]]}', 400, JS, "mel once"),
    Bad("a key more", "json", rows(f'{GRID}, "seed": 1'), 400, JS, "no other key"),
    Bad("twice the key", "json", rows(f'{GRID}, "mel": {GRID}'), 400, JS, "once"),
    Bad("trailing text", "json", rows(GRID) + b" x", 400, JS, "the end"),
    Bad("two bodies", "json", rows(GRID) * 2, 400, JS, "the end"),
    Bad("cut in the list", "json", rows(GRID)[:-9], 400, JS, "list"),
    Bad("cut after the list", "json", rows(GRID)[:-1], 400, JS),
    Bad("NaN", "json", rows(GRID.replace("-5.0", "NaN", 1)), 400, JS, "numbers"),
    Bad("Infinity", "json", rows(GRID.replace("-5.0", "-Infinity", 1)), 400, JS, "numbers"),
    Bad("1e999", "json", rows(GRID.replace("-5.0", "1e999", 1)), 422, "invalid_mel", "frame 0, band 0"),
    Bad("1e39", "json", rows(GRID.replace("-5.0", "1e39", 1)), 422, "invalid_mel", "frame 0, band 0"),
    Bad(
        "5000 digits",
        "json",
        rows(GRID.replace("-5.0", "1" * 5000, 1)),
        422,
        "invalid_mel",
        "frame 0, band 0",
    ),
    Bad("70000 digits", "json", rows(GRID.replace("-5.0", "1" * 70_000, 1)), 400, JS, "digits"),
    Bad(
        "text for a number",
        "json",
        rows(GRID.replace("-5.0", '"-5.0"', 1)),
        422,
        "invalid_mel",
        "not a number",
    ),
    Bad("null", "json", rows(GRID.replace("-5.0", "null", 1)), 422, "invalid_mel", "not a number"),
    Bad("true", "json", rows(GRID.replace("-5.0", "true", 1)), 422, "invalid_mel", "not a number"),
    Bad(
        "object for a number", "json", rows(GRID.replace("-5.0", "{}", 1)), 422, "invalid_mel", "not a number"
    ),
    Bad("list for a number", "json", rows(GRID.replace("-5.0", "[1]", 1)), 400, JS),
    Bad("hexadecimal", "json", rows(GRID.replace("-5.0", "0x1F", 1)), 400, JS, "numbers"),
    Bad("leading plus", "json", rows(GRID.replace("-5.0", "+5.0", 1)), 400, JS, "numbers"),
    Bad("leading zero", "json", rows(GRID.replace("-5.0", "05.0", 1)), 400, JS, "numbers"),
    Bad("comma too many", "json", rows(GRID.replace("-5.0]", "-5.0,]", 1)), 400, JS, "number"),
    Bad("commas only", "json", rows("[[,]]"), 400, JS, "number"),
    Bad("a number", "json", rows("1"), 400, JS, "expected ["),
    Bad("null", "json", rows("null"), 400, JS, "expected ["),
    Bad("flat", "json", rows("[1.0, 2.0]"), 422, "invalid_mel", "[2]"),
    Bad("no list", "json", rows("[]"), 422, "invalid_mel", "empty"),
    Bad("empty lists", "json", rows("[[],[]]"), 422, "invalid_mel", "empty"),
    Bad("ragged", "json", rows(GRID.replace("-5.0,", "", 1)), 422, "invalid_mel", "ragged"),
    Bad("ragged in depth", "json", rows(f"[{GRID}, [1.0]]"), 422, "invalid_mel", "ragged"),
    Bad("81 bands", "json", rows("[" + ",".join([ROW] * 81) + "]"), 422, "invalid_mel", "[81, 12]"),
    Bad("a million lists", "json", rows("[" + "[1]," * 10**6 + "[1]]"), 422, "invalid_mel", "[81, 1]"),
    Bad("4 axes", "json", rows(f"[[{GRID}]]"), 422, "invalid_mel", "deeper"),
    Bad("depth 100000", "json", rows("[" * 100_000), 422, "invalid_mel", "deeper"),
    Bad("too long", "json", rows("[[" + "-5," * 5168 + "-5]]"), 413, "mel_too_long", "5168"),
    Bad(
        "a list too long",
        "json",
        rows("[[" + "-5," * 80 + "-5]]"),
        422,
        "invalid_mel",
        "80 numbers",
        "layout=LM",
    ),
    Bad(
        "rows too many",
        "json",
        rows("[" + f"[{'0,' * 79}0]," * 5168 + f"[{'0,' * 79}0]]"),
        413,
        "mel_too_long",
        "5169",
        "layout=LM",
    ),
    Bad("UTF-16", "json", rows(GRID).decode().encode("utf-16"), 400, JS, "byte 0"),
    Bad("byte order mark", "json", b"\xef\xbb\xbf" + rows(GRID), 400, JS, "byte 0"),
    Bad("much white space", "json", b" " * 9000 + rows(GRID), 400, JS),
    Bad("string without end", "json", b'{"mel', 400, JS, "string"),
    # base64
    Bad("no dtype", "json", b'{"mel": {"data": "AAAA", "shape": [80, 1]}}', 400, JS, "data, dtype and shape"),
    Bad("a field twice", "json", b'{"mel": {"data": "AAAA", "data": "AAAA"}}', 400, JS, "once"),
    Bad("unknown field", "json", packed(SMALL, order="F"), 400, JS, "no other key"),
    Bad("int32", "json", packed(SMALL, dtype="int32"), 422, "invalid_mel", "float16"),
    Bad("dtype of NumPy", "json", packed(SMALL, dtype=">f4"), 422, "invalid_mel", "float16"),
    Bad("other length", "json", packed(SMALL, shape=[80, 11]), 400, JS, "promise"),
    Bad("terabytes", "json", packed(SMALL, shape=[80, 10**12]), 413, "mel_too_long", "5168"),
    Bad("overflow", "json", packed(SMALL, shape=[80, 2**62, 2**62]), 422, "invalid_mel"),
    Bad("negative", "json", packed(SMALL, shape=[80, -12]), 400, JS, "whole"),
    Bad("fraction", "json", packed(SMALL, shape=[80, 11.5]), 400, JS, "whole"),
    Bad("endless", "json", packed(SMALL).replace(b"[80, 12]", b"[80, 1e999]"), 400, JS, "whole"),
    Bad("shape of text", "json", packed(SMALL, shape="80"), 400, JS),
    Bad("scalar", "json", packed(SMALL, shape=[]), 422, "invalid_mel", "[]"),
    Bad("many axes", "json", packed(SMALL, shape=[1] * 100), 400, JS, "few"),
    Bad("not base64", "json", packed(SMALL, data="?" * 5120), 400, JS, "base64"),
    Bad("base64 of URLs", "json", packed(SMALL, data="_" * 5120), 400, JS, "base64"),
    Bad("padding inside", "json", packed(SMALL, data="AA==" + "A" * 5116), 400, JS, "base64"),
    Bad("escapes", "json", packed(SMALL, data="\n" * 2560), 400, JS, "base64"),
    Bad("a null for data", "json", packed(SMALL, data=None), 400, JS),
    # batches: [B, M, L], B at most 16 and B · L at most 5168
    Bad("17 clips", "npy", npy(np.zeros((17, 80, 1), "f4")), 413, "too_many_clips", "17 clips"),
    Bad("17 clips", "json", listed(np.zeros((17, 80, 1))), 413, "too_many_clips", "17 clips"),
    Bad("no clip", "npy", npy(np.zeros((0, 80, 5), "f4")), 422, "invalid_mel", "[0, 80, 5]"),
    Bad("clips of no frame", "safetensors", tensors(m=np.zeros((2, 80, 0), "f4")), 422, "invalid_mel"),
    Bad("too many frames in all", "npy", forged(header("(2, 80, 2585)")), 413, "mel_too_long", "2585"),
    Bad("nan in a clip", "npy", npy(np.array([SMALL, SMALL * np.nan])), 422, "invalid_mel", "item 1"),
    Bad("turned batch", "npy", npy(np.zeros((2, 12, 80), "f4")), 422, "invalid_mel", "layout"),
]


@pytest.mark.parametrize("bad", BAD, ids=[f"{bad.kind}: {bad.name}" for bad in BAD])
def test_refused_with_a_reason_and_without_harm(client: TestClient, bad: Bad) -> None:
    """The status and code fit, the reason is given in few bytes, fast, and nothing of the body comes back."""
    started = time.perf_counter()
    response = client.post(f"/v1/vocode?{bad.query}", content=bad.body, headers=KINDS[bad.kind])
    elapsed = time.perf_counter() - started
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (bad.status, bad.code)
    assert bad.word in error["message"]
    assert len(response.content) < 1024
    assert elapsed < 1
    assert client.post("/v1/vocode", content=npy(mel(1)), headers=NPY).status_code == 200
