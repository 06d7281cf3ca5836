"""`stream=true`: exact lengths before the samples, the same audio, and streams that nobody takes."""

import asyncio
import contextlib
import gc
import io
import socket
import threading
import time
import wave
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import numpy as np
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from torch import Tensor

from server.app import create_app
from server.delivery import Delivery, Order
from server.schemas import VocodeQuery
from server.settings import Settings
from tests.server.conftest import Serving, Turnstile, until
from tests.server.parcels import NPY, mel, npy
from tests.server.test_slow_clients import _post
from vocoder import Vocoder, Window, audio
from vocoder.errors import SynthesisError

HOP = 256


def _app(voice: Vocoder, **settings: Any) -> FastAPI:
    return create_app(Settings(voice="waveglow-tiny", **settings), load=lambda *_: voice)


@contextlib.contextmanager
def _streamed(url: str, frames: int, query: str = "format=wav") -> Iterator[httpx2.Response]:
    target = f"{url}/v1/vocode?stream=true&seed=1&{query}"
    with httpx2.stream("POST", target, content=npy(mel(frames)), headers=NPY, timeout=30) as response:
        yield response


def _aborted(app: FastAPI, stage: str) -> float:
    return float(app.state.metrics.aborted_total.labels(stage)._value.get())


@pytest.mark.parametrize(("form", "header", "width"), [("wav", 44, 2), ("wav_f32", 56, 4), ("pcm", 0, 2)])
def test_length_is_said_before_the_samples_are_there(
    turnstile: Turnstile, serving: Serving, form: str, header: int, width: int
) -> None:
    """Content-Length and the sizes in the file are those of the whole when one window of six is rendered."""
    frames = 32 + 5 * 64
    with serving(_app(turnstile, chunk_frames=64)) as url:
        turnstile.let(1)
        with _streamed(url, frames, f"format={form}") as response:
            length = header + width * HOP * frames
            assert response.headers["content-length"] == str(length)
            assert response.headers["x-audio-samples"] == str(HOP * frames)
            pieces = response.iter_raw()
            first = next(pieces)
            assert len(turnstile.asked) <= 2 < 6
            assert len(first) == header + width * HOP * 32
            if header:
                assert int.from_bytes(first[4:8], "little") == length - 8
                assert int.from_bytes(first[header - 4 : header], "little") == length - header
            turnstile.let()
            whole = first + b"".join(pieces)
    assert len(whole) == length
    if form == "wav":
        with wave.open(io.BytesIO(whole)) as file:
            assert file.getnframes() / file.getframerate() == HOP * frames / 22050


def test_first_audio_after_one_small_chunk(turnstile: Turnstile, serving: Serving) -> None:
    """One window of `first_frames`, however long the mel; then they double up to `chunk_frames`."""
    with serving(_app(turnstile, chunk_frames=100, first_frames=16)) as url:
        turnstile.let(1)
        with _streamed(url, 300, "format=pcm") as response:
            pieces = response.iter_raw()
            assert len(next(pieces)) == 2 * HOP * 16
            turnstile.let()
            assert sum(map(len, pieces)) == 2 * HOP * (300 - 16)
    assert [frames for _, frames in turnstile.asked] == [16, 32, 64, 100, 88]


@pytest.mark.parametrize("frames", [1, 32, 33, 203])
@pytest.mark.parametrize("query", ["", "denoise=0.7", "sample_rate=16000", "denoise=1&sample_rate=48000"])
def test_streamed_is_the_whole(client: TestClient, frames: int, query: str) -> None:
    """The same samples to the last bit but one, and as many."""
    target = f"/v1/vocode?seed=3&format=pcm&{query}"
    made = [
        np.frombuffer(
            client.post(f"{target}&stream={stream}", content=npy(mel(frames)), headers=NPY).content, "<i2"
        )
        for stream in ("true", "false")
    ]
    assert len(made[0]) == len(made[1]) > 0
    assert np.abs(np.subtract(*(each.astype(int) for each in made))).max() <= 1


def test_a_client_that_leaves_stops_the_rendering(turnstile: Turnstile, serving: Serving) -> None:
    """Gone at a tenth of a long stream: no window after the one at work, and nothing is held, gc or no gc."""
    app, windows = _app(turnstile, chunk_frames=32), 20
    gc.collect()
    others = [each for each in gc.get_objects() if type(each) in (Delivery, Order)]  # of other tests
    gc.disable()
    try:
        with serving(app) as url:
            turnstile.let(2)
            with _streamed(url, 32 * windows, "format=pcm") as response:
                pieces = response.iter_raw(2 * HOP * 32)
                assert [len(next(pieces)) for _ in range(2)] == [2 * HOP * 32] * 2
                until(lambda: len(turnstile.asked) == 3)
                ours = [each for each in gc.get_objects() if type(each) in (Delivery, Order)]
                held = [weakref.ref(each) for each in ours if not any(each is other for other in others)]
                del ours
                assert len(held) == 2
                assert app.state.engine.requests == 1
            until(lambda: _aborted(app, "sending") == 1)
            turnstile.let()
            until(lambda: app.state.engine.requests == 0 and app.state.engine.frames == 0)
            until(lambda: not any(ref() for ref in held))
            assert httpx2.post(f"{url}/v1/vocode", content=npy(mel(3)), headers=NPY).status_code == 200
    finally:
        gc.enable()
    assert [frames for _, frames in turnstile.asked] == [32, 32, 32, 3]
    assert _aborted(app, "rendering") == _aborted(app, "queued") == 0


def test_a_client_that_does_not_read_holds_no_place(voice: Vocoder, serving: Serving) -> None:
    """While it is still there its place is free, others are served, and what it reads at last is complete."""
    frames = 1200  # 10 MB at this rate and width: no socket holds that
    counted = Turnstile(voice)
    counted.let()
    app = _app(counted, chunk_frames=64, max_requests=1)
    query = "/v1/vocode?stream=true&seed=1&format=wav_f32&sample_rate=192000"
    with serving(app) as url, _post(url, query, "Connection: close", frames=frames) as deaf:
        rendered = _stalled(counted)
        assert app.state.engine.requests == app.state.engine.frames == 0
        for _ in range(5):
            answer = httpx2.post(f"{url}/v1/vocode?seed=2", content=npy(mel(5)), headers=NPY)
            assert answer.status_code == 200
        assert [seed for seed, _ in counted.asked[rendered:]] == [2] * 5
        assert sum(frames for seed, frames in counted.asked if seed == 1) < frames / 2
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**22)
        head, _, body = _all_of(deaf).partition(b"\r\n\r\n")
    assert b"content-length: %d" % len(body) in head.lower()
    assert len(body) == 56 + 4 * -(-HOP * frames * 192_000 // 22_050)


def _stalled(turnstile: Turnstile) -> int:
    """How many windows have been asked for when no more are, for a third of a second."""
    asked = -1
    while not turnstile.asked or asked < len(turnstile.asked):
        asked = len(turnstile.asked)
        time.sleep(0.35)
    return asked


def _all_of(caller: Any) -> bytes:
    answer = b""
    while data := caller.recv(2**20):
        answer += data
    return answer


class _Failing(Vocoder):
    """A voice whose third window cannot be rendered."""

    calls = 0

    def render(
        self, windows: Sequence[Window], *, seeds: Sequence[int], temperatures: Sequence[float]
    ) -> list[Tensor]:
        self.calls += any(temperatures)
        if self.calls == 3:
            raise SynthesisError("audio has a sample that is not finite")
        return super().render(windows, seeds=seeds, temperatures=temperatures)


@pytest.mark.parametrize("form", ["wav", "flac", "opus"])
def test_a_failure_half_way_is_never_a_short_success(voice: Vocoder, serving: Serving, form: str) -> None:
    """Whether the length was said or not, the client sees that the answer is incomplete."""
    app = _app(_Failing(voice.model, voice.header), chunk_frames=32)
    with serving(app) as url, _streamed(url, 500, f"format={form}") as response:
        assert response.status_code == 200
        with pytest.raises(httpx2.RemoteProtocolError):
            response.read()
        until(lambda: app.state.engine.requests == 0)


def test_what_goes_wrong_before_the_first_byte_has_its_status(turnstile: Turnstile, serving: Serving) -> None:
    """A deadline, a queue without room, a bad mel: streams are refused as anything else is."""
    app = _app(turnstile, request_timeout=0.3, max_requests=1)
    with serving(app) as url, ThreadPoolExecutor(1) as callers:
        late = callers.submit(_refused, url, npy(mel(100)))
        until(lambda: app.state.engine.requests == 1)
        assert _refused(url, npy(mel(1))) == (429, "queue_full")
        assert late.result() == (504, "deadline_exceeded")
        turnstile.let()
        until(lambda: app.state.engine.requests == 0)
        spoilt = mel(10)
        spoilt[3, 7] = np.nan
        assert _refused(url, npy(spoilt)) == (422, "invalid_mel")
        assert _refused(url, npy(np.zeros((2, 80, 5), np.float32))) == (422, "invalid_mel")
        assert _refused(url, npy(np.zeros((1, 80, 5), np.float32))) == (422, "invalid_mel")
    assert _aborted(app, "rendering") == 1


def _refused(url: str, body: bytes) -> tuple[int, str]:
    answer = httpx2.post(f"{url}/v1/vocode?stream=true", content=body, headers=NPY, timeout=30)
    return answer.status_code, answer.json()["error"]["code"]


def test_a_long_request_takes_turns_with_a_short_one(turnstile: Turnstile, serving: Serving) -> None:
    """A whole mel of four chunks: the short one that came later is rendered after two of them."""
    app = _app(turnstile, chunk_frames=64)
    with serving(app) as url, ThreadPoolExecutor(2) as callers:
        long = callers.submit(_whole, url, 256, 1)
        until(lambda: len(turnstile.asked) == 1)
        short = callers.submit(_whole, url, 8, 2)
        until(lambda: app.state.engine.requests == 2)
        turnstile.let()
        assert (long.result(), short.result()) == (44 + 2 * HOP * 256, 44 + 2 * HOP * 8)
    assert [seed for seed, _ in turnstile.asked] == [1, 1, 2, 1, 1]


def _whole(url: str, frames: int, seed: int) -> int:
    answer = httpx2.post(f"{url}/v1/vocode?seed={seed}", content=npy(mel(frames)), headers=NPY, timeout=30)
    return len(answer.content)


class _Slow(audio.Encoder):
    """An encoder that is at work until it is let go, and knows whether it was freed in the midst of that."""

    def __init__(self) -> None:
        super().__init__("flac", 22050)
        self.entered, self.opened = threading.Event(), threading.Event()
        self.closed = False

    def push(self, audio: Tensor) -> bytes:
        self.entered.set()
        assert self.opened.wait(30)
        assert not self.closed
        return super().push(audio)

    def close(self) -> None:
        self.closed = True
        super().close()


def test_an_encoder_at_work_is_not_freed(client: TestClient) -> None:
    """A client that leaves while its audio is being encoded, in C, in another thread: first that ends."""
    engine, encoder = client.app.state.engine, _Slow()  # type: ignore[attr-defined]  # it is the application

    async def leave() -> bool:
        order = Order.of(await engine.profile(None), VocodeQuery(seed=1), "flac")
        delivery = Delivery(engine, order, mel(10), encoder, 1024, 30.0)
        with engine.admit(10) as seat:
            pieces = asyncio.ensure_future(anext(delivery.pieces(seat)))
            await asyncio.to_thread(encoder.entered.wait, 30)
            pieces.cancel()
            await asyncio.wait([pieces], timeout=0.1)
            early = encoder.closed
            encoder.opened.set()
            await asyncio.wait([pieces])
            return early

    assert client.portal
    assert not client.portal.call(leave)
    assert encoder.closed
