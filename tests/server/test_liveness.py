"""The event loop turns while everything else is busy: probes are answered, with the voice that is shipped."""

import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx2

from server.app import create_app
from server.settings import Settings
from tests.server.conftest import Serving, until
from tests.server.parcels import NPY, mel, npy

ONE, CLIPS = npy(mel(1200)), npy(mel(1200)[None])
WISHES = (
    ("format=flac&denoise=0.5", ONE),
    ("format=opus&stream=true", ONE),
    ("format=mp3&sample_rate=48000", ONE),
    ("format=wav_f32&sample_rate=192000", CLIPS),  # 11 MB of audio, in base64, in JSON
)


def test_liveness_while_the_shipped_voice_is_saturated(serving: Serving) -> None:
    """Long mels, denoised, resampled, encoded, streamed: 99 of 100 probes are answered within 50 ms."""
    app = create_app(Settings(voice="default", device="cpu", threads=1, max_requests=8))
    with serving(app) as url, _saturated(url), httpx2.Client() as http:
        until(lambda: app.state.engine.requests >= 4)
        assert any(_p99(http, url) < 0.05 for _ in range(3))  # somebody else's work may fall into one of them
        until(lambda: app.state.engine.requests > 0)  # it still is


@contextmanager
def _saturated(url: str) -> Iterator[None]:
    """A caller for each of the wishes, who asks again at once, until the end."""
    stop = threading.Event()
    with ThreadPoolExecutor(len(WISHES)) as callers:
        asking = [callers.submit(_ask_on, url, wish, stop) for wish in WISHES]
        try:
            yield
        finally:
            stop.set()
        assert all(each.result() >= 1 for each in asking)


def _ask_on(url: str, wish: tuple[str, bytes], stop: threading.Event) -> int:
    served, (query, body) = 0, wish
    while not stop.is_set():
        answer = httpx2.post(f"{url}/v1/vocode?{query}", content=body, headers=NPY, timeout=60)
        assert answer.status_code == 200
        served += 1
    return served


def _p99(http: httpx2.Client, url: str) -> float:
    times = []
    for _ in range(150):
        began = time.perf_counter()
        assert http.get(f"{url}/health/live").status_code == 200
        times.append(time.perf_counter() - began)
        time.sleep(0.002)
    return statistics.quantiles(times, n=100)[98]
