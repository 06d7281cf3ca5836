"""The queue, the deadline, the client that leaves, the voice that fails: on real sockets, the voice gated."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import httpx2
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from server.app import create_app
from server.settings import Settings
from tests.server.conftest import TINY, Gate, Serving, until
from tests.server.parcels import NPY, call, heard, mel, npy
from vocoder import Vocoder
from vocoder.errors import CheckpointError

BODY = npy(mel(10))
LENGTH = f"Content-Length: {len(BODY)}"


def _ask(url: str, body: bytes = BODY) -> httpx2.Response:
    return httpx2.post(f"{url}/v1/vocode", content=body, headers=NPY, timeout=30)


def _occupied(app: FastAPI, requests: int) -> bool:
    return bool(app.state.engine.requests == requests)


def test_full_queue_is_429_with_retry_after(gate: Gate, serving: Serving) -> None:
    """Beyond the bound a request is refused at once and told when to come back; those admitted are served."""
    app = create_app(Settings(voice="waveglow-tiny", max_requests=3), load=lambda *_: gate)
    with serving(app) as url, ThreadPoolExecutor(3) as callers:
        admitted = [callers.submit(_ask, url) for _ in range(3)]
        until(lambda: _occupied(app, 3))
        started = time.perf_counter()
        refused = _ask(url)
        assert time.perf_counter() - started < 0.5
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "queue_full"
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        gate.opened.set()
        assert [each.result().status_code for each in admitted] == [200, 200, 200]
        assert _ask(url).status_code == 200


def test_queue_is_bounded_by_frames(gate: Gate, serving: Serving) -> None:
    """A long mel is refused where a short one still finds room."""
    settings = Settings(voice="waveglow-tiny", max_frames=50, max_queued_frames=50)
    app = create_app(settings, load=lambda *_: gate)
    with serving(app) as url, ThreadPoolExecutor(2) as callers:
        long = callers.submit(_ask, url, npy(mel(40)))
        until(lambda: _occupied(app, 1))
        assert _ask(url, npy(mel(11))).status_code == 429
        short = callers.submit(_ask, url, npy(mel(10)))
        until(lambda: _occupied(app, 2))
        gate.opened.set()
        assert (long.result().status_code, short.result().status_code) == (200, 200)


def test_liveness_while_the_model_is_busy(gate: Gate, serving: Serving) -> None:
    """The event loop never waits for the model: probes answer in milliseconds while it works."""
    app = create_app(TINY, load=lambda *_: gate)
    with serving(app) as url, ThreadPoolExecutor(2) as callers, httpx2.Client() as probe:
        asked = [callers.submit(_ask, url) for _ in range(2)]
        until(lambda: _occupied(app, 2))
        times = []
        for _ in range(50):
            started = time.perf_counter()
            assert probe.get(f"{url}/health/live").status_code == 200
            times.append(time.perf_counter() - started)
        assert sorted(times)[45] < 0.05
        gate.opened.set()
        assert all(each.result().status_code == 200 for each in asked)


def test_disconnected_client_frees_its_place(gate: Gate, serving: Serving) -> None:
    """A client that hangs up while it waits leaves the queue; the voice is never asked for its audio."""
    app = create_app(Settings(voice="waveglow-tiny", max_requests=2), load=lambda *_: gate)
    with serving(app) as url, ThreadPoolExecutor(2) as callers:
        first = callers.submit(_ask, url)
        until(lambda: gate.entered == 1)
        leaver = call(url, LENGTH)
        leaver.sendall(BODY)
        until(lambda: _occupied(app, 2))
        assert _ask(url).status_code == 429
        leaver.close()
        until(lambda: _occupied(app, 1))
        second = callers.submit(_ask, url)
        until(lambda: _occupied(app, 2))
        gate.opened.set()
        assert (first.result().status_code, second.result().status_code) == (200, 200)
    assert gate.entered == 2


def test_deadline_is_504_and_frees_the_place(gate: Gate, serving: Serving) -> None:
    """A request that is not rendered in time is told so, and is not rendered later."""
    app = create_app(Settings(voice="waveglow-tiny", request_timeout=0.2), load=lambda *_: gate)
    with serving(app) as url, ThreadPoolExecutor(2) as callers:
        asked = [callers.submit(_ask, url) for _ in range(2)]
        assert {each.result().status_code for each in asked} == {504}
        assert asked[0].result().json()["error"]["code"] == "deadline_exceeded"
        gate.opened.set()
        until(lambda: _occupied(app, 0))
        assert _ask(url).status_code == 200
    assert gate.entered == 2


def test_slow_body_is_408(voice: Vocoder, serving: Serving) -> None:
    """A client that dawdles over its body is cut off."""
    app = create_app(Settings(voice="waveglow-tiny", body_timeout=0.2), load=lambda *_: voice)
    with serving(app) as url, call(url, LENGTH) as dawdler:
        dawdler.sendall(BODY[:-100])
        assert heard(dawdler).startswith(b"HTTP/1.1 408")


def test_ready_only_when_loaded(voice: Vocoder) -> None:
    """While the voice loads the service is alive, not ready, and says so to whoever asks for audio."""
    loaded = threading.Event()

    def load(name: str, device: str | None) -> Vocoder:
        assert loaded.wait(30)
        return voice

    with TestClient(create_app(TINY, load=load)) as client:
        assert client.get("/health/live").json() == {"status": "alive"}
        for response in (
            client.get("/health/ready"),
            client.get("/v1/models"),
            client.post("/v1/vocode", content=BODY, headers=NPY),
        ):
            assert response.status_code == 503
            assert response.json()["error"]["code"] == "not_ready"
            assert int(response.headers["retry-after"]) >= 1
        loaded.set()
        until(lambda: client.get("/health/ready").status_code == 200)
        assert client.post("/v1/vocode", content=BODY, headers=NPY).status_code == 200


def test_draining_is_not_ready_and_finishes_what_it_took(gate: Gate, serving: Serving) -> None:
    """While draining nothing more is admitted, and what was admitted is served."""
    app = create_app(TINY, load=lambda *_: gate)
    with serving(app) as url, ThreadPoolExecutor(2) as callers:
        taken: list[Future[httpx2.Response]] = [callers.submit(_ask, url) for _ in range(2)]
        until(lambda: _occupied(app, 2))
        app.state.engine.close()
        assert httpx2.get(f"{url}/health/ready").status_code == 503
        assert httpx2.get(f"{url}/health/live").status_code == 200
        assert _ask(url).status_code == 503
        gate.opened.set()
        assert [each.result().status_code for each in taken] == [200, 200]


def test_abandoned_requests_are_told(gate: Gate, serving: Serving) -> None:
    """When the drain is over, whoever still waits gets a 503 instead of a broken connection."""
    app = create_app(TINY, load=lambda *_: gate)
    with serving(app) as url, ThreadPoolExecutor(2) as callers:
        first = callers.submit(_ask, url)
        until(lambda: gate.entered == 1)
        second = callers.submit(_ask, url)
        until(lambda: _occupied(app, 2))
        app.state.engine.end()
        assert second.result().status_code == 503
        gate.opened.set()
        assert first.result().status_code == 200


def test_voice_that_cannot_be_loaded_is_never_ready() -> None:
    """A failed load leaves the service not ready; the reason is for whoever runs it, not for callers."""

    def load(name: str, device: str | None) -> Vocoder:
        raise CheckpointError("/secret/place/voice.safetensors is damaged")

    app = create_app(TINY, load=load)
    with TestClient(app) as client:
        until(lambda: app.state.engine.failure is not None)
        response = client.get("/health/ready")
        assert response.status_code == 503
        assert "secret" not in response.text
    assert isinstance(app.state.engine.failure, CheckpointError)


def test_model_that_yields_nothing_finite(serving: Serving) -> None:
    """Samples that are not finite are the caller's to know, as 422 that need not be tried again."""
    spoilt = Vocoder.load("waveglow-tiny")
    app = create_app(TINY, load=lambda *_: spoilt)
    with serving(app) as url:
        parameters = list(spoilt.model.parameters())
        for parameter in parameters:
            parameter.data.fill_(float("nan"))
        response = _ask(url)
        assert (response.status_code, response.json()["error"]["code"]) == (422, "synthesis_error")
        assert response.headers["x-should-retry"] == "false"


def test_unforeseen_failure_is_a_500_with_an_id(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    """What nobody foresaw reaches the caller as an id only; the log has the traceback under the same id."""
    broken = Vocoder.load("waveglow-tiny")
    app = create_app(TINY, load=lambda *_: broken)
    with serving(app) as url:
        model = broken.model
        del broken.model
        response = _ask(url)
        assert (response.status_code, response.json()["error"]["code"]) == (500, "internal_error")
        assert "model" not in response.text
        record = next(record for record in caplog.records if record.exc_info)
        assert vars(record)["fields"]["request_id"] == response.headers["x-request-id"]
        broken.model = model
        assert _ask(url).status_code == 200
