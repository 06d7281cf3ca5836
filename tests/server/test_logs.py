"""The access log: a line for every request, WebSockets among them, and what it must not hold."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from server import failures, operations, queue
from server.app import create_app
from server.logs import JsonLines
from server.metrics import Metrics
from server.settings import Settings
from tests.server.conftest import TINY, Serving
from tests.server.parcels import mel, npy
from vocoder import Vocoder

SECRET = "query-that-no-log-may-hold"


def _lines(caplog: pytest.LogCaptureFixture, message: str) -> list[dict[str, Any]]:
    """The lines of this message as they would stand in the log."""
    found = [record for record in caplog.records if record.getMessage() == message]
    return [json.loads(JsonLines().format(record)) for record in found]


@pytest.fixture(autouse=True)
def _listening(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "server.access")


def test_every_request_is_one_line(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """Found by its id, which comes back; with the error's code; without its query."""
    answer = client.get(f"/no/such/path?x={SECRET}", headers={"X-Request-Id": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    (line,) = _lines(caplog, "request")
    told = {key: line[key] for key in ("logger", "level", "request_id", "method", "path", "status", "error")}
    assert told == {
        "logger": "server.access",
        "level": "info",
        "request_id": "mine-1",
        "method": "GET",
        "path": "/no/such/path",
        "status": 404,
        "error": "not_found",
    }
    assert SECRET not in caplog.text and line["ms"] > 0


@pytest.mark.parametrize("given", ["", "x" * 65, "two words", "new\tline", '{"a": 1}', "a/../b"])
def test_ids_that_are_not_plain_are_replaced(client: TestClient, given: str) -> None:
    """Nobody writes into our log what they like."""
    came = client.get("/health/live", headers={"X-Request-Id": given}).headers["x-request-id"]
    assert len(came) == 32 and came.isalnum()


def test_a_websocket_is_one_line_too(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """Its status is the close code; its id is the caller's, and in the handshake's answer."""
    with client.websocket_connect("/v1/vocode/stream", headers={"X-Request-Id": "talk-1"}) as talk:
        assert (b"x-request-id", b"talk-1") in (talk.extra_headers or [])
        talk.send_bytes(npy(mel(40)))
        talk.send_text('{"type": "end"}')
        while talk.receive()["type"] != "websocket.close":
            pass
    (line,) = _lines(caplog, "request")
    told = (line["request_id"], line["method"], line["path"], line["status"], line["error"])
    assert told == ("talk-1", "WEBSOCKET", "/v1/vocode/stream", 1000, None)


def _faulty() -> tuple[FastAPI, Metrics]:
    """An application whose routes fail in ways that nobody foresaw."""
    app, metrics = FastAPI(), Metrics()
    operations.install(app, Settings(), metrics)
    failures.install(app)

    @app.get("/fails")
    async def fails() -> None:
        raise ZeroDivisionError(SECRET)

    @app.websocket("/before")
    async def before(socket: WebSocket) -> None:
        raise ZeroDivisionError(SECRET)

    @app.websocket("/after")
    async def after(socket: WebSocket) -> None:
        await socket.accept()
        raise ZeroDivisionError(SECRET)

    return app, metrics


def test_the_unforeseen_is_logged_and_answered(caplog: pytest.LogCaptureFixture) -> None:
    """500 with the envelope and an id that finds the traceback; of the exception itself, not a word."""
    app, _ = _faulty()
    answer = TestClient(app).get("/fails")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert SECRET not in answer.text
    (line,) = _lines(caplog, "unforeseen")
    assert line["request_id"] == answer.headers["x-request-id"]
    assert "ZeroDivisionError" in line["traceback"]


def test_the_unforeseen_in_a_websocket(caplog: pytest.LogCaptureFixture) -> None:
    """In place of the handshake a 500, after it close code 1011; both are logged and counted."""
    app, metrics = _faulty()
    client = TestClient(app)
    with pytest.raises(WebSocketDenialResponse) as denial, client.websocket_connect("/before"):
        pytest.fail("it was accepted")
    assert (denial.value.status_code, denial.value.json()["error"]["code"]) == (500, "internal_error")
    with client.websocket_connect("/after") as talk, pytest.raises(WebSocketDisconnect) as end:
        talk.receive_text()
    assert end.value.code == 1011
    assert len(_lines(caplog, "unforeseen")) == 2
    assert [line["status"] for line in _lines(caplog, "request")] == [500, 1011]
    text = metrics.exposition().decode()
    for route, code in (("/before", 500), ("/after", 1011)):
        assert f'vocoder_requests_total{{code="{code}",format="",route="{route}"}} 1.0' in text


async def _half() -> AsyncIterator[bytes]:
    yield b"half"
    await asyncio.sleep(0)
    raise queue.NotReady("the service is shutting down")


@pytest.mark.parametrize("headers", [{}, {"Content-Length": "8"}], ids=["chunked", "of known length"])
def test_a_broken_answer_is_cut(
    voice: Vocoder, serving: Serving, caplog: pytest.LogCaptureFixture, headers: dict[str, str]
) -> None:
    """What goes wrong after an answer has begun ends it early: no client takes the half for the whole."""
    app = create_app(TINY, load=lambda *_: voice)
    app.add_api_route("/breaks", lambda: StreamingResponse(_half(), headers=headers))
    with serving(app) as url, pytest.raises(httpx2.RemoteProtocolError):
        httpx2.get(f"{url}/breaks")
    assert [line["error"] for line in _lines(caplog, "broken off")] == ["not_ready"]
