"""Each metric: perfect for a copy, worse for a worse one, equal to its library, NaN where it is mute."""

import math
import sys
from pathlib import Path

import auraloss
import numpy as np
import pesq
import pystoi
import pytest
import torch
import torchcrepe
from torch import Tensor

from vocoder import audio
from vocoder.errors import InvalidAudio, InvalidInput
from vocoder.features import LogMel, MelSpec
from vocoder.metrics import METRICS, Reference, measure, select

RATE = 22050
QUICK = ["pesq", "stoi", "mstft", "mcd"]
PERFECT = {
    "pesq": 4.644,
    "stoi": 1.0,
    "mstft": 0.0,
    "mcd": 0.0,
    "periodicity": 0.0,
    "vuv_f1": 1.0,
    "pitch": 0.0,
}


def vowels(seconds: float) -> Tensor:
    """Something like speech: a gliding buzz under formants, in syllables, with breath between them."""
    t = torch.arange(int(seconds * RATE), dtype=torch.float64) / RATE
    pitch = 180 + 40 * torch.sin(2 * math.pi * 1.3 * t)
    phase = 2 * math.pi * torch.cumsum(pitch, 0) / RATE
    voice = torch.zeros_like(t)
    for harmonic in range(1, 30):
        frequency = harmonic * pitch
        formants = sum(
            torch.exp(-(((frequency - f) / w) ** 2)) for f, w in ((600, 150), (1300, 200), (2600, 300))
        )
        voice += (0.02 + formants) * torch.sin(harmonic * phase)
    syllables = torch.sin(2 * math.pi * 2 * t).clamp(min=0).sqrt()
    breath = torch.randn(len(t), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (0.05 * syllables * voice + 0.001 * breath).float()


def noise(like: Tensor, level: float) -> Tensor:
    """White noise, the same for every level."""
    return level * torch.randn(like.shape, generator=torch.Generator().manual_seed(7))


@pytest.fixture(scope="module")
def speech(request: pytest.FixtureRequest) -> Tensor:
    """0.7 s of a recording where there is one, and of vowels otherwise."""
    try:
        folder: Path = request.getfixturevalue("speech_dir")
    except pytest.skip.Exception:
        return vowels(0.7)
    return audio.load(folder / "kathleen" / "flac" / "arctic_a0001_1592748574.flac", RATE)[12000:27000]


@pytest.fixture(scope="module")
def scores(speech: Tensor) -> list[dict[str, float]]:
    """Every metric, for the recording itself and under two levels of noise."""
    reference = Reference(speech, RATE)
    return [reference.measure(speech + noise(speech, level)) for level in (0.0, 0.01, 0.1)]


@pytest.mark.parametrize("name", METRICS)
def test_a_copy_is_perfect(name: str, scores: list[dict[str, float]]) -> None:
    """A recording compared with itself gets the best score there is."""
    assert scores[0][name] == pytest.approx(PERFECT[name], abs=1e-3)


@pytest.mark.parametrize("name", METRICS)
def test_more_noise_is_worse(name: str, scores: list[dict[str, float]]) -> None:
    """Every metric falls, or rises where lower is better, with every step of noise."""
    quality = [score[name] if METRICS[name].higher_is_better else -score[name] for score in scores]
    assert quality[0] > quality[1] > quality[2]


def test_synthetic_speech_is_measured_too() -> None:
    """Without a recording at hand, vowels get the perfect scores of a copy as well."""
    sound = vowels(1.0)
    for name, score in Reference(sound, RATE).measure(sound, QUICK).items():
        assert score == pytest.approx(PERFECT[name], abs=1e-3)


def test_the_table_is_in_order() -> None:
    """`measure` gives every metric of METRICS, in its order, and `select` those that are named, in theirs."""
    empty = torch.zeros(10)
    assert list(measure(empty, empty, RATE)) == list(METRICS) == list(PERFECT)
    assert [metric.name for metric in select(["mcd", "pesq"])] == ["mcd", "pesq"]
    with pytest.raises(InvalidInput, match=r"no metric is called .*'mos'.*'pesq'"):
        select(["pesq", "mos"])


def test_a_metric_is_a_function(speech: Tensor, scores: list[dict[str, float]]) -> None:
    """A row of the table, called with a pair, gives the score that `measure` gives."""
    assert METRICS["stoi"](speech, speech + noise(speech, 0.01), RATE) == scores[1]["stoi"]


def test_pesq_and_stoi_are_their_libraries(speech: Tensor, scores: list[dict[str, float]]) -> None:
    """PESQ is `pesq` in wide band, STOI is `pystoi` unextended, both on audio resampled to 16 kHz."""
    pair = [audio.resample(x, RATE, 16000).numpy() for x in (speech, speech + noise(speech, 0.01))]
    assert scores[1]["pesq"] == pytest.approx(pesq.pesq(16000, *pair, "wb"), abs=1e-6)
    assert scores[1]["stoi"] == pytest.approx(pystoi.stoi(*pair, 16000, extended=False), abs=1e-9)


def test_mstft_is_auraloss(speech: Tensor, scores: list[dict[str, float]]) -> None:
    """M-STFT is auraloss with its defaults, spelled out, and the recording as the target."""
    theirs = auraloss.freq.MultiResolutionSTFTLoss(
        fft_sizes=[1024, 2048, 512], hop_sizes=[120, 240, 50], win_lengths=[600, 1200, 240]
    )
    noisy = speech + noise(speech, 0.01)
    assert scores[1]["mstft"] == pytest.approx(float(theirs(noisy[None, None], speech[None, None])), abs=1e-5)


def test_periodicity_is_torchcrepe(speech: Tensor, scores: list[dict[str, float]]) -> None:
    """Periodicity and V/UV come from torchcrepe's own `predict`, with the settings of CARGAN and Vocos."""
    heard = []
    for sound in (speech, speech + noise(speech, 0.01)):
        at_16k = audio.resample(sound, RATE, 16000)[None]
        _, periodicity = torchcrepe.predict(
            at_16k,
            16000,
            160,
            fmin=50.0,
            fmax=550.0,
            model="full",
            return_periodicity=True,
            batch_size=512,
            pad=False,
        )
        heard.append(torchcrepe.threshold.Silence(-60)(periodicity, at_16k, 16000, 160, pad=False)[0])
    a, b = heard
    assert scores[1]["periodicity"] == pytest.approx(float((a - b).square().mean().sqrt()), abs=1e-4)
    voiced_a, voiced_b = a >= 0.21, b >= 0.21
    hits = int((voiced_a & voiced_b).sum())
    precision, recall = hits / int(voiced_b.sum()), hits / int(voiced_a.sum())
    assert scores[1]["vuv_f1"] == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-6)


def test_mcd_is_its_formula(speech: Tensor) -> None:
    """MCD equals the formula with scipy's orthonormal DCT of the log-mel, scaled to cepstra."""
    from scipy.fft import dct

    pair = [LogMel(MelSpec())(x[None])[0].double().numpy() for x in (speech, speech + noise(speech, 0.01))]
    cepstra = [dct(mel, axis=0, norm="ortho")[1:25] * math.sqrt(2 / 80) for mel in pair]
    expected = np.mean(10 / np.log(10) * np.sqrt(2 * np.square(cepstra[0] - cepstra[1]).sum(axis=0)))
    assert METRICS["mcd"](speech, speech + noise(speech, 0.01), RATE) == pytest.approx(expected, rel=1e-4)


def test_mcd_does_not_hear_level() -> None:
    """A signal at half of the level has the same cepstra but for c₀, where no band is at the floor."""
    sound = noise(torch.zeros(RATE), 0.1)
    assert METRICS["mcd"](sound, 0.5 * sound, RATE) == pytest.approx(0.0, abs=1e-4)


def test_a_shift_in_pitch_is_measured_in_cents() -> None:
    """A buzz that is sped up by a semitone is 100 cents away, to a step of 20, and as voiced as before."""
    seconds = torch.arange(int(0.3 * RATE)) / RATE
    breath = noise(
        seconds, 0.003
    )  # loudness is a mean of decibels over frequency: a pure buzz counts as silence
    low, high = (
        breath + sum(0.2 * torch.sin(2 * math.pi * f * k * seconds) / k for k in range(1, 9))
        for f in (220.0, 233.08)
    )
    got = Reference(low, RATE).measure(high, ["pitch", "vuv_f1"])
    assert got["pitch"] == pytest.approx(100, abs=20)
    assert got["vuv_f1"] == 1.0


@pytest.mark.parametrize(
    ("samples", "mute"),
    [
        (10, set(METRICS)),
        (600, set(METRICS) - {"mcd"}),
        (1100, {"pesq", "stoi", "periodicity", "vuv_f1", "pitch"}),
        (5000, {"pesq", "stoi"}),
        (7000, {"stoi"}),
    ],
)
def test_too_short_is_nan(samples: int, mute: set[str], speech: Tensor) -> None:
    """Each metric says NaN for a clip that is too short for it, and a number as soon as it is not."""
    clip = speech[:samples]
    assert {name for name, score in measure(clip, clip, RATE).items() if math.isnan(score)} == mute


def test_silence_is_nan_or_bad(speech: Tensor) -> None:
    """Where the recording is silent, perception is NaN; where the copy is, intelligibility is none."""
    silence = torch.zeros(len(speech))
    against_silence = Reference(silence, RATE).measure(speech, QUICK)
    assert all(math.isnan(against_silence[name]) for name in ("pesq", "stoi"))
    assert against_silence["mcd"] > 5
    silenced = Reference(speech, RATE).measure(silence, QUICK)
    assert math.isnan(silenced["pesq"])
    assert silenced["stoi"] == pytest.approx(0, abs=1e-6)


def test_silence_is_unvoiced(speech: Tensor) -> None:
    """Silence is nowhere voiced: no hit against a recording, and against silence there is nothing to hit."""
    voicing, part, silence = ["periodicity", "vuv_f1", "pitch"], speech[-4000:], torch.zeros(4000)
    silenced = Reference(part, RATE).measure(silence, voicing)
    assert silenced["vuv_f1"] == 0
    assert math.isnan(silenced["pitch"])
    both = Reference(silence, RATE).measure(silence, voicing)
    assert math.isnan(both["vuv_f1"])
    assert both["periodicity"] == 0


def test_pesq_of_a_long_clip() -> None:
    """Sixty utterances, more than the code of ITU-T has room for, are scored in pieces."""
    second = torch.arange(30 * RATE) / RATE
    bursts = noise(second, 0.1) * ((second % 0.5) < 0.25)
    assert METRICS["pesq"](bursts, bursts, RATE) == pytest.approx(4.644, abs=1e-3)


@pytest.mark.parametrize(
    ("reference", "synthesised", "rule"),
    [
        (torch.zeros(1, 5000), torch.zeros(1, 5000), r"\[1, 5000\], expected"),
        (torch.zeros(5000), torch.zeros(5001), "5000 samples, synthesised 5001"),
        (torch.zeros(5000), torch.full((5000,), math.nan), "not finite"),
        (torch.zeros(5000, dtype=torch.int16), torch.zeros(5000), "int16"),
    ],
)
def test_what_cannot_be_compared(reference: Tensor, synthesised: Tensor, rule: str) -> None:
    """Shapes, lengths, dtypes and values that make no pair are refused, not scored."""
    with pytest.raises(InvalidAudio, match=rule):
        measure(reference, synthesised, RATE)


def test_a_missing_library_is_named(speech: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the error names the library and how to get it."""
    monkeypatch.setitem(sys.modules, "pystoi", None)
    with pytest.raises(ImportError, match=r"pystoi is needed .*flow-vocoder\[eval\]"):
        METRICS["stoi"](speech, speech, RATE)
