"""A device that runs out of memory: halves, refusals, not ready; and one that is beyond help."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import torch
from fastapi import FastAPI
from torch import Tensor

from server.app import create_app
from server.settings import Settings
from tests.server.conftest import Serving, until
from tests.server.parcels import NPY, mel, npy
from vocoder import Vocoder, Window, audio

ROOT = Path(__file__).parents[2]
PLENTY = 10**9


class Cramped(Vocoder):
    """A voice on a device that holds `room` frames at once, padding included, and notes what it held."""

    def __init__(self, voice: Vocoder) -> None:
        super().__init__(voice.model, voice.header)
        self.room = PLENTY
        self.held: list[list[int]] = []

    def render(
        self, windows: Sequence[Window], *, seeds: Sequence[int], temperatures: Sequence[float]
    ) -> list[Tensor]:
        """The voice's, if there is room."""
        widths = [window.width for window in windows]
        if max(widths) * len(widths) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        self.held.append(widths)
        return super().render(windows, seeds=seeds, temperatures=temperatures)


@pytest.fixture
def cramped(voice: Vocoder) -> Cramped:
    """A voice whose room the test sets, once it is loaded."""
    return Cramped(voice)


def _app(voice: Vocoder, **settings: Any) -> FastAPI:
    return create_app(Settings(voice="waveglow-tiny", **settings), load=lambda *_: voice)


def _ask(url: str, frames: int, seed: int = 1) -> httpx2.Response:
    query = f"seed={seed}&format=wav_f32"
    return httpx2.post(f"{url}/v1/vocode?{query}", content=npy(mel(frames)), headers=NPY, timeout=30)


def _shortages(app: FastAPI) -> float:
    counter = app.state.metrics.cuda_oom_total
    return sum(one.value for one in counter.collect()[0].samples if one.name.endswith("_total"))


def test_a_mel_that_does_not_fit_is_rendered_in_halves(
    cramped: Cramped, voice: Vocoder, serving: Serving
) -> None:
    """Once, with the halo on either side; nobody hears it, the metrics do."""
    app = _app(cramped)
    with serving(app) as url:
        cramped.room, cramped.held = 80, []
        answer = _ask(url, 101)
        assert answer.status_code == 200
        assert cramped.held == [[51 + 7], [50 + 7]]
        made, expected = audio.decode(answer.content, 22050).numpy(), voice(mel(101), seed=1).numpy()
        np.testing.assert_allclose(made, expected, rtol=0, atol=1e-5)
        assert _shortages(app) == 1
        assert httpx2.get(f"{url}/health/ready").status_code == 200


def test_strangers_that_do_not_fit_together_are_parted(
    cramped: Cramped, voice: Vocoder, serving: Serving
) -> None:
    """A batch too large for the device is rendered in two."""
    app = _app(cramped, batch_frames=10_000, batch_delay=0.3)
    with serving(app) as url, ThreadPoolExecutor(4) as callers:
        cramped.room, cramped.held = 50, []
        asked = [callers.submit(_ask, url, 20, seed) for seed in range(4)]
        for seed, each in enumerate(asked):
            made = audio.decode(each.result().content, 22050).numpy()
            np.testing.assert_allclose(made, voice(mel(20), seed=seed).numpy(), rtol=0, atol=1e-5)
    assert cramped.held == [[20, 20], [20, 20]]
    assert _shortages(app) == 1


def test_hopeless_is_503_then_not_ready_then_ready_again(cramped: Cramped, serving: Serving) -> None:
    """Told to come again; after `oom_limit` of these not ready; and ready when memory has come back."""
    app = _app(cramped, oom_limit=2)
    with serving(app) as url:
        cramped.room = 10
        for _ in range(2):
            assert httpx2.get(f"{url}/health/ready").status_code == 200
            answer = _ask(url, 100)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "out_of_memory")
            assert int(answer.headers["retry-after"]) >= 1 and "x-should-retry" not in answer.headers
            assert "GiB" not in answer.text
        refused = httpx2.get(f"{url}/health/ready")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_ready")
        assert _ask(url, 1).status_code == 503
        assert httpx2.get(f"{url}/health/live").status_code == 200
        assert app.state.engine.failure is None
        cramped.room = PLENTY
        until(lambda: httpx2.get(f"{url}/health/ready").status_code == 200, 5)
        assert _ask(url, 100).status_code == 200


def test_failures_that_are_not_in_a_row_are_forgiven(cramped: Cramped, serving: Serving) -> None:
    """A mel that is too large for the device says nothing of the others."""
    with serving(_app(cramped, oom_limit=2)) as url:
        cramped.room = 40
        for _ in range(3):
            assert _ask(url, 300).status_code == 503
            assert _ask(url, 30).status_code == 200
        assert httpx2.get(f"{url}/health/ready").status_code == 200


def test_other_work_runs_out_of_memory_as_well(voice: Vocoder, serving: Serving, tmp_path: Path) -> None:
    """Scoring, or loading another model, is refused as rendering is: 503, to come again."""

    class Unscored(Vocoder):
        def score_frames(self, *_: Any, **__: Any) -> Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

        score = score_frames  # type: ignore[assignment]  # neither returns

    def load(name: str, device: str | None) -> Vocoder:
        if name == "large":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return Unscored(voice.model, voice.header)

    shutil.copy(ROOT / "checkpoints" / "waveglow-tiny.safetensors", tmp_path / "large.safetensors")
    app = create_app(Settings(voice="waveglow-tiny", models_dir=tmp_path), load=load)
    sound = audio.encode(voice(mel(40), seed=1), 22050)
    with serving(app) as url:
        scored = httpx2.post(f"{url}/v1/score", files={"audio": ("a.wav", sound, "audio/wav")}, timeout=30)
        spoken = httpx2.post(f"{url}/v1/vocode?model=large", content=npy(mel(3)), headers=NPY, timeout=30)
        for answer in (scored, spoken):
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "out_of_memory")
            assert int(answer.headers["retry-after"]) >= 1
        assert httpx2.get(f"{url}/health/ready").status_code == 200


class _Broken(Vocoder):
    """A voice on a device that fails for good when it is asked for speech."""

    def render(
        self, windows: Sequence[Window], *, seeds: Sequence[int], temperatures: Sequence[float]
    ) -> list[Tensor]:
        if any(temperatures):
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        return super().render(windows, seeds=seeds, temperatures=temperatures)


def test_a_device_that_has_failed_ends_its_worker(voice: Vocoder, serving: Serving) -> None:
    """A context that is broken stays so: who asked is told, nobody else is admitted, it is never ready."""
    app = _app(_Broken(voice.model, voice.header))
    with serving(app) as url:
        answer = _ask(url, 10)
        assert answer.status_code == 503 and "illegal" not in answer.text
        until(lambda: isinstance(app.state.engine.failure, torch.AcceleratorError))
        assert httpx2.get(f"{url}/health/ready").status_code == 503
        assert _ask(url, 10).status_code == 503
        assert httpx2.get(f"{url}/health/live").status_code == 200


SERVE_BROKEN = """
import torch
import server.app
from server.run import serve

class Broken(server.app.Vocoder):
    def render(self, windows, *, seeds, temperatures):
        if any(temperatures):
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        return super().render(windows, seeds=seeds, temperatures=temperatures)

server.app.Vocoder = Broken
serve()
"""


def test_the_process_ends_with_its_device() -> None:
    """So that whoever runs it starts another: it exits by itself, non-zero, and its log says why."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"PORT": str(port), "VOICE": "waveglow-tiny", "THREADS": "1", "DEVICE": "cpu"}
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SERVE_BROKEN],
        env={**os.environ, "PYTHONPATH": str(ROOT), **{f"VOCODER_{k}": v for k, v in settings.items()}},
        stderr=subprocess.PIPE,
        text=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: _ready(url), 60)
        assert _ask(url, 10).status_code == 503
        _, said = process.communicate(timeout=20)
        assert process.returncode not in (0, None)
        assert "the worker of cpu has failed" in said and "illegal memory access" in said
    finally:
        process.kill()
        process.communicate()


def _ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/health/ready", timeout=5).status_code == 200
    except httpx2.TransportError:
        return False
