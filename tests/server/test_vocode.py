"""`POST /v1/vocode`, as its callers know it."""

import io
import wave

import numpy as np
import pytest
import soundfile
from starlette.testclient import TestClient

from tests.server.parcels import NPY, forged, header, mel, npy
from vocoder import Vocoder


@pytest.mark.parametrize("frames", [1, 2, 31, 100])
def test_wav_has_frames_times_hop_samples(client: TestClient, frames: int) -> None:
    """The WAV holds exactly frames · 256 samples, and every length that is stated is that one."""
    response = client.post("/v1/vocode", content=npy(mel(frames)), headers=NPY)
    assert response.status_code == 200
    assert response.headers["content-type"] == "audio/wav"
    assert int(response.headers["content-length"]) == len(response.content) == 44 + 2 * 256 * frames
    with wave.open(io.BytesIO(response.content)) as file:
        assert file.getparams()[:4] == (1, 2, 22050, 256 * frames)
    assert float(response.headers["x-audio-duration"]) == pytest.approx(256 * frames / 22050, abs=1e-6)
    assert response.headers["x-sample-rate"] == "22050"


def test_samples_are_those_of_the_vocoder(client: TestClient, voice: Vocoder) -> None:
    """The service adds nothing: these are the samples of `Vocoder` for the same mel, seed and temperature."""
    query = "?seed=7&temperature=0.5&format=wav_f32"
    response = client.post(f"/v1/vocode{query}", content=npy(mel(40)), headers=NPY)
    samples, _ = soundfile.read(io.BytesIO(response.content), dtype="float32")
    np.testing.assert_array_equal(samples, voice(mel(40), seed=7, temperature=0.5).numpy())


def test_same_seed_same_bytes(client: TestClient) -> None:
    """A seed fixes every byte, and another seed is another rendering."""
    one, again, other = (
        client.post(f"/v1/vocode?seed={seed}", content=npy(mel(20)), headers=NPY).content
        for seed in (1, 1, 2)
    )
    assert one == again != other


def test_drawn_seed_is_reported_and_repeats(client: TestClient) -> None:
    """Without a seed one is drawn, differently each time, and the one reported gives the same audio again."""
    first, second = (client.post("/v1/vocode", content=npy(mel(20)), headers=NPY) for _ in range(2))
    assert first.headers["x-seed"] != second.headers["x-seed"]
    query = f"?seed={first.headers['x-seed']}"
    assert client.post(f"/v1/vocode{query}", content=npy(mel(20)), headers=NPY).content == first.content


def test_sigma_is_temperature(client: TestClient) -> None:
    """WaveGlow's name for the scale of the noise is understood."""
    by_name = [
        client.post(f"/v1/vocode?seed=1&{name}=0.3", content=npy(mel(10)), headers=NPY).content
        for name in ("temperature", "sigma")
    ]
    assert by_name[0] == by_name[1]


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_every_accepted_file_says_the_same(
    client: TestClient, dtype: str, order: str, version: tuple[int, int]
) -> None:
    """Dtype, memory order and version of the file make no difference to a mel that all of them can hold."""
    plain = mel(10).astype("<f2").astype("<f4")
    held = np.array(plain, dtype=dtype, order="C" if order == "C" else "F")
    expected = client.post("/v1/vocode?seed=1", content=npy(plain), headers=NPY).content
    got = client.post("/v1/vocode?seed=1", content=npy(held, version=version), headers=NPY)
    assert got.content == expected


def test_header_without_padding(client: TestClient) -> None:
    """Other writers do not align the data; it is read all the same."""
    text = header("(80, 10)").replace(", }", "}")
    assert (10 + len(text)) % 4
    expected = client.post("/v1/vocode?seed=1", content=npy(mel(10)), headers=NPY).content
    got = client.post("/v1/vocode?seed=1", content=forged(text, mel(10).tobytes()), headers=NPY)
    assert got.content == expected


def test_layout_names_the_other_way_round(client: TestClient) -> None:
    """[frames, bands] is read with layout=LM, and not guessed without it."""
    turned = npy(np.ascontiguousarray(mel(30).T))
    expected = client.post("/v1/vocode?seed=1", content=npy(mel(30)), headers=NPY).content
    assert client.post("/v1/vocode?seed=1&layout=LM", content=turned, headers=NPY).content == expected
    refused = client.post("/v1/vocode?seed=1", content=turned, headers=NPY)
    assert refused.status_code == 422
    assert "layout" in refused.json()["error"]["message"]


def test_flac_holds_the_samples_of_the_wav(client: TestClient) -> None:
    """FLAC is lossless: its samples are those of the WAV."""
    flac, wav = (
        client.post(f"/v1/vocode?seed=5&format={name}", content=npy(mel(25)), headers=NPY)
        for name in ("flac", "wav")
    )
    assert flac.headers["content-type"] == "audio/flac"
    left, right = (soundfile.read(io.BytesIO(each.content), dtype="int16")[0] for each in (flac, wav))
    np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("media", ["application/octet-stream", "Application/X-NPY; charset=binary"])
def test_content_types(client: TestClient, media: str) -> None:
    """A plain stream of bytes will do if it begins like a .npy file, whatever parameters the type has."""
    response = client.post("/v1/vocode", content=npy(mel(3)), headers={"Content-Type": media})
    assert response.status_code == 200


def test_request_id(client: TestClient) -> None:
    """A plain id of the caller's comes back, anything else is replaced, on success and on failure."""
    sent = {**NPY, "X-Request-Id": "order-66_a.b"}
    served, refused = (
        client.post("/v1/vocode", content=npy(mel(2)), headers=sent),
        client.get("/no", headers=sent),
    )
    assert served.headers["x-request-id"] == refused.headers["x-request-id"] == "order-66_a.b"
    for foul in ("x" * 65, "a b", "<script>"):
        given = client.get("/health/live", headers={"X-Request-Id": foul}).headers["x-request-id"]
        assert len(given) == 32
