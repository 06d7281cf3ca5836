"""`POST /v1/mel`: a recording in, its mel out, and nothing decoded that is longer than a request may be."""

import asyncio
import io
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest
import soundfile
import torch
from starlette.testclient import TestClient

from server.app import create_app
from server.desk import Busy, Desk
from tests.server.conftest import TINY, Serving, until
from tests.server.parcels import NPY, OCTETS, call, heard
from vocoder import LogMel, MelSpec, Vocoder, audio

SPEC = MelSpec()
WAV = {"Content-Type": "audio/wav"}


def recording(seconds: float = 0.5, rate: int = 22050) -> np.ndarray:
    """A tone that swells, float32."""
    time_ = np.arange(round(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * 220 * time_) * np.minimum(1, time_ * 4)).astype(np.float32)


def file(samples: np.ndarray, rate: int = 22050, kind: str = "WAV", code: str = "FLOAT") -> bytes:
    """The samples as a file of this kind."""
    held = io.BytesIO()
    soundfile.write(held, samples, rate, code, format=kind)
    return held.getvalue()


def array(body: bytes) -> np.ndarray:
    """The array of a .npy file."""
    return np.load(io.BytesIO(body), allow_pickle=False)


GOOD = file(recording())


def test_it_is_the_mel_of_the_recording(client: TestClient) -> None:
    """The file holds, bit for bit, what `LogMel` makes of the samples, and the headers say of which spec."""
    response = client.post("/v1/mel", content=GOOD, headers=WAV)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/x-npy"
    expected = LogMel(SPEC)(torch.from_numpy(recording())[None])[0].numpy()
    found = array(response.content)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
    assert found.shape == (80, SPEC.frames(len(recording())))
    told = response.headers
    assert (told["x-model"], told["x-mel-digest"]) == ("waveglow-tiny", SPEC.digest())
    assert (told["x-mel-frames"], told["x-sample-rate"]) == (str(found.shape[1]), "22050")


def test_layout(client: TestClient) -> None:
    """With layout=LM the array is [frames, bands], in the order of its memory too."""
    plain = array(client.post("/v1/mel", content=GOOD, headers=WAV).content)
    turned = array(client.post("/v1/mel?layout=LM", content=GOOD, headers=WAV).content)
    assert turned.flags.c_contiguous
    np.testing.assert_array_equal(turned, plain.T)


def test_what_it_gives_can_be_spoken(client: TestClient) -> None:
    """The mel of a recording goes back in, and frames × hop samples come out."""
    mel = client.post("/v1/mel?model=waveglow-tiny", content=GOOD, headers=WAV)
    spoken = client.post("/v1/vocode?format=pcm", content=mel.content, headers=NPY)
    assert spoken.status_code == 200
    assert len(spoken.content) == 2 * 256 * int(mel.headers["x-mel-frames"])


KINDS = [
    ("audio/x-wav", "WAV", "PCM_16"),
    ("audio/flac", "FLAC", "PCM_16"),
    ("audio/mpeg", "MP3", "MPEG_LAYER_III"),
    ("audio/ogg; codecs=vorbis", "OGG", "VORBIS"),
    ("audio/aiff", "AIFF", "PCM_16"),
    ("application/octet-stream", "WAV", "PCM_24"),
]


@pytest.mark.parametrize(("media", "kind", "code"), KINDS)
def test_kinds_of_files(client: TestClient, media: str, kind: str, code: str) -> None:
    """Whatever libsndfile reads will do; the loudest band of every frame in the middle is the tone's."""
    response = client.post(
        "/v1/mel", content=file(recording(), kind=kind, code=code), headers={"Content-Type": media}
    )
    assert response.status_code == 200
    middle = array(response.content)[:, 10:35]
    expected = LogMel(SPEC)(torch.from_numpy(recording())[None])[0].numpy()[:, 10:35]
    np.testing.assert_array_equal(middle.argmax(0), expected.argmax(0))


def test_rates_and_channels(client: TestClient) -> None:
    """A stereo file of 48 kHz is averaged and resampled to the model's rate before its mel is taken."""
    tone = recording(rate=48000)
    stereo = np.stack([tone, 0.5 * tone], 1)
    found = array(client.post("/v1/mel", content=file(stereo, 48000), headers=WAV).content)
    mono = audio.resample(torch.from_numpy(stereo.mean(1)), 48000, 22050)
    np.testing.assert_allclose(found, LogMel(SPEC)(mono[None])[0].numpy(), rtol=0, atol=1e-3)


FLAC_HOUR = file(np.zeros(22050 * 600, np.int16), kind="FLAC", code="PCM_16")
BAD = [
    ("no audio", WAV, b"RIFF....", "", 422, "invalid_audio", "not audio"),
    ("a mel", WAV, b"\x93NUMPY\x01\0", "", 422, "invalid_audio", "not audio"),
    ("empty", WAV, b"", "", 422, "invalid_audio", "empty"),
    ("no sample", WAV, file(np.zeros(0, np.float32)), "", 422, "invalid_audio", "no samples"),
    ("too short", WAV, file(recording(0.01)), "", 422, "invalid_audio", "at least 513"),
    ("not finite", WAV, file(np.full(4000, np.nan, np.float32)), "", 422, "invalid_audio", "finite"),
    (
        "too long",
        WAV,
        file(np.zeros(22050 * 61, np.int16), code="PCM_16"),
        "",
        422,
        "invalid_audio",
        "longer",
    ),
    ("ten minutes in 100 KB", {"Content-Type": "audio/flac"}, FLAC_HOUR, "", 422, "invalid_audio", "longer"),
    (
        "a frame too many",
        WAV,
        file(np.zeros(256 * 5168, np.int16), code="PCM_16"),
        "",
        413,
        "mel_too_long",
        "5169",
    ),
    ("another type", {"Content-Type": "video/mp4"}, GOOD, "", 415, "unsupported_media_type", "audio/wav"),
    ("no type", {}, GOOD, "", 415, "unsupported_media_type", ""),
    ("gzip", {**WAV, "Content-Encoding": "gzip"}, GOOD, "", 415, "unsupported_media_type", "identity"),
    ("unknown model", WAV, GOOD, "model=nobody", 404, "model_not_found", ""),
    ("unknown name", WAV, GOOD, "seed=1", 422, "invalid_parameter", "seed"),
    ("layout XY", WAV, GOOD, "layout=XY", 422, "invalid_parameter", "layout"),
    ("a path", OCTETS, b"/etc/passwd", "", 422, "invalid_audio", "not audio"),
]


@pytest.mark.parametrize(
    ("name", "headers", "body", "query", "status", "code", "word"), BAD, ids=[bad[0] for bad in BAD]
)
def test_refused_with_a_reason(
    client: TestClient,
    name: str,
    headers: dict[str, str],
    body: bytes,
    query: str,
    status: int,
    code: str,
    word: str,
) -> None:
    """The status and code fit, the reason is given in few bytes, and soon."""
    started = time.perf_counter()
    response = client.post(f"/v1/mel?{query}", content=body, headers=headers)
    assert time.perf_counter() - started < 1
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert word in error["message"]
    assert len(response.content) < 1024


@pytest.fixture(scope="module")
def narrow(voice: Vocoder) -> Iterator[TestClient]:
    """A service with one place at its desk and a small allowance of bytes and seconds for a body."""
    settings = TINY.model_copy(update={"max_body_bytes": 100_000, "body_timeout": 0.5})
    app = create_app(settings, load=lambda *_: voice)
    app.state.desk = Desk(threads=1, places=1)
    with TestClient(app) as client:
        until(lambda: client.get("/health/ready").status_code == 200)
        yield client


def test_a_body_that_is_too_large(narrow: TestClient) -> None:
    """Beyond `max_body_bytes` a recording is refused, whether its length is said beforehand or not."""
    long = file(recording(3.0))
    for content in (long, iter([long[:90_000], long[90_000:]])):
        response = narrow.post("/v1/mel", content=content, headers=WAV)
        assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")


def test_busy(narrow: TestClient) -> None:
    """When the desk has no place, the answer is 429 with a Retry-After; when it has one again, the mel."""
    held, done = threading.Event(), threading.Event()
    desk: Desk = narrow.app.state.desk  # type: ignore[attr-defined]
    until(lambda: _free(desk))  # an answer may be heard before its place is given up

    def hold() -> None:
        held.set()
        done.wait(20)

    other = threading.Thread(target=asyncio.run, args=(desk.do(hold),))
    other.start()
    try:
        assert held.wait(10)
        refused = narrow.post("/v1/mel", content=GOOD, headers=WAV)
    finally:
        done.set()
        other.join()
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "busy")
    assert int(refused.headers["retry-after"]) >= 1
    until(lambda: _free(desk))
    assert narrow.post("/v1/mel", content=GOOD, headers=WAV).status_code == 200


def test_work_that_nobody_waits_for_keeps_its_place() -> None:
    """A caller who leaves lets nobody in before the thread is done: memory and processor are still his."""
    desk, done = Desk(threads=1, places=1), threading.Event()

    async def leave() -> None:
        task = asyncio.create_task(desk.do(done.wait, 20))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(leave())
    with pytest.raises(Busy):
        desk.require_place()
    done.set()
    until(lambda: _free(desk))


def _free(desk: Desk) -> bool:
    with suppress(Busy):
        desk.require_place()
        return True
    return False


def test_a_body_that_stops(narrow: TestClient, serving: Serving) -> None:
    """A recording that stops half-way is given up after the time it has, and its place with it."""
    with (
        serving(create_app(narrow.app.state.settings)) as url,  # type: ignore[attr-defined]
        call(url, "Content-Length: 5000", media="audio/wav", path="/v1/mel") as caller,
    ):
        caller.sendall(GOOD[:500])
        answer = heard(caller)
    assert answer.startswith(b"HTTP/1.1 408")
