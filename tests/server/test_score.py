"""`POST /v1/score`: a recording and its mel in, the exact log-likelihood out."""

from typing import Any

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from server.app import create_app
from tests.server.conftest import TINY, until
from tests.server.parcels import npy, tensors
from tests.server.test_mel import GOOD, SPEC, file, recording
from vocoder import LogMel, Vocoder

Files = dict[str, Any]

AUDIO = torch.from_numpy(recording())
MEL = LogMel(SPEC)(AUDIO[None])[0]
WHOLE = len(AUDIO) // 256 * 256


def score(client: TestClient, files: Any, query: str = "") -> Any:
    """What the service answers."""
    return client.post(f"/v1/score?{query}", files=files)


def test_it_is_the_score_of_the_vocoder(client: TestClient, voice: Vocoder) -> None:
    """Nats per sample of the whole frames, of the recording's own mel."""
    response = score(client, {"audio": GOOD})
    assert response.status_code == 200
    assert response.json() == {
        "object": "score",
        "model": "waveglow-tiny",
        "nats_per_sample": pytest.approx(voice.score(AUDIO, MEL), abs=1e-6),
        "samples": WHOLE,
        "frames": None,
    }


@pytest.mark.parametrize("pack", [npy, lambda array: tensors(m=array)], ids=["npy", "safetensors"])
def test_the_mel_may_be_sent_along(client: TestClient, voice: Vocoder, pack: Any) -> None:
    """A mel of either kind of file is the one that is used."""
    other = (MEL - 1).clamp(min=SPEC.log_floor)
    found = score(client, {"audio": ("a.wav", GOOD, "audio/wav"), "mel": pack(other.numpy())}).json()
    assert found["nats_per_sample"] == pytest.approx(voice.score(AUDIO, other), abs=1e-6)
    assert found["nats_per_sample"] != pytest.approx(voice.score(AUDIO, MEL), abs=1e-3)


def test_frames(client: TestClient, voice: Vocoder) -> None:
    """Asked for, every frame has its score, and their mean is the whole's."""
    found = score(client, {"audio": GOOD}, "frames=true&model=waveglow-tiny").json()
    assert len(found["frames"]) == WHOLE // 256
    assert found["frames"] == pytest.approx(voice.score_frames(AUDIO, MEL).tolist(), abs=1e-6)
    assert np.mean(found["frames"]) == pytest.approx(found["nats_per_sample"], abs=1e-5)


def test_a_recording_is_more_likely_than_noise(client: TestClient) -> None:
    """The order of two scores is that of sense: speech-like sound before noise of the same mel."""
    noise = np.random.default_rng(0).normal(0, 0.3, len(AUDIO)).astype(np.float32)
    alike, unlike = (
        score(client, {"audio": file(samples), "mel": npy(MEL.numpy())}).json()["nats_per_sample"]
        for samples in (recording(), noise)
    )
    assert alike > unlike


FORM = "malformed_form"
BAD: list[tuple[str, Any, str, int, str, str]] = [
    ("no audio", {"mel": GOOD}, "", 400, FORM, "audio"),
    ("an unknown part", {"audio": GOOD, "more": GOOD}, "", 400, FORM, "none other"),
    ("audio twice", [("audio", GOOD), ("audio", GOOD)], "", 400, FORM, "once"),
    ("three files", [("audio", GOOD), ("mel", GOOD), ("mel", GOOD)], "", 400, FORM, "once"),
    ("a field, not a file", {"audio": (None, "text")}, "", 400, FORM, "files"),
    ("a file and a field", {"audio": GOOD, "mel": (None, "text")}, "", 400, FORM, "files"),
    ("no recording", {"audio": b"text"}, "", 422, "invalid_audio", "not audio"),
    ("an empty recording", {"audio": b""}, "", 422, "invalid_audio", "empty"),
    ("too short", {"audio": file(recording(0.01))}, "", 422, "invalid_audio", "at least"),
    ("pickled mel", {"audio": GOOD, "mel": npy(np.full((80, 44), None))}, "", 422, "invalid_mel", "object"),
    ("no mel", {"audio": GOOD, "mel": b"text"}, "", 400, "malformed_body", ""),
    ("mel of text", {"audio": GOOD, "mel": b"t" * 99}, "", 415, "unsupported_media_type", "neither"),
    ("mel of 79 bands", {"audio": GOOD, "mel": npy(np.zeros((79, 44), "f4"))}, "", 422, "invalid_mel", "79"),
    (
        "mel that is longer",
        {"audio": GOOD, "mel": npy(np.zeros((80, 50), "f4"))},
        "",
        422,
        "invalid_mel",
        "50 frames",
    ),
    ("mel of nan", {"audio": GOOD, "mel": npy(np.full((80, 44), np.nan))}, "", 422, "invalid_mel", "frame 0"),
    ("mel of a batch", {"audio": GOOD, "mel": npy(np.zeros((1, 80, 44), "f4"))}, "", 422, "invalid_mel", ""),
    ("unknown model", {"audio": GOOD}, "model=nobody", 404, "model_not_found", ""),
    ("unknown name", {"audio": GOOD}, "seed=1", 422, "invalid_parameter", "seed"),
    ("frames=2", {"audio": GOOD}, "frames=2", 422, "invalid_parameter", "frames"),
]


@pytest.mark.parametrize(
    ("name", "files", "query", "status", "code", "word"), BAD, ids=[bad[0] for bad in BAD]
)
def test_refused_with_a_reason(
    client: TestClient, name: str, files: Any, query: str, status: int, code: str, word: str
) -> None:
    """The status and code fit, and the reason is given in few bytes."""
    response = score(client, files, query)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert word in error["message"]
    assert len(response.content) < 1024


PART = b'--x\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\n'
FORMS = [
    ("no boundary", "multipart/form-data", b"", 400),
    ("empty boundary", "multipart/form-data; boundary=", PART, 400),
    ("a boundary of 9000", f"multipart/form-data; boundary={'x' * 9000}", PART, 400),
    ("not its boundary", "multipart/form-data; boundary=y", PART + GOOD, 400),
    ("empty", "multipart/form-data; boundary=x", b"", 400),
    ("no end", "multipart/form-data; boundary=x", PART + GOOD, 400),
    ("no name", "multipart/form-data; boundary=x", b"--x\r\n\r\n\r\n--x--\r\n", 400),
    ("many parts", "multipart/form-data; boundary=x", (PART + b"a\r\n") * 10_000 + b"--x--\r\n", 400),
    ("many headers", "multipart/form-data; boundary=x", b"--x\r\n" + b"A: b\r\n" * 50_000, 400),
    ("an endless header", "multipart/form-data; boundary=x", b"--x\r\nA: " + b"b" * 10**6, 400),
    ("dashes", "multipart/form-data; boundary=x", b"\r\n--" * 500_000, 400),
    ("a form of fields", "application/x-www-form-urlencoded", b"audio=1", 415),
    ("json", "application/json", b"{}", 415),
    ("nothing", "", b"", 415),
]


@pytest.mark.parametrize(("name", "media", "body", "status"), FORMS, ids=[form[0] for form in FORMS])
def test_hostile_forms(client: TestClient, name: str, media: str, body: bytes, status: int) -> None:
    """A form that is none is refused, and nothing of it is left open or sent back."""
    response = client.post("/v1/score", content=body, headers={"Content-Type": media})
    assert response.status_code == status
    assert len(response.content) < 1024
    assert response.elapsed.total_seconds() < 2


def test_gzip(client: TestClient) -> None:
    """Nothing is inflated."""
    response = client.post("/v1/score", files={"audio": GOOD}, headers={"Content-Encoding": "gzip"})
    assert response.status_code == 415


def test_a_form_that_is_too_large(voice: Vocoder) -> None:
    """The form as a whole is bounded, and a file within it never touches the disk."""
    settings = TINY.model_copy(update={"max_body_bytes": 100_000})
    with TestClient(create_app(settings, load=lambda *_: voice)) as client:
        until(lambda: client.get("/health/ready").status_code == 200)
        assert score(client, {"audio": GOOD}).status_code == 200
        response = score(client, {"audio": file(recording(3.0))})
    assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")
