"""Tones at multiples of Fs / G: a tone of known level is told, noise and speech are told from it."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from vocoder import audio
from vocoder.clips import find_clips
from vocoder.errors import InvalidAudio, InvalidInput
from vocoder.evaluate import evaluate
from vocoder.features import MelSpec
from vocoder.tones import tone_excess, tone_level, tone_levels

RATE = 22050
GROUPS = (8, 64, 256)


def sine(hertz: float, samples: int, phase: float = 0.7) -> Tensor:
    """A sine of amplitude 1."""
    return torch.sin(2 * math.pi * hertz / RATE * torch.arange(samples, dtype=torch.float64) + phase)


def white(samples: int, seed: int = 0) -> Tensor:
    """White noise of deviation 1."""
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def spoken(samples: int, seed: int = 0) -> Tensor:
    """A voice of sorts: forty harmonics of a gliding pitch, louder and softer by the syllable, in noise."""
    t = torch.arange(samples, dtype=torch.float64) / RATE
    pitch = 190 + 30 * torch.sin(2 * math.pi * 0.7 * t + seed) + 8 * torch.sin(2 * math.pi * 3.1 * t)
    phase = 2 * math.pi * pitch.cumsum(0) / RATE
    buzz = torch.stack([torch.sin(k * phase) / k for k in range(1, 41)]).sum(0)
    return 0.1 * torch.sin(2 * math.pi * 2 * t).clamp(min=0) * buzz + 0.003 * white(samples, seed)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("amplitude", [0.1, 1.0])
def test_a_tone_has_its_level(group: int, amplitude: float) -> None:
    """A sine in white noise stands out by 1 + A² n / 6 σ² at its own line, and nowhere else."""
    samples, k = 4 * RATE, group // 2 - 1
    tone = amplitude * sine(k * RATE / group, samples)
    levels = torch.stack([tone_levels(white(samples, seed) + tone, RATE, group) for seed in range(8)])
    assert levels.shape == (8, group // 2)
    expected = 10 * math.log10(1 + amplitude**2 * (samples // group * group) / 6)
    assert float(levels[:, k - 1].mean()) == pytest.approx(expected, abs=0.8)
    assert float(torch.cat([levels[:, : k - 1], levels[:, k:]], 1).mean()) < 0


@pytest.mark.parametrize("group", GROUPS)
def test_white_noise_has_no_tones(group: int) -> None:
    """Over many clips of noise the mean ratio is 1: 0 dB, within what chance leaves."""
    clips = [tone_level(white(2 * RATE, seed), RATE, group) for seed in range(40)]
    mean = 10 * math.log10(sum(10 ** (level / 10) for level in clips) / len(clips))
    assert abs(mean) < 4 / math.sqrt(group // 2)


def test_a_voice_has_no_tones() -> None:
    """Gliding harmonics, 86 Hz or not between them, pass for no line."""
    for seed in range(4):
        assert abs(tone_level(spoken(3 * RATE, seed), RATE, 256)) < 1.5


def test_recorded_speech_has_no_tones(speech_dir: Path) -> None:
    """So does a woman's voice of 180 Hz, in eight recordings."""
    clips = [audio.load(path, RATE) for path in find_clips(speech_dir / "kathleen", "test")[:8]]
    assert all(abs(tone_level(clip, RATE, 256)) < 1.5 for clip in clips)


@pytest.mark.parametrize("group", GROUPS)
def test_what_repeats_itself_every_group_is_found_below_speech(group: int) -> None:
    """A buzz of period G, 26 dB below a voice in power, is an excess over that voice; the voice has none."""
    truth = spoken(3 * RATE)
    buzz = white(group).repeat(len(truth) // group + 1)[: len(truth)]
    heard = truth + 0.05 * float(truth.std() / buzz.std()) * buzz
    assert tone_excess(heard, truth, RATE, group) > 10
    assert tone_excess(truth, truth, RATE, group) == 0


def test_a_tone_beside_the_lines_is_none() -> None:
    """A sine half way between two lines, or 25 Hz from one, adds nothing."""
    noise = white(3 * RATE)
    for hertz in (40.5 * RATE / 256, 40 * RATE / 256 + 25):
        off = noise + sine(hertz, len(noise))
        assert tone_level(off, RATE, 256) == pytest.approx(tone_level(noise, RATE, 256), abs=0.1)


def test_level_does_not_matter_and_length_does() -> None:
    """Louder is the same; twice as long, a steady tone stands 3 dB higher."""
    heard = white(8 * RATE) + 0.3 * sine(RATE / 8, 8 * RATE)
    assert tone_level(100 * heard, RATE, 8) == pytest.approx(tone_level(heard, RATE, 8), abs=1e-9)
    longer = tone_levels(heard, RATE, 8)[0] - tone_levels(heard[: 4 * RATE], RATE, 8)[0]
    assert float(longer) == pytest.approx(3, abs=1)


def test_too_short_and_silent_have_no_level() -> None:
    """Where there is nothing to compare a line with, the level is NaN: under 0.4 s, and in silence."""
    assert math.isnan(tone_level(white(8000), RATE, 256))
    assert math.isfinite(tone_level(white(9000), RATE, 256))
    assert math.isnan(tone_level(torch.zeros(RATE), RATE, 256))
    assert math.isnan(tone_level(white(0), RATE, 8))


def test_the_evaluation_has_a_column_of_them(tmp_path: Path) -> None:
    """Each system's excess over the recording, where the group is told; no column where it is not."""
    truth = spoken(2 * RATE)
    audio.save(tmp_path / "clip.wav", truth, RATE, "wav_f32")
    buzz = 0.05 * white(256).repeat(1000)

    def humming(mel: Tensor, _: int) -> Tensor:
        whole = torch.zeros(256 * mel.shape[1])
        whole[: len(truth)] = truth
        return whole + buzz[: len(whole)]

    report = evaluate(humming, MelSpec(), [tmp_path / "clip.wav"], metrics=[], baseline=False, group=256)
    expected = tone_excess(truth + buzz[: len(truth)], truth, RATE, 256)
    assert report.clips[0].scores["vocoder"]["tones"] == pytest.approx(expected, abs=0.1)
    assert report.to_markdown().startswith("| System | Clips | Tones (dB) ↓ |\n")
    without = evaluate(humming, MelSpec(), [tmp_path / "clip.wav"], metrics=[], baseline=False)
    assert without.clips[0].scores == {"vocoder": {}}


BAD: dict[str, tuple[Any, Any, Any, type[Exception], str]] = {
    "rank 2": (torch.zeros(1, RATE), RATE, 8, InvalidAudio, r"\[1, 22050\]"),
    "integers": (torch.zeros(RATE, dtype=torch.int16), RATE, 8, InvalidAudio, "int16"),
    "NaN": (torch.full((RATE,), math.nan), RATE, 8, InvalidAudio, "not finite"),
    "a rate of 0": (torch.zeros(RATE), 0, 8, InvalidInput, r"sample_rate \(=0\)"),
    "a group of 1": (torch.zeros(RATE), RATE, 1, InvalidInput, r"group \(=1\)"),
    "half a group": (torch.zeros(RATE), RATE, 2.5, InvalidInput, r"group \(=2.5\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_refuses_what_it_cannot_measure(case: str) -> None:
    """Other shapes, rates and groups are refused by name."""
    clip, rate, group, error, words = BAD[case]
    with pytest.raises(error, match=words):
        tone_levels(clip, rate, group)
