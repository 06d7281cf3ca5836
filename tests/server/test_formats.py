"""Every format of `POST /v1/vocode`, whole and streamed: what decodes is what was said."""

import io
from typing import Any

import numpy as np
import pytest
import soundfile
from starlette.testclient import TestClient

from tests.server.parcels import NPY, mel, npy
from vocoder import Vocoder, audio

HOP, FRAMES = 256, 61
HEADERS = {
    "X-Request-Id",
    "X-Model",
    "X-Seed",
    "X-Temperature",
    "X-Sample-Rate",
    "X-Audio-Samples",
    "X-Audio-Duration",
    "X-Queue-Time",
    "X-Inference-Time",
    "X-Total-Time",
}
CASES = [(form, rate) for form in audio.FORMATS for rate in (None, 16_000, 48_000)]


@pytest.mark.parametrize("stream", ["false", "true"])
@pytest.mark.parametrize(("form", "rate"), CASES)
def test_decodes_to_the_rate_and_the_length_that_were_said(
    client: TestClient, voice: Vocoder, form: str, rate: int | None, stream: str
) -> None:
    """ceil(samples · out / in) of them, at the rate of the headers, and the voice's own sound."""
    if form == "aac":
        pytest.importorskip("av")
    query = f"?seed=1&format={form}&stream={stream}" + (f"&sample_rate={rate}" if rate else "")
    answer = client.post(f"/v1/vocode{query}", content=npy(mel(FRAMES)), headers=NPY)
    assert answer.status_code == 200
    out = int(answer.headers["x-sample-rate"])
    assert out == (rate or (24_000 if form == "opus" else 22_050))
    samples = -(-FRAMES * HOP * out // 22_050)
    assert int(answer.headers["x-audio-samples"]) == samples
    assert answer.headers["content-type"] == audio.FORMATS[form].media_type(out)
    found, where = _decoded(answer.content, form, out)
    padding = (1024, 1024 * -(-samples // 1024) + 1024) if form == "aac" else (0, samples)
    assert (where, len(found)) == (out, padding[1])
    expected = audio.resample(voice(mel(FRAMES), seed=1), 22_050, out).numpy()
    likeness = np.corrcoef(found[padding[0] : padding[0] + samples], expected)[0, 1]
    assert likeness > (0.9999 if audio.FORMATS[form].lossless else 0.4)


def _decoded(data: bytes, form: str, rate: int) -> tuple[np.ndarray, int]:
    """Samples and rate, as libsndfile finds them, or PyAV for AAC; raw samples say nothing of themselves."""
    if form == "pcm":
        return np.frombuffer(data, "<i2") / 2**15, rate
    if form != "aac":
        samples, found = soundfile.read(io.BytesIO(data), dtype="float32")
        return samples, found
    import av

    with av.open(io.BytesIO(data), "r", format="aac") as file:
        frames = [frame.to_ndarray()[0] for frame in file.decode(audio=0)]
        return np.concatenate(frames), file.streams.audio[0].rate


@pytest.mark.parametrize("stream", ["false", "true"])
def test_the_headers_are_there_and_true(client: TestClient, stream: str) -> None:
    """All ten of them; times are seconds, and the parts are less than the whole."""
    query = f"seed=9&temperature=0.25&stream={stream}&sample_rate=8000"
    answer = client.post(f"/v1/vocode?{query}", content=npy(mel(100)), headers={**NPY, "X-Request-Id": "abc"})
    said = {name: answer.headers[name] for name in HEADERS}
    assert (said["X-Model"], said["X-Seed"], said["X-Request-Id"]) == ("waveglow-tiny", "9", "abc")
    assert (said["X-Temperature"], said["X-Sample-Rate"]) == ("0.25", "8000")
    assert int(said["X-Audio-Samples"]) == -(-HOP * 100 * 8000 // 22_050) == (len(answer.content) - 44) // 2
    assert float(said["X-Audio-Duration"]) == pytest.approx(int(said["X-Audio-Samples"]) / 8000, abs=1e-6)
    waited, rendered, total = (float(said[f"X-{name}-Time"]) for name in ("Queue", "Inference", "Total"))
    assert waited >= 0 and rendered > 0 and waited + rendered <= total < 30


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("format=opus&sample_rate=22050", "(8000, 12000, 16000, 24000, 48000) for opus"),
        ("format=opus&sample_rate=44100", "(8000, 12000, 16000, 24000, 48000) for opus"),
        ("format=mp3&sample_rate=96000", "(8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)"),
        ("format=flac&sample_rate=88201", "88201 Hz"),
    ],
)
@pytest.mark.parametrize("stream", ["false", "true"])
def test_a_rate_that_a_format_has_not_got_is_refused(
    client: TestClient, query: str, named: str, stream: str
) -> None:
    """With the rates that it has; the body, here none at all, is not looked at."""
    answer = client.post(f"/v1/vocode?{query}&stream={stream}", headers=NPY)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_audio")
    assert named in answer.json()["error"]["message"]


@pytest.mark.parametrize("query", ["format=ogg", "format=WAV", "sample_rate=7999", "sample_rate=192001"])
def test_no_such_wish(client: TestClient, query: str) -> None:
    """Refused by the name of the parameter."""
    answer: Any = client.post(f"/v1/vocode?{query}", headers=NPY)
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, query.partition("=")[0])
