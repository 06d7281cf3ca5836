"""The voice that ships: it keeps to its size, its speed and what its manifest says of it."""

from pathlib import Path

import numpy as np
import pytest
import torch

import vocoder
from vocoder.clips import find_clips
from vocoder.evaluate import evaluate, mel_error
from vocoder.macs import giga_macs
from vocoder.synthesis import Vocoder
from vocoder.voices import VoiceInfo, list_voices

SAMPLE = Path(__file__).parents[2] / "samples" / "hello.npy"


@pytest.fixture(scope="module")
def info() -> VoiceInfo:
    """What the manifest says of the default voice."""
    (default,) = (voice for voice in list_voices() if voice.default)
    return default


@pytest.fixture(scope="module")
def voice() -> Vocoder:
    """The default voice."""
    return vocoder.load(device="cpu")


def test_it_is_small(voice: Vocoder, info: VoiceInfo) -> None:
    """At most 8 M parameters, 16 MB and 1.0 GMAC per second of audio, and no more than 0.6 s of context."""
    assert sum(parameter.numel() for parameter in voice.model.parameters()) <= 8_000_000
    assert info.bytes <= 16_000_000
    assert giga_macs(voice.model) <= 1.0
    assert voice.spec.samples(voice.model.halo) / voice.spec.sample_rate <= 0.6


def test_it_renders_a_mel_as_well_as_it_claims(voice: Vocoder, info: VoiceInfo) -> None:
    """The committed mel comes back from the audio no farther off than the manifest says."""
    mel = torch.from_numpy(np.load(SAMPLE))
    error = mel_error(lambda each, seed: voice(each, seed=seed), voice.spec, mel)
    assert error <= 1.02 * info.scores["hello_mel_error"]


def test_noise_of_another_seed_is_another_rendering_as_good(voice: Vocoder, info: VoiceInfo) -> None:
    """What was measured with one seed holds for others: the score is no accident of a lucky draw."""
    mel = torch.from_numpy(np.load(SAMPLE))
    for seed in (1, 2**62):
        error = mel_error(lambda each, drawn: voice(each, seed=drawn), voice.spec, mel, seed)
        assert error <= 1.1 * info.scores["hello_mel_error"]


def test_it_is_as_good_as_it_claims_on_speech(speech_dir: Path, voice: Vocoder, info: VoiceInfo) -> None:
    """On the test split, STOI and PESQ are those of the manifest."""
    report = evaluate(
        lambda mel, seed: voice(mel, seed=seed),
        voice.spec,
        find_clips(speech_dir / "kathleen", "test"),
        metrics=["stoi", "pesq"],
        baseline=False,
        progress=False,
    )
    measured = report.summary()["vocoder"]
    assert measured["stoi"].mean >= max(0.90, info.scores["stoi"] - 0.003)
    assert measured["pesq"].mean >= info.scores["pesq"] - 0.03
