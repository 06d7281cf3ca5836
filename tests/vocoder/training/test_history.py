"""Vocoders in the manner of NICE, RealNVP and Glow: configurations that train, load, speak and are served."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from server.app import create_app
from server.settings import Settings
from tests.server.conftest import until
from tests.server.parcels import NPY, npy
from vocoder import Vocoder, audio
from vocoder.training.data import Cut
from vocoder.training.recipes import RECIPES, small
from vocoder.training.run import train

NARROW = {"flows": 2, "channels": 8, "cond_channels": 8, "cond_layers": 1}
STYLES = [
    (coupling, mix) for coupling in ("additive", "affine") for mix in ("swap", "reverse", "shuffle", "conv")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of a second of noise, one to train on and one to validate by."""
    place, source = tmp_path_factory.mktemp("speech"), torch.Generator().manual_seed(0)
    for name in ("train", "val"):
        audio.save(place / f"{name}.wav", 0.05 * torch.randn(22050, generator=source), 22050)
    (place / "metadata.tsv").write_text("file\tsplit\tflags\ntrain.wav\ttrain\t-\nval.wav\tval\t-\n")
    return place


@pytest.mark.parametrize(("coupling", "mix"), STYLES, ids=str)
def test_every_style_trains_loads_speaks_and_scores(
    coupling: str, mix: str, folder: Path, tmp_path: Path
) -> None:
    """Three steps move its weights; its checkpoint loads by path, and gives audio, and audio's likelihood."""
    shape = small(**NARROW, coupling=coupling, mix=mix, bound=None if coupling == "additive" else 0.7)
    recipe = replace(RECIPES["waveglow-small"], config=shape, cut=Cut(batch=2, frames=12), steps=3)
    train(recipe, [folder], tmp_path, device="cpu")
    voice = Vocoder.load(tmp_path / "voice.safetensors", device="cpu")
    assert voice.model.config == shape
    mel = torch.from_numpy(np.random.default_rng(0).normal(-5, 1, (80, 9)))
    sound = voice(mel)
    assert sound.shape == (9 * 256,)
    assert np.isfinite(voice.score(sound, mel))
    with TestClient(create_app(Settings(voice=str(tmp_path / "voice.safetensors")))) as client:
        until(lambda: client.get("/health/ready").status_code == 200)
        answer = client.post("/v1/vocode", content=npy(mel.float().numpy()), headers=NPY)
    assert answer.status_code == 200
    assert len(audio.decode(answer.content, 22050)) == 9 * 256


@pytest.mark.parametrize(
    ("name", "coupling", "mix"), [("nice-small", "additive", "swap"), ("realnvp-small", "affine", "swap")]
)
def test_the_recipes_of_history(name: str, coupling: str, mix: str) -> None:
    """They differ from the default voice in what their paper had not got yet, and in nothing else."""
    ours, theirs = RECIPES["waveglow-small"], RECIPES[name]
    assert (theirs.config.coupling, theirs.config.mix) == (coupling, mix)
    assert replace(theirs, name=ours.name, config=ours.config) == ours
