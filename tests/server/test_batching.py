"""`batch_frames`: strangers rendered together, each as it would be alone, within a budget."""

import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx2
import numpy as np
import pytest
import soundfile
from fastapi import FastAPI
from torch import Tensor

from server.app import create_app
from server.settings import Settings
from tests.server.conftest import Serving, Turnstile, until
from tests.server.parcels import NPY, mel, npy
from vocoder import Vocoder, Window
from vocoder.errors import SynthesisError


class Choir(Turnstile):
    """A voice that notes the widths of every batch, and cannot speak with seed 13."""

    def __init__(self, voice: Vocoder) -> None:
        super().__init__(voice)
        self.batches: list[list[int]] = []

    def render(
        self, windows: Sequence[Window], *, seeds: Sequence[int], temperatures: Sequence[float]
    ) -> list[Tensor]:
        """The voice's, behind its turnstile."""
        made = super().render(windows, seeds=seeds, temperatures=temperatures)
        if any(temperatures):
            self.batches.append([window.width for window in windows])
        if 13 in seeds:
            raise SynthesisError("audio has a sample that is not finite")
        return made


@pytest.fixture
def choir(voice: Vocoder) -> Iterator[Choir]:
    """A voice that renders batches when it is let."""
    choir = Choir(voice)
    yield choir
    choir.let()


def _app(voice: Vocoder, **settings: Any) -> FastAPI:
    return create_app(Settings(voice="waveglow-tiny", **settings), load=lambda *_: voice)


def _ask(url: str, frames: int, query: str) -> httpx2.Response:
    body = npy(mel(frames, seed=frames))
    return httpx2.post(f"{url}/v1/vocode?format=wav_f32&{query}", content=body, headers=NPY, timeout=30)


Order = Callable[[int, str], "Future[httpx2.Response]"]


def _queue(app: FastAPI, callers: ThreadPoolExecutor, url: str) -> Order:
    """Sends requests one after another, each when the one before waits or is at work."""

    def ask(frames: int, query: str) -> "Future[httpx2.Response]":
        waiting = app.state.engine.requests
        asked = callers.submit(_ask, url, frames, query)
        until(lambda: app.state.engine.requests == waiting + 1)
        return asked

    return ask


def test_strangers_sound_as_they_do_alone(choir: Choir, voice: Vocoder, serving: Serving) -> None:
    """Of other lengths, seeds and temperatures: each is its own, and the metrics tell of the batch."""
    app = _app(choir, batch_frames=1000, batch_delay=0.0)
    wishes = [(7, 3, 1.0), (90, 4, 0.5), (31, 5, 0.7), (1, 6, 1.5)]
    with serving(app) as url, ThreadPoolExecutor(5) as callers:
        ask = _queue(app, callers, url)
        first = ask(5, "seed=1")
        until(lambda: len(choir.asked) == 1)
        asked = [ask(frames, f"seed={seed}&temperature={scale}") for frames, seed, scale in wishes]
        choir.let()
        assert first.result().status_code == 200
        for (frames, seed, scale), each in zip(wishes, asked, strict=True):
            made, _ = soundfile.read(io.BytesIO(each.result().content), dtype="float32")
            alone = voice(mel(frames, seed=frames), seed=seed, temperature=scale).numpy()
            np.testing.assert_allclose(made, alone, rtol=0, atol=1e-5)
        text = httpx2.get(f"{url}/metrics").text
    assert choir.batches == [[5], [7, 90, 31, 1]]
    assert 'vocoder_batch_size_bucket{le="1.0"} 1.0' in text
    assert 'vocoder_batch_size_bucket{le="4.0"} 2.0' in text
    assert f"vocoder_batch_frames_sum {5 + 4 * 90}.0" in text


def test_a_batch_keeps_to_its_budget(choir: Choir, serving: Serving) -> None:
    """Padding counts; what does not fit waits for the next; what is larger than the budget goes alone."""
    app = _app(choir, batch_frames=100, batch_delay=0.0)
    with serving(app) as url, ThreadPoolExecutor(8) as callers:
        ask = _queue(app, callers, url)
        asked = [ask(5, "seed=1")]
        until(lambda: len(choir.asked) == 1)
        asked += [ask(frames, "seed=2") for frames in (30, 40, 20, 10, 101, 50)]
        choir.let()
        assert {each.result().status_code for each in asked} == {200}
    assert choir.batches == [[5], [30, 40], [20, 10], [101], [50]]


def test_a_batch_of_nobody_else_is_not_waited_for_long(choir: Choir, serving: Serving) -> None:
    """Alone, a request waits for `batch_delay` and no longer."""
    choir.let()
    with serving(_app(choir, batch_frames=1000, batch_delay=0.3)) as url:
        answer = _ask(url, 10, "seed=1")
        assert 0.3 <= float(answer.headers["x-total-time"]) < 2
    with serving(_app(choir, batch_frames=0, batch_delay=5.0)) as url:
        assert float(_ask(url, 10, "seed=1").headers["x-total-time"]) < 2


def test_a_stranger_that_fails_fails_alone(choir: Choir, voice: Vocoder, serving: Serving) -> None:
    """One whose samples are not finite is told so, and the others of its batch hear nothing of it."""
    app = _app(choir, batch_frames=1000, batch_delay=0.0)
    with serving(app) as url, ThreadPoolExecutor(4) as callers:
        ask = _queue(app, callers, url)
        first = ask(5, "seed=1")
        until(lambda: len(choir.asked) == 1)
        asked = [ask(frames, f"seed={seed}") for frames, seed in ((20, 12), (21, 13), (22, 14))]
        choir.let()
        assert first.result().status_code == 200
        assert [each.result().status_code for each in asked] == [200, 422, 200]
        made, _ = soundfile.read(io.BytesIO(asked[2].result().content), dtype="float32")
    np.testing.assert_allclose(made, voice(mel(22, seed=22), seed=14).numpy(), rtol=0, atol=1e-5)
    assert choir.batches[1] == [20, 21, 22]


def test_models_are_not_mixed(voice: Vocoder, serving: Serving) -> None:
    """A batch is of one model; who waits for another one is served next."""
    choirs = {name: Choir(voice) for name in ("waveglow-tiny", "other")}
    settings = Settings(voice="waveglow-tiny", models={"other": "waveglow-tiny"}, batch_frames=1000)
    app = create_app(settings, load=lambda name, _: choirs[name])
    with serving(app) as url, ThreadPoolExecutor(5) as callers:
        ask = _queue(app, callers, url)
        asked = [ask(5, "seed=1")]
        until(lambda: len(choirs["waveglow-tiny"].asked) == 1)
        for frames in (10, 11):
            asked += [ask(frames, "seed=2"), ask(frames, "seed=2&model=other")]
        for each in choirs.values():
            each.let()
        assert {each.result().status_code for each in asked} == {200}
    assert choirs["waveglow-tiny"].batches == [[5], [10, 11]]
    assert choirs["other"].batches == [[10, 11]]


def test_a_clip_is_not_batched_with_itself(choir: Choir, serving: Serving) -> None:
    """The window that is rendered ahead leaves the first audio alone; clips of one request do go together."""
    choir.let()
    with serving(_app(choir, batch_frames=10_000, batch_delay=0.1, chunk_frames=32)) as url:
        body = npy(mel(160))
        stream = httpx2.post(f"{url}/v1/vocode?stream=true", content=body, headers=NPY, timeout=30)
        assert len(stream.content) == 44 + 2 * 256 * 160
        assert [len(batch) for batch in choir.batches] == [1] * 5
        clips = npy(np.stack([mel(20, seed=seed) for seed in range(3)]))
        assert httpx2.post(f"{url}/v1/vocode", content=clips, headers=NPY, timeout=30).status_code == 200
    assert len(choir.batches[5]) == 3
