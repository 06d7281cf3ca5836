"""The shapes of WaveGlow that its tests go over, small enough to be quick."""

from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import Tensor

from tests.vocoder.laws import stirred
from vocoder.features import MelSpec
from vocoder.models.waveglow import WaveGlow, WaveGlowConfig
from vocoder.models.waveglow_config import Front

SPEC = MelSpec()
NARROW = WaveGlowConfig(channels=6, dilations=(1, 2, 4))  # the published shape, three layers of six channels
TINY_SPEC = MelSpec(
    sample_rate=8000, n_fft=64, win_length=48, hop_length=16, n_mels=5, f_min=0.0, f_max=4000.0
)
TINY = WaveGlowConfig(group=4, flows=3, early_every=2, early_size=1, channels=4, dilations=(1, 3))
CHEAP = replace(TINY, conditioning="encoder", cond_channels=3, cond_layers=1, bound=2.0)

NICE = replace(CHEAP, coupling="additive", bound=None, mix="swap")
REALNVP = replace(CHEAP, mix="reverse", front="lapped")
SHUFFLED = replace(TINY, mix="shuffle", halves="alternate", group=8, early_size=2)
SQUEEZEWAVE = replace(TINY, conditioning="repeat", net="separable", dilations=(1, 1))

every_shape = pytest.mark.parametrize(
    "config",
    [
        *[replace(base, front=front) for base in (TINY, CHEAP) for front in get_args(Front)],
        *[NICE, REALNVP, SHUFFLED, SQUEEZEWAVE],
    ],
    ids=lambda config: f"{config.conditioning}-{config.front}-{config.coupling}-{config.mix}-{config.net}",
)


def make_model(config: WaveGlowConfig, spec: MelSpec = TINY_SPEC, scale: float = 0.1) -> WaveGlow:
    """In double precision, with weights that are not at rest."""
    return stirred(WaveGlow(config, spec).double(), scale)


def make_mel(spec: MelSpec, frames: int, batch: int = 2) -> Tensor:
    """Something that can be a mel, in double precision."""
    return torch.randn(batch, spec.n_mels, frames, dtype=torch.float64) - 4


def make_audio(spec: MelSpec, frames: int, batch: int = 2) -> Tensor:
    """Something that can be audio, in double precision."""
    return 0.1 * torch.randn(batch, spec.samples(frames), dtype=torch.float64)
