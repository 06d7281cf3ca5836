"""The denoiser: what it takes off and leaves, its length, its streams, and the published one beside it."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import vocoder
from vocoder import Vocoder, audio
from vocoder.cli import main
from vocoder.denoise import Bias, Denoiser, bias_spectrum, published_bias, steady_bias
from vocoder.errors import InvalidAudio, InvalidConfig, InvalidInput
from vocoder.tones import tone_level

HELLO = Path(__file__).parents[2] / "samples" / "hello.npy"
LENGTHS = [1, 2, 255, 256, 257, 767, 768, 769, 1023, 1024, 1025, 5000, 2**16 - 1, 2**16 + 1]
NOT_STRENGTHS = [-0.01, 1.01, math.nan, math.inf, "0.1", None, True]


@pytest.fixture(scope="module", params=["waveglow-tiny", "default"])
def voice(request: pytest.FixtureRequest) -> Vocoder:
    """A voice of each shape that ships."""
    return vocoder.load(request.param, device="cpu")


@pytest.fixture(scope="module")
def mel() -> Tensor:
    """Half of the speech that the project ships."""
    return torch.from_numpy(np.load(HELLO))[:, :120]


def white(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Noise from a seed."""
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def made_up(n_fft: int = 1024, hop: int = 256) -> Denoiser:
    """A denoiser with a bias of ups and downs, about as loud as `white`."""
    bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64)
    return Denoiser((1 + torch.sin(bins / 3)) * n_fft**0.5 / 10, n_fft, hop)


def published(sound: Tensor, bias: Tensor, strength: float) -> Tensor:
    """The published denoiser, from its description: reflected ends, frames in the middle of them."""
    window = torch.hann_window(1024, dtype=sound.dtype)
    spectrum = torch.stft(sound, 1024, 256, window=window, pad_mode="reflect", return_complex=True)
    magnitude = torch.clamp(spectrum.abs() - strength * bias[:, None], min=0)
    return torch.istft(torch.polar(magnitude, spectrum.angle()), 1024, 256, window=window)


@pytest.mark.parametrize("samples", LENGTHS)
def test_keeps_the_length(samples: int) -> None:
    """As many samples come out as went in, of the same type, however many they are."""
    for dtype in (torch.float32, torch.float64):
        for sound in (white(samples, dtype=dtype), white(3, samples, dtype=dtype)):
            cleaned = made_up()(sound, 0.5)
            assert (cleaned.shape, cleaned.dtype) == (sound.shape, dtype)
            assert cleaned.isfinite().all()


def test_nothing_is_taken_off_at_strength_0() -> None:
    """Strength 0 returns the audio itself, in a stream too; without a bias any strength returns it."""
    sound = white(5000, dtype=torch.float64)
    assert made_up()(sound, 0) is sound
    chunks = sound.split(7)
    assert all(a is b for a, b in zip(made_up().stream(chunks, 0.0), chunks, strict=True))
    for n_fft, hop in ((1024, 256), (1024, 128), (768, 256), (60, 20)):
        still = Denoiser(torch.zeros(n_fft // 2 + 1), n_fft, hop)(sound, 1.0)
        torch.testing.assert_close(still, sound, rtol=0, atol=1e-14)


@pytest.mark.parametrize("strength", [0.01, 0.3, 1.0])
def test_the_published_denoiser_for_the_same_bias(strength: float) -> None:
    """Sample for sample what the published one makes of speech-like noise, but for the 768 at either end."""
    sound, denoiser = white(40 * 256), made_up()
    expected = published(sound, denoiser.bias.float(), strength)
    found = denoiser(sound, strength)
    torch.testing.assert_close(found[768:-768], expected[768:-768], rtol=0, atol=1e-6)
    assert float((found - sound).abs().max()) > 1e-3


def test_the_published_bias_for_a_voice(voice: Vocoder, mel: Tensor) -> None:
    """Asked of a voice as published, first frame and all; and so is what is left of its speech."""
    zeros = voice(torch.zeros(80, 88), temperature=0)
    window = torch.hann_window(1024)
    bias = torch.stft(zeros, 1024, 256, window=window, pad_mode="reflect", return_complex=True).abs()[:, 0]
    denoiser, sound = voice.denoiser("published"), voice(mel)
    torch.testing.assert_close(denoiser.bias, bias, rtol=1e-5, atol=1e-5)
    expected = published(sound, bias, 0.01)
    torch.testing.assert_close(denoiser(sound, 0.01)[768:-768], expected[768:-768], rtol=0, atol=1e-5)


def pieces(sound: Tensor, sizes: str) -> Iterator[Tensor]:
    """The sound in chunks of the sizes named, one size after the other, again and again."""
    asked, place = [int(size) for size in sizes.split()], 0
    while place < len(sound):
        size = asked[0]
        yield sound[place : place + size]
        place, asked = place + size, asked[1:] + asked[:1]


@pytest.mark.parametrize("sizes", ["1", "7", "256", "255 0 1 512", "3000 1 1023", "100000"])
@pytest.mark.parametrize("samples", [1, 700, 2049, 6000])
def test_a_stream_is_the_whole(sizes: str, samples: int) -> None:
    """In chunks of any size: the same samples to 1e-12, the same number of them, in no empty chunk."""
    for n_fft, hop in ((1024, 256), (96, 32)):
        sound, denoiser = white(samples, dtype=torch.float64), made_up(n_fft, hop)
        chunks = list(denoiser.stream(pieces(sound, sizes), 0.4))
        assert all(len(chunk) for chunk in chunks)
        torch.testing.assert_close(torch.cat(chunks), denoiser(sound, 0.4), rtol=0, atol=1e-12)
        again = torch.cat(list(denoiser.stream(pieces(sound.float(), sizes), 0.4)))
        torch.testing.assert_close(again, denoiser(sound.float(), 0.4), rtol=0, atol=1e-6)


def test_a_stream_of_nothing_is_nothing() -> None:
    """No chunk in, or empty ones: none out."""
    assert list(made_up().stream([], 0.5)) == []
    assert list(made_up().stream([torch.zeros(0)] * 3, 0.5)) == []


def test_a_stream_is_less_than_a_window_behind() -> None:
    """Sample by sample, no more than n_fft - 1 samples are ever held back, until the end lets go of them."""
    came = gone = 0

    def arriving() -> Iterator[Tensor]:
        nonlocal came
        for sample in white(5000).split(1):
            came += 1
            yield sample

    lags = []
    for chunk in made_up().stream(arriving(), 0.3):
        lags.append(came - gone)
        gone += len(chunk)
    assert max(lags) <= 1024
    assert gone == came == 5000


def test_a_clip_of_a_batch_is_the_clip_alone() -> None:
    """Also where zeros fill it up to the longest."""
    clips = [white(3000), 2 * white(2000)]
    batch = torch.stack([torch.nn.functional.pad(clip, (0, 3000 - len(clip))) for clip in clips])
    for row, clip in zip(made_up()(batch, 0.6), clips, strict=True):
        torch.testing.assert_close(row[: len(clip)], made_up()(clip, 0.6), rtol=0, atol=1e-6)


def test_a_long_clip_is_transformed_in_blocks() -> None:
    """Where a block ends and the next begins nothing is to be seen."""
    sound, denoiser = white(2**17 + 5000, dtype=torch.float64), made_up()
    middle = slice(2**16 - 2048, 2**16 + 2048)
    found, alone = denoiser(sound, 0.5)[middle], denoiser(sound[middle], 0.5)
    torch.testing.assert_close(found[768:-768], alone[768:-768], rtol=0, atol=1e-12)


def test_takes_tones_off_and_little_else() -> None:
    """Tones of period 8 that the bias knows fall by more than 15 dB; noise around them keeps its level."""
    hum = 0.05 * torch.randn(8, generator=torch.Generator().manual_seed(2)).repeat(8192)
    noise = 0.2 * white(len(hum))
    bias = torch.fft.rfft(hum[:1024] * torch.hann_window(1024)).abs()
    cleaned = Denoiser(bias)(hum + noise, 1.0)
    before, after = (tone_level(sound, 22050, 8) for sound in (hum + noise, cleaned))
    assert before > 25
    assert after < before - 15
    assert 20 * math.log10(float(cleaned.std() / noise.std())) == pytest.approx(0, abs=1)


def test_stronger_is_less() -> None:
    """Power falls as the strength grows; what lies below the bias is gone."""
    levels = [float(made_up()(white(5000), strength).std()) for strength in (0.0, 0.01, 0.1, 0.5, 1.0)]
    assert levels == sorted(levels, reverse=True)
    assert not Denoiser(torch.full((513,), 1e3))(white(5000), 1.0).any()


def test_silence_stays_silent() -> None:
    """A frame of zeros has no phase, and comes out as zeros."""
    assert not made_up()(torch.zeros(5000), 0.5).any()


@pytest.mark.parametrize("hop", [100, 256, 300])
def test_the_steady_bias_is_of_the_inner_frames(hop: int) -> None:
    """A voice that hums a sine of amplitude ½ and clicks at its ends: the line of the sine, and no click."""

    def speak(mel: Tensor) -> Tensor:
        sound = 0.5 * torch.sin(2 * math.pi * 64 / 1024 * torch.arange(mel.shape[1] * hop))
        sound[: 3 * hop] += 10
        sound[-3 * hop :] -= 10
        return sound * float(mel.mean() == -5)

    bias = steady_bias(speak, 80, hop, margin=3, level=-5.0)
    assert bias.shape == (513,)
    assert float(bias[64]) == pytest.approx(0.5 / 2 * 512, rel=1e-3)
    assert float(bias[:62].max()) < 1e-3
    assert published_bias(lambda mel: torch.ones(mel.shape[1] * 256), 80)[0] == pytest.approx(512)


@pytest.mark.parametrize(("kind", "level"), [("speech", -5.0), ("silence", -11.5), ("published", 0.0)])
def test_each_kind_asks_for_its_mel(kind: Bias, level: float) -> None:
    """One flat mel at its level, with a margin to leave out at both ends; or 88 frames, as published."""
    asked = []

    def speak(mel: Tensor) -> Tensor:
        asked.append(mel)
        return white(mel.shape[1] * 256)

    bias_spectrum(kind, speak, bands=40, hop=256, margin=50, floor=-11.5)
    (mel,) = asked
    assert mel.shape == (40, 88 if kind == "published" else 108)
    assert (mel == level).all()


def test_a_voice_repeats_itself_on_a_steady_mel(voice: Vocoder) -> None:
    """At temperature 0 all it says is lines at multiples of Fs / hop: bins between them hold nothing."""
    for kind in ("speech", "silence"):
        bias = voice.denoiser(kind).bias
        lines, between = bias[4:-1:4], bias[2::4]
        assert float(lines.mean()) > 0
        assert float(between.max()) < 1e-4 * float(lines.mean())


def test_a_voice_makes_its_denoiser_once(mel: Tensor) -> None:
    """Threads that ask at once are given one denoiser, and speak as they would have done one by one."""
    fresh = vocoder.load("waveglow-tiny", device="cpu")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda seed: fresh(mel, seed=seed, denoise=0.2), range(8)))
        assert len({id(each) for each in pool.map(lambda _: fresh.denoiser(), range(8))}) == 1
    assert all(torch.equal(sound, fresh(mel, seed=seed, denoise=0.2)) for seed, sound in enumerate(found))


def test_a_voice_denoises_what_it_speaks(voice: Vocoder, mel: Tensor) -> None:
    """`denoise` is the denoiser on the audio; 0, the default, leaves every bit as it is."""
    plain = voice(mel, seed=5)
    assert torch.equal(voice(mel, seed=5, denoise=0.0), plain)
    cleaned = voice(mel, seed=5, denoise=0.3)
    assert torch.equal(cleaned, voice.denoiser()(plain, 0.3))
    assert cleaned.shape == plain.shape
    assert not torch.equal(cleaned, plain)
    batch = voice(torch.stack([mel, mel]), seed=[5, 6], denoise=0.3)
    torch.testing.assert_close(batch[0], cleaned, rtol=0, atol=1e-3)


def test_a_voice_denoises_its_streams(voice: Vocoder, mel: Tensor) -> None:
    """A stream with `denoise` is the call with it; with 0 it is the stream without, chunk by chunk."""
    joined = torch.cat(list(voice.stream(mel, seed=3, temperature=0.5, denoise=0.3, chunk_frames=32)))
    torch.testing.assert_close(joined, voice(mel, seed=3, temperature=0.5, denoise=0.3), rtol=0, atol=1e-3)
    pairs = zip(voice.stream(mel, denoise=0.0), voice.stream(mel), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("strength", NOT_STRENGTHS)
def test_refuses_what_is_no_strength(strength: Any, mel: Tensor) -> None:
    """A strength is a number within 0 … 1, and one that is not is refused at once, before any work."""
    tiny = vocoder.load("waveglow-tiny", device="cpu")
    calls = (
        lambda: made_up()(white(10), strength),
        lambda: made_up().stream([], strength),
        lambda: tiny(mel, denoise=strength),
        lambda: tiny.stream(mel, denoise=strength),
    )
    for call in calls:
        with pytest.raises(InvalidInput, match=r"denoise strength \(=.*must be a number within 0 … 1"):
            call()


BAD_AUDIO: dict[str, tuple[Tensor, str]] = {
    "rank 0": (torch.tensor(1.0), r"\[\]"),
    "rank 3": (torch.zeros(1, 1, 10), r"\[1, 1, 10\]"),
    "integers": (torch.zeros(10, dtype=torch.int16), "int16"),
    "halves": (torch.zeros(10, dtype=torch.float16), "float16"),
    "NaN": (torch.full((10,), math.nan), "not finite"),
}


@pytest.mark.parametrize("case", BAD_AUDIO)
def test_refuses_what_is_no_audio(case: str) -> None:
    """Other shapes, types and NaN are refused; in a stream when they are reached."""
    sound, words = BAD_AUDIO[case]
    with pytest.raises(InvalidAudio, match=words):
        made_up()(sound, 0.5)
    for strength in (0.0, 0.5):
        with pytest.raises(InvalidAudio, match=words):
            list(made_up().stream([torch.zeros(10), sound], strength))


def test_refuses_to_stream_a_batch() -> None:
    """A stream is one clip's."""
    with pytest.raises(InvalidAudio, match=r"\[2, 10\], expected float32 or float64 \[samples\]"):
        list(made_up().stream([torch.zeros(2, 10)], 0.5))


BAD_DENOISERS: dict[str, tuple[Tensor, int, int, str]] = {
    "bins": (torch.zeros(512), 1024, 256, r"bias has shape \[512\], expected \[513\]"),
    "rank": (torch.zeros(1, 513), 1024, 256, "shape"),
    "negative": (torch.full((513,), -1.0), 1024, 256, "negative"),
    "NaN": (torch.full((513,), math.nan), 1024, 256, "not finite"),
    "too little overlap": (torch.zeros(513), 1024, 512, r"hop \(=512\) must divide n_fft \(=1024\)"),
    "crooked overlap": (torch.zeros(513), 1024, 300, r"hop \(=300\)"),
    "no hop": (torch.zeros(513), 1024, 0, r"hop \(=0\)"),
}


@pytest.mark.parametrize("case", BAD_DENOISERS)
def test_refuses_to_be_built_of_that(case: str) -> None:
    """A bias is a finite magnitude for each bin, and windows add up."""
    bias, n_fft, hop, words = BAD_DENOISERS[case]
    with pytest.raises(InvalidConfig, match=words):
        Denoiser(bias, n_fft, hop)


def test_refuses_an_unknown_bias(voice: Vocoder) -> None:
    """Biases have names, and the message has them."""
    with pytest.raises(InvalidInput, match=r"bias \(='hum'\) must be one of .*'published'"):
        voice.denoiser("hum")  # type: ignore[arg-type]


def test_the_command_line_denoises(tmp_path: Path, mel: Tensor) -> None:
    """`vocode --denoise X` writes what the voice says with `denoise=X`."""
    np.save(tmp_path / "mel.npy", mel.numpy())
    tiny = ["--checkpoint", "waveglow-tiny", "--device", "cpu", "--format", "wav_f32"]
    files = [str(tmp_path / "mel.npy"), "-o", str(tmp_path / "out.wav")]
    assert main(["vocode", *files, *tiny, "--denoise", "0.4"]) == 0
    expected = vocoder.load("waveglow-tiny", device="cpu")(mel, denoise=0.4)
    assert torch.equal(audio.load(tmp_path / "out.wav", 22050), expected)
