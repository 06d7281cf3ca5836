"""A batch of mels `[B, M, L]` in one request: each clip is what it would be alone."""

import base64
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import numpy as np
import pytest
import soundfile
from starlette.testclient import TestClient
from torch import Tensor

from server.app import create_app
from server.settings import Settings
from tests.server.conftest import Serving, Turnstile, until
from tests.server.parcels import JSON, NPY, SAFETENSORS, listed, mel, npy, packed, tensors
from vocoder import Vocoder, Window
from vocoder.errors import SynthesisError

HOP = 256
BATCH = np.stack([mel(30, seed=clip) for clip in range(3)])


@pytest.fixture(scope="module")
def small(voice: Vocoder) -> Iterator[TestClient]:
    """A service that takes four clips, and a hundred frames of them."""
    settings = Settings(voice="waveglow-tiny", max_clips=4, max_frames=100, chunk_frames=16)
    with TestClient(create_app(settings, load=lambda *_: voice)) as client:
        until(lambda: client.get("/health/ready").status_code == 200)
        yield client


@pytest.mark.parametrize("query", ["", "denoise=0.6", "format=flac&sample_rate=16000", "format=wav_f32"])
def test_each_clip_is_what_it_is_alone(small: TestClient, query: str) -> None:
    """With seed + b: the same samples, to the last bit but one, and what is said of them is true."""
    answer = small.post(f"/v1/vocode?seed=5&{query}", content=npy(BATCH), headers=NPY)
    listed = answer.json()
    assert (answer.status_code, listed["object"], len(listed["data"])) == (200, "list", 3)
    for index, clip in enumerate(listed["data"]):
        alone = small.post(f"/v1/vocode?seed={5 + index}&{query}", content=npy(BATCH[index]), headers=NPY)
        assert (clip["index"], clip["seed"]) == (index, 5 + index)
        assert clip["media_type"] == alone.headers["content-type"]
        assert str(clip["samples"]) == alone.headers["x-audio-samples"]
        assert clip["duration"] == pytest.approx(clip["samples"] / listed["sample_rate"])
        (left, rate), (right, _) = (
            soundfile.read(io.BytesIO(each)) for each in (base64.b64decode(clip["audio"]), alone.content)
        )
        assert (rate, len(left)) == (listed["sample_rate"], clip["samples"])
        np.testing.assert_allclose(left, right, rtol=0, atol=2**-15)


def test_however_it_comes(small: TestClient) -> None:
    """As .npy, safetensors, JSON in either way, turned round: the same answer; of one clip a list, too."""
    expected = small.post("/v1/vocode?seed=1", content=npy(BATCH), headers=NPY).json()
    turned = np.ascontiguousarray(BATCH.swapaxes(1, 2))
    for query, body, media in (
        ("", tensors(mel=BATCH), SAFETENSORS),
        ("", listed(BATCH), JSON),
        ("", packed(BATCH), JSON),
        ("&layout=LM", npy(turned), NPY),
    ):
        assert small.post(f"/v1/vocode?seed=1{query}", content=body, headers=media).json() == expected
    one = small.post("/v1/vocode?seed=1", content=npy(BATCH[:1]), headers=NPY).json()
    assert one["data"] == expected["data"][:1]


def test_seeds_are_drawn_once(small: TestClient) -> None:
    """Without a seed the clips have neighbouring ones, which give the same audio again."""
    first = small.post("/v1/vocode", content=npy(BATCH), headers=NPY).json()
    seeds = [clip["seed"] for clip in first["data"]]
    assert seeds == list(range(seeds[0], seeds[0] + 3))
    again = small.post(f"/v1/vocode?seed={seeds[0]}", content=npy(BATCH), headers=NPY)
    assert again.json() == first
    assert again.headers["x-seed"] == str(seeds[0])


@pytest.mark.parametrize(
    ("shape", "status", "code"),
    [
        ((5, 80, 2), 413, "too_many_clips"),
        ((4, 80, 26), 413, "mel_too_long"),
        ((0, 80, 5), 422, "invalid_mel"),
        ((2, 80, 0), 422, "invalid_mel"),
        ((2, 79, 5), 422, "invalid_mel"),
        ((1, 2, 80, 5), 422, "invalid_mel"),
    ],
)
def test_clips_are_bounded(small: TestClient, shape: tuple[int, ...], status: int, code: str) -> None:
    """In number, and in frames of all of them together."""
    answer = small.post("/v1/vocode", content=npy(np.full(shape, -5, np.float32)), headers=NPY)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_batch_is_not_streamed(small: TestClient) -> None:
    """It is a list, which has no beginning that could be sent early; not even of one clip."""
    for clips in (1, 2):
        answer = small.post("/v1/vocode?stream=true", content=npy(BATCH[:clips]), headers=NPY)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_mel")


def test_a_place_for_all_clips(turnstile: Turnstile, serving: Serving) -> None:
    """A batch is one request in the queue, with the frames of all its clips."""
    settings = Settings(voice="waveglow-tiny", max_queued_frames=100, max_frames=100)
    app = create_app(settings, load=lambda *_: turnstile)
    with serving(app) as url, ThreadPoolExecutor(1) as callers:
        batch = callers.submit(_ask, url, BATCH)
        until(lambda: len(turnstile.asked) == 1)
        assert (app.state.engine.requests, app.state.engine.frames) == (1, 90)
        assert _ask(url, mel(11)) == 429
        turnstile.let()
        assert batch.result() == 200
        assert (app.state.engine.requests, app.state.engine.frames) == (0, 0)


def _ask(url: str, array: np.ndarray, query: str = "") -> int:
    answer = httpx2.post(f"{url}/v1/vocode?seed=1{query}", content=npy(array), headers=NPY, timeout=30)
    return answer.status_code


class _Fussy(Turnstile):
    """A voice that cannot speak with seed 2."""

    def render(
        self, windows: Sequence[Window], *, seeds: Sequence[int], temperatures: Sequence[float]
    ) -> list[Tensor]:
        made = super().render(windows, seeds=seeds, temperatures=temperatures)
        if 2 in seeds:
            raise SynthesisError("audio has a sample that is not finite")
        return made


def test_one_clip_that_fails_ends_all(voice: Vocoder, serving: Serving) -> None:
    """The answer is a refusal, so what the other clips still had to render is not rendered."""
    fussy: Any = _Fussy(voice)
    app = create_app(Settings(voice="waveglow-tiny", chunk_frames=10), load=lambda *_: fussy)
    with serving(app) as url, ThreadPoolExecutor(1) as callers:
        batch = callers.submit(_ask, url, np.repeat(BATCH, 2, axis=2))
        fussy.let(3)
        assert batch.result() == 422
        until(lambda: app.state.engine.requests <= 1)
        fussy.let()
        until(lambda: app.state.engine.requests == 0)
        assert _ask(url, mel(3)) == 200
    assert len(fussy.asked) <= 6 < 3 * 6
