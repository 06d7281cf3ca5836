"""Make waveglow-tiny, the voice that tests use; writes it beside this script.

    python checkpoints/make_tiny.py

Its weights are drawn, not trained. What it says is whispered: the whitening front gives the noise the mel's
spectrum, and couplings that are small but no identity stir it. No library's initialisation or decomposition
takes part, so that the file comes out the same everywhere.
"""

import math
from pathlib import Path

import torch
from torch import Tensor

from vocoder import checkpoint
from vocoder.features import MelSpec
from vocoder.models.waveglow import WaveGlow, WaveGlowConfig
from vocoder.noise import noise

CONFIG = WaveGlowConfig(
    group=64,
    flows=3,
    early_every=2,
    early_size=16,
    channels=16,
    dilations=(1, 2),
    conditioning="encoder",
    cond_channels=16,
    cond_layers=1,
    front="lapped",
    bound=2.0,
)
LAST_GAIN = 0.1  # of the layers whose output shifts and scales samples


def build() -> WaveGlow:
    """The model, its weights a function of this script alone."""
    model = WaveGlow(CONFIG, MelSpec())
    with torch.no_grad():
        for seed, (name, weight) in enumerate(model.named_parameters()):
            drawn = noise(seed, 0, weight.numel()).double().reshape(weight.shape)
            weight.copy_(_scaled(name, drawn))
    return model.eval()


def _scaled(name: str, drawn: Tensor) -> Tensor:
    gain = LAST_GAIN if ".end." in name or ".correction." in name else 1.0
    if drawn.ndim == 2:
        return _reflection(drawn[0])
    return drawn * gain * (0.1 if drawn.ndim == 1 else 1 / math.sqrt(drawn[0].numel()))


def _reflection(normal: Tensor) -> Tensor:
    """The orthogonal matrix I - 2 n nᵀ / |n|², which mixes all channels."""
    identity = torch.eye(len(normal), dtype=normal.dtype)
    return identity - 2 * torch.outer(normal, normal) / normal.square().sum()


def main() -> None:
    """Write the checkpoint; `enlist.py waveglow-tiny` then enters it into the manifest."""
    path = Path(__file__).with_name("waveglow-tiny.safetensors")
    checkpoint.save(path, build(), name="waveglow-tiny", temperature=1.0, dtype=torch.float16)


if __name__ == "__main__":
    main()
