"""What a published checkpoint says does not change: a committed voice, mel, seed and waveform."""

from pathlib import Path

import numpy as np
import pytest
import torch

import vocoder
from tests.golden.make_tiny_hello import FRAMES

ROOT = Path(__file__).parents[2]
SCORE = 5.05910  # nats per sample


def test_tiny_says_what_it_always_said() -> None:
    """waveglow-tiny makes the committed waveform of the committed mel, and scores it as it always did."""
    mel = np.load(ROOT / "samples" / "hello.npy")[:, FRAMES]
    voice, golden = vocoder.load("waveglow-tiny", device="cpu"), np.load(ROOT / "tests/golden/tiny_hello.npy")
    np.testing.assert_allclose(voice(mel, seed=7).numpy(), golden, rtol=0, atol=1e-5)
    assert voice.score(torch.from_numpy(golden), mel) == pytest.approx(SCORE, abs=1e-4)
