"""A worker for each device: who is least busy is asked first, and all of them end."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import httpx2
import pytest
import torch
from fastapi import FastAPI

from server.app import create_app
from server.settings import Settings
from tests.server.conftest import Serving, Turnstile, until
from tests.server.parcels import NPY, mel, npy
from tests.server.test_memory import _Broken
from vocoder import Vocoder


class _Box:
    """Two devices, each with a turnstile before its voice."""

    def __init__(self, voice: Vocoder) -> None:
        self.voice = voice
        self.turnstiles: list[Turnstile] = []

    def load(self, name: str, device: str | None) -> Vocoder:
        assert device == "cpu"
        self.turnstiles.append(Turnstile(self.voice))
        return self.turnstiles[-1]

    def app(self) -> FastAPI:
        return create_app(Settings(voice="waveglow-tiny", device="cpu,cpu"), load=self.load)

    @property
    def asked(self) -> list[list[int]]:
        """The seeds that each voice was asked for."""
        return sorted([[seed for seed, _ in each.asked] for each in self.turnstiles], reverse=True)


@pytest.fixture
def box(voice: Vocoder) -> Iterator[_Box]:
    """Two devices; their turnstiles turn freely at the end."""
    box = _Box(voice)
    yield box
    for each in box.turnstiles:
        each.let()


def _ask(url: str, frames: int, seed: int) -> int:
    target = f"{url}/v1/vocode?seed={seed}"
    return httpx2.post(target, content=npy(mel(frames)), headers=NPY, timeout=30).status_code


def test_the_least_busy_is_asked_first(box: _Box, serving: Serving) -> None:
    """By the frames that wait: a long request on one, two short ones on the other."""
    app = box.app()
    with serving(app) as url, ThreadPoolExecutor(4) as callers:
        asked: list[Future[int]] = []
        for seed, frames in ((4, 200), (3, 10), (2, 100), (1, 100)):
            asked.append(callers.submit(_ask, url, frames, seed))
            until(lambda: app.state.engine.requests == len(asked))
        assert app.state.engine.frames == 410
        assert sorted(worker.queue.frames for worker in app.state.engine.workers) == [200, 210]
        for each in box.turnstiles:
            each.let()
        assert {each.result() for each in asked} == {200}
    assert len(box.turnstiles) == 2
    assert box.asked == [[4], [3, 2, 1]]


def test_both_are_drained(box: _Box, serving: Serving) -> None:
    """Whoever waits is told at the end, on either; whoever is being served is served; both threads end."""
    app = box.app()
    with serving(app) as url, ThreadPoolExecutor(4) as callers:
        asked = []
        for seed in range(4):
            asked.append(callers.submit(_ask, url, 10, seed))
            until(lambda: app.state.engine.requests == len(asked))
        until(lambda: sum(map(len, box.asked)) == 2)
        app.state.engine.close()
        assert httpx2.get(f"{url}/health/ready").status_code == 503
        assert _ask(url, 1, 9) == 503
        app.state.engine.end()
        for each in box.turnstiles:
            each.let()
        assert sorted(each.result() for each in asked) == [200, 200, 503, 503]
    assert not any(worker._thread.is_alive() for worker in app.state.engine.workers)


def test_one_that_fails_is_enough_to_be_not_ready(voice: Vocoder, serving: Serving) -> None:
    """Not ready, so that others are asked and the process is ended; until then the sound device serves."""
    voices: list[Vocoder] = [_Broken(voice.model, voice.header), voice]
    app = create_app(Settings(voice="waveglow-tiny", device="cpu,cpu"), load=lambda *_: voices.pop())
    with serving(app) as url, ThreadPoolExecutor(4) as callers:
        while not app.state.engine.failure:
            codes = set(callers.map(_ask, [url] * 4, [100] * 4, range(4)))
            assert codes <= {200, 500, 503}
        assert isinstance(app.state.engine.failure, torch.AcceleratorError)
        assert httpx2.get(f"{url}/health/ready").status_code == 503
        assert _ask(url, 10, 4) == 200
