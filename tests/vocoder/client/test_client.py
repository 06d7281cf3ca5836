"""Both clients against the real service, over a socket."""

import io
import re
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import soundfile
import torch
from pydantic import SecretStr
from torch import Tensor

from server.app import create_app
from server.settings import Settings
from tests.server.conftest import Gate, Serving, until
from tests.server.parcels import mel
from tests.vocoder.client.conftest import Connect
from vocoder import Vocoder, Window
from vocoder.client import (
    BadRequest,
    ClientError,
    Format,
    IncompleteAudio,
    InvalidMelError,
    NotFound,
    TooLarge,
    Unauthorized,
)

HOP, RATE = 256, 22050


def test_vocode_gives_the_samples_and_what_is_known_of_them(
    url: str, connect: Connect, voice: Vocoder
) -> None:
    """The samples are those of `Vocoder` in this process, and every attribute says what is so."""
    audio = connect(url).vocode(mel(40), seed=7, temperature=0.5, format="wav_f32", model="waveglow-tiny")
    np.testing.assert_array_equal(audio.array(), voice(mel(40), seed=7, temperature=0.5).numpy())
    assert (audio.seed, audio.temperature, audio.model) == (7, 0.5, "waveglow-tiny")
    assert (audio.sample_rate, audio.samples, audio.format) == (RATE, 40 * HOP, "wav_f32")
    assert audio.duration == pytest.approx(40 * HOP / RATE, abs=1e-6)
    assert audio.request_id
    assert audio.queue_seconds is not None and audio.inference_seconds and audio.total_seconds
    assert 0 <= audio.queue_seconds + audio.inference_seconds <= audio.total_seconds < 10


@pytest.mark.parametrize("name", ["wav", "pcm"])
def test_sixteen_bits_are_those_of_the_vocoder(
    url: str, connect: Connect, voice: Vocoder, name: Format
) -> None:
    """What is read from 16-bit formats is within a step of what the voice says."""
    audio = connect(url).vocode(mel(20), seed=7, format=name)
    exact = voice(mel(20), seed=7).numpy()
    np.testing.assert_allclose(audio.array(), exact.clip(-1, 1), atol=1.01 / 32768)


@pytest.mark.parametrize("name", ["flac", "mp3", "opus"])
def test_compressed_audio_is_a_file_and_no_array(
    url: str, connect: Connect, name: Format, tmp_path: Path
) -> None:
    """It is saved as it came, and reading samples from it is refused with what can be read."""
    audio = connect(url).vocode(mel(20), format=name)
    audio.save(tmp_path / "saved")
    assert (tmp_path / "saved").read_bytes() == audio.content
    assert audio.media_type.startswith("audio/")
    with pytest.raises(ValueError, match="pcm, wav, wav_f32"):
        audio.array()


def test_seed_is_drawn_here_and_gives_the_same_again(url: str, connect: Connect) -> None:
    """Without a seed each call has its own, and the one it tells repeats it to the byte."""
    client = connect(url)
    first, second = client.vocode(mel(10)), client.vocode(mel(10))
    assert first.seed != second.seed
    assert client.vocode(mel(10), seed=first.seed).content == first.content


def test_mels_come_in_many_types(url: str, connect: Connect) -> None:
    """Lists, doubles, tensors, strided arrays and [frames, bands] are the same mel."""
    client, array = connect(url), mel(6)
    kinds = [
        array.tolist(),
        array.astype(np.float64),
        torch.tensor(array, requires_grad=True),
        array[::-1][::-1],
    ]
    told = [client.vocode(kind, seed=1).content for kind in (array, *kinds)]
    assert set(told) == {client.vocode(array.T, seed=1, layout="LM").content}


def test_rate_and_denoising_are_as_asked(url: str, connect: Connect) -> None:
    """Another rate gives ceil(samples · out / in) samples, and denoising changes them."""
    client = connect(url)
    plain, less = (client.vocode(mel(50), seed=1, sample_rate=16000, denoise=much) for much in (0, 0.5))
    assert plain.sample_rate == less.sample_rate == 16000
    assert plain.samples == less.samples == len(plain.array()) == -(-50 * HOP * 16000 // RATE)
    assert not np.array_equal(plain.array(), less.array())


def test_batch_is_each_of_its_clips(url: str, connect: Connect) -> None:
    """Clip i comes in its place, and is what it is alone with seed + i."""
    client, clips = connect(url), [mel(20, seed=n) for n in range(3)]
    batch = client.vocode_batch(clips, seed=5, format="wav_f32")
    assert [audio.seed for audio in batch] == [5, 6, 7]
    for audio, clip in zip(batch, clips, strict=True):
        alone = client.vocode(clip, seed=audio.seed, format="wav_f32")
        np.testing.assert_allclose(audio.array(), alone.array(), atol=1e-5)
        assert (audio.sample_rate, audio.samples) == (alone.sample_rate, alone.samples)
    assert len(client.vocode_batch(np.stack(clips))) == 3


BAD_BATCHES = [[], [mel(5), mel(6)], mel(5), [mel(5), "a mel"]]


@pytest.mark.parametrize("mels", BAD_BATCHES, ids=["none", "unequal", "one", "text"])
def test_batch_of_anything_else_is_refused_here(url: str, connect: Connect, mels: Any) -> None:
    """Clips of one shape only, and at least one."""
    with pytest.raises(InvalidMelError) as refused:
        connect(url).vocode_batch(mels)
    assert (refused.value.status, refused.value.code) == (None, "invalid_mel")


@pytest.mark.parametrize("name", ["wav", "pcm", "flac", "mp3"])
def test_stream_is_the_whole(url: str, connect: Connect, name: Format) -> None:
    """Piece by piece the same samples come, several pieces of them, and as many as was said beforehand."""
    client, long = connect(url), mel(1500)
    with client.stream(long, seed=3, format=name) as audio:
        assert (audio.samples, audio.seed, audio.sample_rate) == (1500 * HOP, 3, RATE)
        pieces = list(audio)
    assert len(pieces) > 1
    whole = client.vocode(long, seed=3, format=name).content
    streamed, whole = (_decoded(content, name) for content in (b"".join(pieces), whole))
    # Chunks are the whole to rounding, and a rounding may fall on either side of a 16-bit step.
    np.testing.assert_allclose(streamed, whole, atol=1.01 / 32768 if name != "mp3" else 1e-3)


def _decoded(content: bytes, name: str) -> Any:
    if name == "pcm":
        return np.frombuffer(content, "<i2") / 32768
    return soundfile.read(io.BytesIO(content))[0]


def test_streamed_wav_has_its_length_at_the_start(url: str, connect: Connect) -> None:
    """The standard library reads the right duration off a WAV that was streamed."""
    with connect(url).stream(mel(1200)) as audio:
        content = audio.read()
    with wave.open(io.BytesIO(content)) as file:
        assert file.getnframes() == audio.samples == 1200 * HOP


def test_leaving_a_stream_ends_the_work(gate: Gate, serving: Serving, connect: Connect) -> None:
    """Who leaves after the first piece frees the place: few of 161 windows are rendered, and none waits."""
    app = create_app(Settings(voice="waveglow-tiny", chunk_frames=32), load=lambda *_: gate)
    with serving(app) as url:
        gate.opened.set()
        with connect(url).stream(mel(5152), format="pcm") as audio:
            gate.opened.clear()
            assert next(iter(audio))
        gate.opened.set()
        until(lambda: "vocoder_queue_requests 0.0" in httpx2.get(f"{url}/metrics").text)
        assert gate.entered < 100
        counted = re.findall(r'vocoder_aborted_total{stage="\w+"} (.+)', httpx2.get(f"{url}/metrics").text)
        assert sum(map(float, counted)) == 1
        assert connect(url).vocode(mel(5)).samples == 5 * HOP


class Failing(Vocoder):
    """A voice that breaks down at the fifth window it is asked for."""

    def __init__(self, voice: Vocoder) -> None:
        super().__init__(voice.model, voice.header)
        self.asked = 0

    def render(
        self, windows: Sequence[Window], *, seeds: Sequence[int], temperatures: Sequence[float]
    ) -> list[Tensor]:
        """The voice's, four times; a warm-up has no noise, and does not count."""
        self.asked += any(temperatures)
        if self.asked == 5:
            raise RuntimeError("out of breath")
        return super().render(windows, seeds=seeds, temperatures=temperatures)


@pytest.mark.parametrize("name", ["wav", "pcm", "mp3"])
def test_stream_that_breaks_down_is_no_short_audio(
    voice: Vocoder, serving: Serving, connect: Connect, name: Format
) -> None:
    """A service that fails half-way is `IncompleteAudio`, whether a length had been promised or not."""
    app = create_app(Settings(voice="waveglow-tiny", chunk_frames=32), load=lambda *_: Failing(voice))
    with serving(app) as url:
        with connect(url).stream(mel(1000), format=name) as audio, pytest.raises(IncompleteAudio) as caught:
            list(audio)
        assert connect(url).ready()
    promised = {"wav": 44 + 2 * 1000 * HOP, "pcm": 2 * 1000 * HOP}.get(name)
    assert caught.value.expected == promised
    assert caught.value.request_id == audio.request_id
    if promised:
        assert 0 < caught.value.received <= 4 * 2 * 32 * HOP + 44


def test_mel_of_speech_and_its_likelihood(url: str, connect: Connect, tmp_path: Path, voice: Vocoder) -> None:
    """Audio, its bytes and its file give one mel, the front end's; it is the one that a score is of."""
    client = connect(url)
    audio = client.vocode(mel(60), seed=1)
    audio.save(tmp_path / "said.wav")
    ways: list[Any] = [audio, audio.content, tmp_path / "said.wav", str(tmp_path / "said.wav")]
    first, *others = [client.mel(way) for way in ways]
    assert first.shape[0] == 80 and first.dtype == np.float32
    assert all(np.array_equal(first, other) for other in others)
    np.testing.assert_array_equal(client.mel(audio, layout="LM"), first.T)

    told, own = client.score(audio, first), client.score(audio, frames=True)
    assert told.nats_per_sample == pytest.approx(own.nats_per_sample, abs=1e-5)
    assert told.frames is None and own.frames is not None
    assert (own.model, own.samples, len(own.frames)) == ("waveglow-tiny", 60 * HOP, 60)
    assert own.nats_per_sample == pytest.approx(
        float(voice.score(torch.from_numpy(audio.array()), torch.from_numpy(first))), abs=1e-3
    )


def test_models_say_what_their_mels_must_be(url: str, connect: Connect, voice: Vocoder) -> None:
    """The card has the spec, and a mel declared with it, or with its digest, is taken."""
    client = connect(url)
    (card,) = client.models()
    assert (card.id, card.sample_rate) == (voice.name, RATE)
    assert (card.mel, card.mel_digest) == (voice.spec.to_dict(), voice.spec.digest())
    by_fields, by_digest = (client.vocode(mel(5), seed=1, spec=spec) for spec in (card.mel, card.mel_digest))
    assert by_fields.content == by_digest.content


def test_ready_is_told_and_never_raised(url: str, connect: Connect) -> None:
    """True of a service, False of a port where nobody listens."""
    assert connect(url).ready()
    assert not connect("http://127.0.0.1:9").ready()


def _with_a_hole() -> Any:
    damaged = mel(12)
    damaged[3, 7] = np.nan
    return damaged


REFUSED: list[tuple[str, type[ClientError], int | None, str, str | None, Any, dict[str, Any]]] = [
    ("integers", InvalidMelError, None, "invalid_mel", "mel", np.zeros((80, 5), int), {}),
    ("ragged", InvalidMelError, None, "invalid_mel", "mel", [[0.0], [0.0, 1.0]], {}),
    ("bfloat16", InvalidMelError, None, "invalid_mel", "mel", torch.zeros(80, 5, dtype=torch.bfloat16), {}),
    ("beyond float32", InvalidMelError, 422, "invalid_mel", "mel", np.full((80, 5), 1e300), {}),
    ("three dimensions", InvalidMelError, None, "invalid_mel", "mel", mel(5)[None], {}),
    ("79 bands", InvalidMelError, 422, "invalid_mel", "mel", mel(5)[1:], {}),
    ("nan", InvalidMelError, 422, "invalid_mel", "mel", _with_a_hole(), {}),
    ("another spec", InvalidMelError, 422, "mel_spec_mismatch", None, mel(5), {"spec": "0" * 64}),
    ("too long", TooLarge, 413, "mel_too_long", "mel", mel(5169), {}),
    ("too hot", BadRequest, 422, "invalid_parameter", "temperature", mel(5), {"temperature": 9}),
    ("no such format", BadRequest, 422, "invalid_parameter", "format", mel(5), {"format": "gsm"}),
    ("no such model", NotFound, 404, "model_not_found", "model", mel(5), {"model": "siren"}),
]


@pytest.mark.parametrize("case", REFUSED, ids=[case[0] for case in REFUSED])
def test_refusals_are_typed(url: str, connect: Connect, case: tuple[Any, ...]) -> None:
    """Each refusal is of its class and carries the service's words, at once, streamed or not."""
    _, kind, status, code, param, sent, wishes = case
    client = connect(url)
    for call in (client.vocode, lambda *args, **more: client.stream(*args, **more).__enter__()):
        with pytest.raises(kind) as refused:
            call(sent, **wishes)
        error = refused.value
        assert type(error) is kind
        assert (error.status, error.code) == (status, code)
        assert error.param == param or (code == "mel_spec_mismatch" and error.param)
        assert (error.request_id is None) == (status is None)
        assert str(error) and not error.retriable


def test_misspelt_wish_is_a_mistake_of_the_program(url: str, connect: Connect) -> None:
    """It is refused here, by the name that was misspelt."""
    with pytest.raises(TypeError, match="sead"):
        _untyped(connect(url)).vocode(mel(5), sead=1)


def _untyped(client: Any) -> Any:
    return client


def test_keys_are_checked(voice: Vocoder, serving: Serving, connect: Connect) -> None:
    """With the key all is well; without, or with another, it is `Unauthorized`."""
    settings = Settings(voice="waveglow-tiny", api_keys=[SecretStr("open-sesame")])
    with serving(create_app(settings, load=lambda *_: voice)) as url:
        assert connect(url, api_key="open-sesame").vocode(mel(5)).samples == 5 * HOP
        for key in (None, "open-poppy"):
            with pytest.raises(Unauthorized) as refused:
                connect(url, api_key=key).vocode(mel(5))
            assert refused.value.status == 401
        assert connect(url).ready()
