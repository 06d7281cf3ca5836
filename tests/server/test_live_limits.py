"""`WS /v1/vocode/stream` in bad company: who is silent, deaf, gone, uninvited, or served by what fails."""

import json
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from torch import Tensor
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection

from server.app import create_app
from server.settings import Settings
from server.worker import OutOfMemory
from tests.server.conftest import TINY, Serving, Turnstile, until
from tests.server.parcels import NPY, mel, npy
from tests.server.talks import END, heard_out, talking
from tests.server.test_slow_clients import _caller
from tests.server.test_streaming import _aborted, _stalled
from vocoder import Vocoder, Window

HOP = 256


def _app(voice: Vocoder, **settings: Any) -> FastAPI:
    return create_app(Settings(voice="waveglow-tiny", **settings), load=lambda *_: voice)


def test_silence_is_ended(voice: Vocoder, serving: Serving) -> None:
    """Whoever says nothing for `request_timeout`, at the beginning or later, is told so."""
    app = _app(voice, request_timeout=0.4)
    with serving(app) as url, talking(url) as silent, talking(url) as hesitant:
        hesitant.send(npy(mel(50)))
        for talk in (silent, hesitant):
            words, _, code = heard_out(talk)
            assert (words[-1]["error"]["code"], code) == ("body_timeout", 1008)
        until(lambda: app.state.engine.requests == 0)


class _Failing(Vocoder):
    """A voice that cannot speak, for a reason of the test's."""

    error: Exception = RuntimeError("secret words")

    def render(
        self, windows: Sequence[Window], *, seeds: Sequence[int], temperatures: Sequence[float]
    ) -> list[Tensor]:
        if any(temperatures):
            raise self.error
        return super().render(windows, seeds=seeds, temperatures=temperatures)


@pytest.mark.parametrize(
    ("error", "code", "closed"),
    [
        (RuntimeError("secret words"), "internal_error", 1011),
        (OutOfMemory("the device is out of memory; try again later"), "out_of_memory", 1013),
    ],
)
def test_the_services_mistakes_are_its_own(
    voice: Vocoder,
    serving: Serving,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    code: str,
    closed: int,
) -> None:
    """1011 for what nobody foresaw, with a traceback in the log under its id; 1013 to come again."""
    failing = _Failing(voice.model, voice.header)
    failing.error = error
    with serving(_app(failing)) as url, talking(url) as talk:
        talk.send(npy(mel(100)))
        words, _, came = heard_out(talk)
    assert (words[-1]["error"]["code"], came) == (code, closed)
    assert "secret" not in words[-1]["error"]["message"]
    logged = [vars(record)["fields"]["request_id"] for record in caplog.records if record.exc_info]
    assert logged == ([words[0]["request_id"]] if closed == 1011 else [])


def test_a_full_queue_and_a_deadline(turnstile: Turnstile, serving: Serving) -> None:
    """No room: 1013. Rendering that takes too long: 1011, counted, and its place is free."""
    app = _app(turnstile, max_requests=1, request_timeout=0.8)
    with serving(app) as url, talking(url) as late, talking(url) as refused:
        late.send(npy(mel(60)))
        until(lambda: len(turnstile.asked) == 1)
        refused.send(npy(mel(1)))
        words, _, code = heard_out(refused)
        assert (words[-1]["error"]["code"], code) == ("queue_full", 1013)
        late.send(END)
        words, _, code = heard_out(late)
        assert (words[-1]["error"]["code"], code) == ("deadline_exceeded", 1011)
        assert _aborted(app, "rendering") == 1
        turnstile.let()
        until(lambda: app.state.engine.requests == 0)


def test_who_does_not_listen_is_not_listened_to(turnstile: Turnstile, serving: Serving) -> None:
    """A listener that stops reading: rendering stops, its place is free, and later nothing is missing."""
    turnstile.let()
    app, frames = _app(turnstile, chunk_frames=64, max_requests=1), 3000
    with (
        serving(app) as url,
        talking(url, "sample_rate=192000", sock=_caller(url), max_queue=1) as talk,
    ):
        speaker = threading.Thread(target=_tell, args=(talk, frames))
        speaker.start()
        _stalled(turnstile)
        assert sum(each for _, each in turnstile.asked) < frames / 2
        assert app.state.engine.requests == app.state.engine.frames == 0
        other = httpx2.post(f"{url}/v1/vocode", content=npy(mel(3)), headers=NPY)
        assert other.status_code == 200
        words, sound, code = heard_out(talk)
        speaker.join()
    assert (code, len(sound)) == (1000, 2 * -(-HOP * frames * 192_000 // 22_050))
    assert words[-1]["samples"] == len(sound) // 2


def _tell(talk: ClientConnection, frames: int) -> None:
    for _ in range(frames // 50):
        talk.send(npy(mel(50)))
    talk.send(END)


@pytest.mark.parametrize("ended", [False, True], ids=["in the midst", "after the end"])
def test_who_leaves_frees_its_place(turnstile: Turnstile, serving: Serving, ended: bool) -> None:
    """The connection lost: a send or two show it, few of twenty windows are rendered, the place is free."""
    app = _app(turnstile, chunk_frames=32)
    with serving(app) as url:
        turnstile.let(1)
        with talking(url) as talk:
            for _ in range(20):
                talk.send(npy(mel(32)))
            if ended:
                talk.send(END)
            assert json.loads(talk.recv(timeout=10))["type"] == "start"
            assert len(talk.recv(timeout=10)) == 2 * HOP * 32
            until(lambda: len(turnstile.asked) == 2)
            talk.socket.shutdown(socket.SHUT_RDWR)
        turnstile.let()
        until(lambda: _aborted(app, "sending") == 1)
        until(lambda: app.state.engine.requests == 0)
        assert httpx2.post(f"{url}/v1/vocode", content=npy(mel(3)), headers=NPY).status_code == 200
    assert len(turnstile.asked) <= 1 + 4 + 1


def test_an_idle_speaker_holds_no_place(voice: Vocoder, serving: Serving) -> None:
    """One frame sent and no more, as many as there are places: others are served all the same."""
    app = _app(voice, max_requests=2)
    with serving(app) as url, talking(url) as one, talking(url) as two:
        for talk in (one, two):
            talk.send(npy(mel(1)))
            assert json.loads(talk.recv(timeout=10))["type"] == "start"
        assert httpx2.post(f"{url}/v1/vocode", content=npy(mel(3)), headers=NPY).status_code == 200
        for talk in (one, two):
            talk.send(END)
            assert heard_out(talk)[0][-1]["samples"] == HOP


def test_keys_and_rates_refuse_the_handshake(voice: Vocoder, serving: Serving) -> None:
    """Before there is a WebSocket: the status, the headers and the envelope of any request."""
    with serving(_app(voice, api_keys=["right"], rate_limit=1)) as url:
        for key, status, code in (
            ("wrong", 401, "invalid_api_key"),
            ("right", None, None),
            ("right", 429, "rate_limited"),
        ):
            headers = {"Authorization": f"Bearer {key}"}
            if status is None:
                with talking(url, additional_headers=headers) as talk:
                    talk.send(npy(mel(1)))
                    talk.send(END)
                    assert heard_out(talk)[2] == 1000
                continue
            with pytest.raises(InvalidStatus) as refusal, talking(url, additional_headers=headers):
                pytest.fail("it was accepted")
            answer = refusal.value.response
            assert (answer.status_code, json.loads(answer.body)["error"]["code"]) == (status, code)
            assert answer.headers["x-request-id"]
            assert answer.headers["www-authenticate" if status == 401 else "retry-after"]


def test_draining_ends_no_conversation_and_begins_none(turnstile: Turnstile, serving: Serving) -> None:
    """What was begun is spoken to its end; who comes later is sent away; in the end all are."""
    app = create_app(TINY, load=lambda *_: turnstile)
    turnstile.let()
    with serving(app) as url, talking(url) as begun, talking(url) as long:
        for talk in (begun, long):
            talk.send(npy(mel(60)))
            assert json.loads(talk.recv(timeout=10))["type"] == "start"
        app.state.engine.close()
        with talking(url) as late:
            words, _, code = heard_out(late)
            assert (words[-1]["error"]["code"], code) == ("not_ready", 1013)
        begun.send(END)
        words, sound, code = heard_out(begun)
        assert (len(sound), code) == (2 * HOP * 60, 1000)
        app.state.engine.end()
        long.send(END)
        words, _, code = heard_out(long)
        assert (words[-1]["error"]["code"], code) == ("not_ready", 1013)


def test_a_conversation_outlasts_the_time_for_a_head(voice: Vocoder, serving: Serving) -> None:
    """What ends a slow request head ends no WebSocket: a second of talk, with a third of one for the head."""
    with serving(_app(voice, header_timeout=0.3)) as url, talking(url) as talk:
        for _ in range(10):
            talk.send(npy(mel(8)))
            time.sleep(0.1)
        talk.send(END)
        words, audio, code = heard_out(talk)
    assert (words[-1]["type"], len(audio), code) == ("done", 2 * HOP * 80, 1000)
