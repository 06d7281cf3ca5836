"""Several models at once: each of its own spec; loaded, unloaded, idle; and names that are none."""

import gc
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import numpy as np
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from server.app import create_app
from server.settings import Settings
from tests.server.conftest import Serving, Turnstile, until
from tests.server.parcels import NPY, mel, npy
from tests.vocoder.models.densities import DENSITIES
from tests.vocoder.other_specs import LOW, OTHERS
from vocoder import MelSpec, checkpoint
from vocoder.models.waveglow import WaveGlow

ADMIN = "the-admins-key"
KEY = {"Authorization": f"Bearer {ADMIN}"}
LOW_MEL = np.full((LOW.n_mels, 12), -5, np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A voice of 20 bands at 8 kHz, and what else may lie in a folder: a density, a torn file, a note."""
    home = tmp_path / "secret-place"
    home.mkdir()
    checkpoint.save(home / "low.safetensors", WaveGlow(OTHERS["8k published"].config, LOW), name="l")
    whole = (home / "low.safetensors").read_bytes()
    (home / "torn.safetensors").write_bytes(whole[: len(whole) // 2])
    (home / "flipped.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    (home / "folder.safetensors").mkdir()
    (home / "notes.txt").write_text("low.safetensors is the good one")
    checkpoint.save(home / "digits.safetensors", DENSITIES[0].model(), name="digits")
    return home


def _client(folder: Path, **settings: Any) -> TestClient:
    given: dict[str, Any] = {"models": {"spoken": "default"}, "models_dir": folder, "device": "cpu"}
    given |= settings
    return TestClient(create_app(Settings(voice="waveglow-tiny", **given)))


@pytest.fixture
def served(folder: Path) -> Iterator[TestClient]:
    """A service with these models, to which the admin has a key."""
    with _client(folder, admin_key=ADMIN, models={}) as client:
        _ready(client)
        yield client


def _ready(client: TestClient) -> None:
    until(lambda: client.get("/health/ready").status_code == 200)


def _app(client: TestClient) -> FastAPI:
    assert isinstance(client.app, FastAPI)
    return client.app


def _loaded(client: TestClient) -> dict[str, bool]:
    return {card["id"]: card["loaded"] for card in client.get("/v1/models").json()["data"]}


def _say_low(client: TestClient, **query: str) -> Any:
    return client.post("/v1/vocode", params={"model": "low", **query}, content=npy(LOW_MEL), headers=NPY)


def test_each_model_has_its_own_spec(folder: Path) -> None:
    """Three of them: mels are checked against the one that is asked for, and audio is of its rate."""
    with _client(folder) as client:
        _ready(client)
        cards = {card["id"]: card for card in client.get("/v1/models").json()["data"]}
        assert set(cards) == {"waveglow-tiny", "spoken", "low"}
        assert [name for name, card in cards.items() if card["default"]] == ["waveglow-tiny"]
        assert _loaded(client) == {"waveglow-tiny": True, "spoken": True, "low": False}
        for name, card in cards.items():
            spec = MelSpec.from_dict(card["mel"])
            assert card["mel_digest"] == spec.digest() and len(card["sha256"]) == 64 and card["licence"]
            fitting = npy(np.full((spec.n_mels, 9), -5, np.float32))
            answer = client.post(f"/v1/vocode?model={name}", content=fitting, headers=NPY)
            assert (answer.status_code, answer.headers["x-model"]) == (200, name)
            assert len(answer.content) == 44 + 2 * 9 * spec.hop_length
            assert answer.headers["x-sample-rate"] == str(card["sample_rate"]) == str(spec.sample_rate)
            assert client.get(f"/v1/models/{name}").json() == {**card, "loaded": True}
        assert _loaded(client)["low"]
        refused = client.post("/v1/vocode?model=low", content=npy(mel(5)), headers=NPY)
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_mel")
        digest = {**NPY, "X-Mel-Digest": cards["waveglow-tiny"]["mel_digest"]}
        refused = client.post("/v1/vocode?model=low", content=npy(LOW_MEL), headers=digest)
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "mel_spec_mismatch")
        for named in ("", "?model=default", "?model=waveglow-tiny"):
            answer = client.post(f"/v1/vocode{named}", content=npy(mel(2)), headers=NPY)
            assert answer.headers["x-model"] == "waveglow-tiny"


@pytest.mark.parametrize(
    "name",
    [
        "no-such-model",
        "..",
        "../low",
        "%2e%2e",
        "%2e%2e%2flow",
        "/etc/passwd",
        "low.safetensors",
        "./low",
        "LOW",
        "low\0",
        "\0",
        "a" * 64,
        "C:\\low",
        "notes",
        "*",
    ],
)
def test_a_name_is_a_name_and_never_a_path(served: TestClient, folder: Path, name: str) -> None:
    """Whatever stands in the query or in the path is looked up, not opened."""
    for answer in (
        served.post("/v1/vocode", params={"model": name}, content=npy(mel(2)), headers=NPY),
        served.get(f"/v1/models/{quote(name, safe='')}"),
        served.get(f"/v1/models/{quote(str(folder / 'low.safetensors'), safe='')}"),
        served.post(f"/v1/models/{quote(name, safe='')}/load", headers=KEY),
        served.post(f"/v1/models/{quote(name, safe='')}/unload", headers=KEY),
    ):
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] in ("model_not_found", "not_found")
        assert "secret-place" not in answer.text


@pytest.mark.parametrize("name", ["torn", "flipped", "folder", "digits"])
def test_a_file_that_is_no_voice(served: TestClient, name: str) -> None:
    """It is not listed; asked for by name it is a 503 that tells no path; and the service goes on."""
    assert _loaded(served) == {"waveglow-tiny": True, "low": False}
    for answer in (
        served.post(f"/v1/vocode?model={name}", content=npy(mel(2)), headers=NPY),
        served.get(f"/v1/models/{name}"),
        served.post(f"/v1/models/{name}/load", headers=KEY),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_unavailable")
        assert "secret-place" not in answer.text
    assert served.post("/v1/vocode", content=npy(mel(2)), headers=NPY).status_code == 200
    assert served.get("/health/ready").status_code == 200


def test_load_and_unload(served: TestClient) -> None:
    """Loaded before anybody asks; unloaded, and its memory is given back; loaded again by a request."""
    assert served.post("/v1/models/low/load", headers=KEY).json()["loaded"]
    assert "vocoder_models_loaded 2.0" in served.get("/metrics").text
    expected = _say_low(served, seed="3").content
    (worker,) = _app(served).state.engine.workers
    held = worker.loaded_voice("low")
    voice, weight = weakref.ref(held), weakref.ref(next(held.model.parameters()))
    del held
    card = served.post("/v1/models/low/unload", headers=KEY).json()
    assert not card["loaded"]
    gc.collect()
    assert voice() is None and weight() is None
    assert "vocoder_models_loaded 1.0" in served.get("/metrics").text
    assert served.post("/v1/models/low/unload", headers=KEY).status_code == 200
    assert _say_low(served, seed="3").content == expected
    assert _loaded(served)["low"]


def test_the_default_model_stays(served: TestClient) -> None:
    """It cannot be unloaded, by whichever of its names."""
    for name in ("waveglow-tiny", "default"):
        refused = served.post(f"/v1/models/{name}/unload", headers=KEY)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "model_in_use")
    assert _loaded(served)["waveglow-tiny"]


def test_the_admins_routes_are_the_admins(served: TestClient, folder: Path) -> None:
    """A wrong key: 401. No key set: there are no such routes."""
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        assert served.post("/v1/models/low/load", headers=headers).status_code == 401
    with _client(folder, models={}) as keyless:
        assert keyless.post("/v1/models/low/load", headers=KEY).status_code == 404
    assert not _loaded(served)["low"]


def test_a_file_that_is_replaced(served: TestClient, folder: Path) -> None:
    """Unloaded and loaded again, it is the new one's spec that mels are held against."""
    assert _say_low(served).status_code == 200
    (folder / "low.safetensors").write_bytes((Path("checkpoints") / "waveglow-tiny.safetensors").read_bytes())
    served.post("/v1/models/low/unload", headers=KEY)
    assert served.get("/v1/models/low").json()["sample_rate"] == 22050
    assert _say_low(served).status_code == 422
    answer = served.post("/v1/vocode?model=low", content=npy(mel(3)), headers=NPY)
    assert (answer.status_code, answer.headers["x-sample-rate"]) == (200, "22050")


def test_a_model_is_not_waited_for_without_end(folder: Path, turnstile: Turnstile, serving: Serving) -> None:
    """Not in memory, and the worker busy with something else: the deadline holds for that as well."""
    settings = Settings(voice="waveglow-tiny", models_dir=folder, request_timeout=0.5)
    app = create_app(settings, load=lambda *_: turnstile)
    with serving(app) as url, ThreadPoolExecutor(2) as callers:
        target = f"{url}/v1/vocode?model="
        asked = [callers.submit(httpx2.post, f"{target}default", content=npy(mel(5)), headers=NPY)]
        until(lambda: len(turnstile.asked) == 1)
        asked.append(callers.submit(httpx2.post, f"{target}low", content=npy(mel(5)), headers=NPY))
        assert [each.result().status_code for each in asked] == [504, 504]
        turnstile.let()
        until(lambda: app.state.engine.requests == 0)
        assert httpx2.post(f"{target}low", content=npy(mel(5)), headers=NPY).status_code == 200


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "others busy"])
def test_an_idle_model_is_unloaded(folder: Path, busy: bool) -> None:
    """After its time, however busy the others are; the default one stays; a request brings it back."""
    with _client(folder, models={}, model_ttl=0.4) as client:
        _ready(client)
        assert _say_low(client).status_code == 200
        assert _loaded(client)["low"]
        stop = threading.Event()
        others = [threading.Thread(target=_keep_busy, args=(client, stop)) for _ in range(2 * busy)]
        for other in others:
            other.start()
        try:
            until(lambda: not _loaded(client)["low"], 4)
        finally:
            stop.set()
            for other in others:
                other.join()
        assert _loaded(client) == {"waveglow-tiny": True, "low": False}
        assert _say_low(client).status_code == 200
        assert _loaded(client)["low"]


def _keep_busy(client: TestClient, stop: threading.Event) -> None:
    while not stop.is_set():
        assert client.post("/v1/vocode", content=npy(mel(60)), headers=NPY).status_code == 200
