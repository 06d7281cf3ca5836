"""Voices that are not of the usual 22 050 Hz: their specs, their shapes, and a run that trains one."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vocoder import audio
from vocoder.features import MelSpec
from vocoder.models.waveglow import WaveGlowConfig
from vocoder.training.data import Cut
from vocoder.training.objective import Weights
from vocoder.training.recipes import Optimiser, Recipe, small
from vocoder.training.run import train

NARROW = MelSpec(sample_rate=16000, n_fft=1024, win_length=800, hop_length=200, n_mels=80, f_max=8000.0)
WIDE = MelSpec(sample_rate=24000, n_fft=1024, win_length=1024, hop_length=256, n_mels=100, f_max=12000.0)
LOW = MelSpec(sample_rate=8000, n_fft=256, win_length=200, hop_length=80, n_mels=20, f_max=4000.0)

THIN = {"flows": 2, "channels": 16, "cond_channels": 16, "cond_layers": 1}


@dataclass(frozen=True)
class Other:
    """A spec, and a shape that divides its hop."""

    spec: MelSpec
    config: WaveGlowConfig


OTHERS = {
    "16k filter": Other(NARROW, small(group=200, **THIN)),
    "16k lapped": Other(NARROW, small(group=40, front="lapped", **THIN)),
    "24k filter": Other(WIDE, small(**THIN)),
    "8k published": Other(LOW, WaveGlowConfig(flows=3, early_every=2, channels=8, dilations=(1, 2))),
}


def train_one(other: Other, name: str, folder: Path, steps: int = 4) -> Path:
    """Train a voice of this kind for a few steps on clips of noise, with the real loop; the checkpoint."""
    recipe = Recipe(
        name=name.replace(" ", "-"),
        config=other.config,
        spec=other.spec,
        cut=Cut(batch=2, frames=12),
        weights=Weights(spectral=1.0),
        optimiser=Optimiser(rate=3e-3, warmup=2),
        steps=steps,
        validate_every=steps,
        save_every=steps,
        validation_clips=1,
    )
    train(recipe, [_clips(folder / "clips")], folder / "out", device="cpu", processes=1)
    return folder / "out" / "voice.safetensors"


def _clips(place: Path) -> Path:
    """Three clips of coloured noise at 22 050 Hz, which is nobody's rate here, one of them for validation."""
    place.mkdir()
    rng = np.random.default_rng(0)
    for index in range(3):
        white = rng.standard_normal(15001)
        swell = 0.1 + np.sin(np.linspace(0, 7, 15000)) ** 2
        sound = torch.from_numpy(0.05 * swell * (white[1:] + 0.9 * white[:-1])).float()
        audio.save(place / f"{index}.wav", sound, 22050)
    rows = [f"{index}.wav\t{'val' if index == 2 else 'train'}\t-" for index in range(3)]
    (place / "metadata.tsv").write_text("\n".join(["file\tsplit\tflags", *rows]))
    return place
