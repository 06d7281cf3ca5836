"""A voice of another rate, hop and number of bands, served: the answer is of the voice's numbers."""

import io
import json
import os
import socket
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from starlette.testclient import TestClient

from server.app import create_app
from server.settings import Settings
from tests.server.conftest import until
from tests.server.parcels import NPY, npy
from tests.vocoder.other_specs import OTHERS, train_one
from vocoder import MelSpec, Vocoder

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=["16k filter", "24k filter"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that a few steps made."""
    return train_one(OTHERS[request.param], request.param, tmp_path_factory.mktemp("other"))


@pytest.fixture(scope="module")
def client(place: Path) -> Iterator[TestClient]:
    """A client of the whole application with that voice."""
    with TestClient(create_app(Settings(voice=str(place), device="cpu"))) as client:
        until(lambda: client.get("/health/ready").status_code == 200)
        yield client


def mel(spec: MelSpec, frames: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """A mel of this spec, of values that speech could have."""
    return np.random.default_rng(0).normal(-5.5, 1.5, (spec.n_mels, frames)).clip(-11, 1).astype(np.float32)


@pytest.mark.parametrize("frames", [1, 2, 31])
def test_the_answer_is_of_the_voices_rate(client: TestClient, place: Path, frames: int) -> None:
    """frames · hop samples at the voice's rate, in the file and in the headers, and they are the voice's."""
    voice = Vocoder.load(place, device="cpu")
    spec, sent = voice.spec, mel(voice.spec, frames)
    response = client.post("/v1/vocode?seed=4", content=npy(sent), headers=NPY)
    assert response.status_code == 200
    with wave.open(io.BytesIO(response.content)) as file:
        assert (file.getframerate(), file.getnframes()) == (spec.sample_rate, frames * spec.hop_length)
        samples = np.frombuffer(file.readframes(-1), "<i2") / 2**15
    assert response.headers["x-sample-rate"] == str(spec.sample_rate)
    seconds = frames * spec.hop_length / spec.sample_rate
    assert float(response.headers["x-audio-duration"]) == pytest.approx(seconds, abs=1e-6)
    np.testing.assert_allclose(samples, voice(sent, seed=4).clamp(-1, 1).numpy(), rtol=0, atol=2**-15)


def test_the_model_card_tells_the_spec(client: TestClient, place: Path) -> None:
    """Every number that a mel must be made with, and their digest."""
    (card,) = client.get("/v1/models").json()["data"]
    spec = Vocoder.load(place, device="cpu").spec
    assert MelSpec.from_dict(card["mel"]) == spec
    assert (card["sample_rate"], card["mel_digest"]) == (spec.sample_rate, spec.digest())


def test_other_bands_are_refused(client: TestClient, place: Path) -> None:
    """A mel with a band too many is refused from its header, by this voice's number of them."""
    spec = Vocoder.load(place, device="cpu").spec
    refused = client.post("/v1/vocode", content=npy(np.zeros((spec.n_mels + 1, 5), np.float32)), headers=NPY)
    assert refused.status_code == 422
    assert f"expected [{spec.n_mels}, frames]" in refused.json()["error"]["message"]


def test_a_doubtful_mel_is_spoken_and_logged(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A mel that looks like log10 is served, though warnings are errors; a line of the log tells it."""
    hello = np.load(ROOT / "samples" / "hello.npy")
    theirs = npy((hello / np.log(10)).astype(np.float32))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"VOCODER_PORT": str(port), "VOCODER_VOICE": "waveglow-tiny", "VOCODER_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "vocoder.cli", "serve"],
        env={**os.environ, "PYTHONPATH": str(ROOT), **settings},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: _answers(url), 60)
        for body in (theirs, npy(hello), theirs):
            response = httpx2.post(f"{url}/v1/vocode", content=body, headers=NPY, timeout=30)
            assert (response.status_code, len(response.content)) == (200, 44 + 2 * 256 * 392)
    finally:
        process.terminate()
        _, said = process.communicate(timeout=30)
    doubts = [line for line in map(json.loads, said.splitlines()) if line["logger"] == "py.warnings"]
    assert len(doubts) == 2
    assert all("MelWarning" in line["message"] and "looks like log10" in line["message"] for line in doubts)


def _answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/health/ready", timeout=5).status_code == 200
    except httpx2.TransportError:
        return False
