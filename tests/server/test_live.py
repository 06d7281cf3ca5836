"""`WS /v1/vocode/stream`: a mel that is still being made, spoken while it comes."""

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import httpx2
import numpy as np
import pytest
from fastapi import FastAPI

from server.app import create_app
from server.settings import Settings
from tests.server.conftest import Serving, Turnstile
from tests.server.parcels import NPY, mel, npy, tensors
from tests.server.talks import END, heard_out, talking
from vocoder import Vocoder, audio

HOP, HALO = 256, 7
ODD = (1, 7, 50, 3, 64, 1, 90)


@pytest.fixture(scope="module")
def url(voice: Vocoder, serving: Serving) -> Iterator[str]:
    """The service with the test voice, in short windows."""
    with serving(_app(voice, chunk_frames=64, max_frames=500, max_stream_frames=600)) as url:
        yield url


def _app(voice: Vocoder, **settings: Any) -> FastAPI:
    return create_app(Settings(voice="waveglow-tiny", **settings), load=lambda *_: voice)


def _pieces(whole: np.ndarray, sizes: Sequence[int] = ODD) -> list[np.ndarray]:
    return np.split(whole, np.cumsum(sizes)[:-1].tolist(), axis=1)


def _spoken(url: str, query: str, messages: Iterable[bytes]) -> tuple[list[dict[str, Any]], bytes]:
    with talking(url, query) as talk:
        for message in messages:
            talk.send(message)
        talk.send(END)
        words, sound, code = heard_out(talk)
    assert code == 1000
    return words, sound


def test_pieces_of_any_size_are_the_whole(url: str, voice: Vocoder) -> None:
    """Frames in, one or ninety at a time, in either kind of file: the samples of the voice, and how many."""
    whole = mel(sum(ODD))
    files = [[npy, lambda a: tensors(mel=a)][i % 2](each) for i, each in enumerate(_pieces(whole))]
    words, sound = _spoken(url, "temperature=0.5", files)
    samples = np.frombuffer(sound, "<i2")
    expected = voice(whole, seed=1, temperature=0.5).clamp(-1, 1 - 2**-15).numpy() * 2**15
    assert np.abs(samples - expected).max() <= 1.001
    start, done = words
    assert len(start.pop("request_id")) == 32
    about = {"model": "waveglow-tiny", "seed": 1, "temperature": 0.5, "sample_rate": 22050, "format": "pcm"}
    assert start == {"type": "start", **about}
    assert done == {"type": "done", "samples": HOP * 216, "duration": pytest.approx(HOP * 216 / 22050)}


WISHES = ["layout=LM", "denoise=0.8", "sample_rate=16000", "denoise=1&sample_rate=48000"]


@pytest.mark.parametrize("query", WISHES)
def test_wishes_are_those_of_a_request(url: str, query: str) -> None:
    """What the query asks for is done as `POST /v1/vocode` does it, to the last bit but one."""
    pieces = [each.T if "LM" in query else each for each in _pieces(mel(216))]
    words, sound = _spoken(url, query, [npy(np.ascontiguousarray(each)) for each in pieces])
    body = npy(np.ascontiguousarray(mel(216).T) if "LM" in query else mel(216))
    answer = httpx2.post(f"{url}/v1/vocode?seed=1&format=pcm&{query}", content=body, headers=NPY)
    made, expected = (np.frombuffer(each, "<i2").astype(int) for each in (sound, answer.content))
    assert len(made) == len(expected) == words[-1]["samples"]
    assert np.abs(made - expected).max() <= 1
    assert words[-1]["duration"] == pytest.approx(float(answer.headers["x-audio-duration"]), abs=1e-6)


@pytest.mark.parametrize(("form", "rate"), [("flac", 22050), ("mp3", 22050), ("opus", 24000), ("aac", 22050)])
def test_every_format_can_be_spoken(url: str, form: str, rate: int) -> None:
    """A file whose length nobody knew beforehand: of the right rate, with every sample in it."""
    words, sound = _spoken(url, f"format={form}", map(npy, _pieces(mel(216))))
    samples = -(-HOP * 216 * rate // 22050)
    assert (words[0]["sample_rate"], words[-1]["samples"]) == (rate, samples)
    assert len(_decoded(sound, form, rate)) == {
        "flac": samples,
        "opus": samples,
        "mp3": 576 * -(-(samples + 1152) // 576),
        "aac": 1024 * -(-samples // 1024) + 1024,
    }[form]


def _decoded(sound: bytes, form: str, rate: int) -> Any:
    if form != "aac":
        return audio.decode(sound, rate)
    av = pytest.importorskip("av")
    with av.open(io.BytesIO(sound), "r", format="aac") as file:
        assert file.streams.audio[0].rate == rate
        return np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])


def test_audio_begins_when_the_halo_is_there(turnstile: Turnstile, serving: Serving) -> None:
    """Not before `first_frames` and the halo have come, and at once with the frame that completes them."""
    turnstile.let()
    with serving(_app(turnstile, first_frames=20)) as url, talking(url) as talk:
        talk.send(npy(mel(20 + HALO - 1)))
        assert json.loads(talk.recv(timeout=10))["type"] == "start"
        with pytest.raises(TimeoutError):
            talk.recv(timeout=0.3)
        assert not turnstile.asked
        talk.send(npy(mel(1)))
        assert len(talk.recv(timeout=10)) == 2 * HOP * 20
        talk.send(END)
        words, sound, code = heard_out(talk)
        assert (len(sound), code) == (2 * HOP * HALO, 1000)
        assert words[-1]["samples"] == HOP * (20 + HALO)


def _spoilt() -> np.ndarray:
    spoilt = mel(5)
    spoilt[3, 2] = np.nan
    return spoilt


BAD = {
    "no file": ("", [b"mel"], "malformed_body"),
    "half a file": ("", [npy(mel(5))[:-1]], "malformed_npy"),
    "other bands": ("", [npy(np.zeros((79, 5), np.float32))], "invalid_mel"),
    "a batch": ("", [npy(np.zeros((1, 80, 5), np.float32))], "invalid_mel"),
    "not finite": ("", [npy(mel(50)), npy(_spoilt())], "invalid_mel"),
    "a long piece": ("", [npy(mel(501))], "mel_too_long"),
    "many pieces": ("", [npy(mel(301)), npy(mel(300))], "mel_too_long"),
    "a word": ("", ["hello"], "invalid_input"),
    "another word": ("", [npy(mel(3)), '{"type": "start"}'], "invalid_input"),
    "deep JSON": ("", ["[" * 100_000], "invalid_input"),
    "nothing": ("", [END], "invalid_mel"),
    "unknown wish": ("sede=1", [], "invalid_parameter"),
    "a whole file's format": ("format=wav", [], "invalid_parameter"),
    "both names": ("sigma=1&temperature=1", [], "invalid_parameter"),
    "no rate of opus": ("format=opus&sample_rate=22050", [], "invalid_audio"),
    "unknown model": ("model=../x", [], "model_not_found"),
}


@pytest.mark.parametrize(("query", "messages", "code"), BAD.values(), ids=BAD.keys())
def test_the_callers_mistakes_are_named(url: str, query: str, messages: list[Any], code: str) -> None:
    """The envelope of any refusal, in a message, and close code 1008; then the service goes on."""
    with talking(url, query) as talk:
        for message in messages:
            talk.send(message)
        words, _, closed = heard_out(talk)
    assert (words[-1]["type"], words[-1]["error"]["code"], closed) == ("error", code, 1008)
    assert set(words[-1]["error"]) == {"message", "type", "param", "code"}
    assert len(json.dumps(words[-1])) < 1000 and "hello" not in words[-1]["error"]["message"]
