"""Batches are what they claim to be: cut right, repeatable, and the same for any number of processes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from vocoder import audio as shore
from vocoder.clips import find_clips
from vocoder.errors import InvalidConfig
from vocoder.features import LogMel, MelSpec
from vocoder.training.data import Batches, Cut, Recordings, margin_frames, shortest_clip, trim_margin

SPEC = MelSpec()
CUT = Cut(batch=4, frames=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty short clips of noise under slow envelopes, one silent clip and one too short."""
    place, rng = tmp_path_factory.mktemp("speech"), np.random.default_rng(0)
    for index in range(60):
        samples = 0.1 * rng.standard_normal(9000 + 10 * index) * np.sin(np.linspace(0, 9, 9000 + 10 * index))
        shore.save(place / f"{index:02}.wav", torch.from_numpy(samples).float(), SPEC.sample_rate)
    shore.save(place / "silent.wav", torch.zeros(9000), SPEC.sample_rate)
    shore.save(place / "short.wav", 0.1 * torch.ones(500), SPEC.sample_rate)
    return place


@pytest.fixture(scope="module")
def recordings(folder: Path) -> Recordings:
    """Its training clips, decoded."""
    return Recordings(find_clips(folder, "train"), SPEC, shortest_clip(SPEC, CUT), quiet=True)


def test_silent_and_short_clips_are_dropped(recordings: Recordings) -> None:
    """What holds no speech or no whole segment is not trained on."""
    assert all(len(clip) >= shortest_clip(SPEC, CUT) for clip in recordings.clips)
    assert all(np.abs(clip).max() > 100 for clip in recordings.clips)


def test_mel_of_a_segment_is_cut_from_the_mel_of_the_whole_clip() -> None:
    """A margin around the cut makes its frames equal to the whole clip's: edge padding is never seen."""
    clip = torch.randn(1, 20 * SPEC.hop_length)
    margin = margin_frames(SPEC)
    wide = clip[:, 4 * SPEC.hop_length : 16 * SPEC.hop_length]
    audio, mel = trim_margin(wide, LogMel(SPEC)(wide), margin, SPEC.hop_length)
    expected_audio, expected_mel = SPEC.segment(clip[0], LogMel(SPEC)(clip)[0], 4 + margin, 12 - 2 * margin)
    torch.testing.assert_close(audio[0], expected_audio, rtol=0, atol=0)
    torch.testing.assert_close(mel[0], expected_mel, rtol=1e-5, atol=1e-5)


def test_a_batch_is_a_function_of_seed_and_step(recordings: Recordings) -> None:
    """The same step again is the same to the last bit; another step, or seed, is not."""
    batches = Batches(recordings, SPEC, CUT, seed=1)
    first, again, other = batches(5), Batches(recordings, SPEC, CUT, seed=1)(5), batches(6)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[0], Batches(recordings, SPEC, CUT, seed=2)(5)[0])


def test_processes_share_the_batch_of_one(recordings: Recordings) -> None:
    """Two processes see, together and in order, the very batch that one would have seen."""
    whole = Batches(recordings, SPEC, CUT, seed=1)(3)
    halves = [Batches(recordings, SPEC, CUT, 1, rank, 2)(3) for rank in range(2)]
    for part, axis in ((0, 0), (1, 0), (2, 1)):
        torch.testing.assert_close(torch.cat([half[part] for half in halves], axis), whole[part])
    with pytest.raises(InvalidConfig, match="multiple of the number of processes"):
        Batches(recordings, SPEC, CUT, seed=1, rank=0, world=3)


def test_gain_never_clips_and_speed_keeps_the_length(recordings: Recordings) -> None:
    """Gains stay below full scale; faster and slower segments are as long as any."""
    loud = Batches(recordings, SPEC, Cut(batch=8, frames=8, gain_db=(40, 40), speed=(0.75, 1.3)), seed=0)
    audio, mel, noise = loud(0)
    assert (
        audio.shape == (8, 8 * SPEC.hop_length)
        and mel.shape == (8, 80, 8)
        and noise.shape == (3, *audio.shape)
    )
    assert 0.5 < audio.abs().max() <= 1
