"""Every kind of density model once, small: who joins this list earns its tests."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tests.vocoder.laws import stirred
from vocoder.flows import ActNorm
from vocoder.models.catalogue import build
from vocoder.models.density import DensityModel
from vocoder.models.density_config import DensityConfig
from vocoder.models.glow import GlowConfig
from vocoder.models.nice import NICEConfig
from vocoder.models.realnvp import RealNVPConfig

IMAGE, TINY = (1, 4, 4), (1, 2, 4)


@dataclass(frozen=True)
class Density:
    """A model and what it is called."""

    name: str
    config: DensityConfig

    def model(self, scale: float = 0.1) -> DensityModel:
        """The model in float64, initialised by data, away from where it starts, in evaluation mode."""
        model = stirred(build(self.config).double(), scale)
        model.initialise(*self.batch(8))
        return settled(stirred(model, 0.02))

    def batch(self, n: int, seed: int = 1) -> tuple[Tensor, Tensor | None]:
        """So many items in float64 within [0, 1), and their classes if the model wants them."""
        generator = torch.Generator().manual_seed(seed)
        x = torch.rand(n, *self.config.shape, generator=generator, dtype=torch.float64)
        classes = getattr(self.config, "classes", 0)
        return x, torch.randint(classes, (n,), generator=generator) if classes else None

    def __str__(self) -> str:
        return self.name


def settled(model: DensityModel) -> DensityModel:
    """In evaluation mode, its running moments those of some training."""
    for name, buffer in model.named_buffers():
        if "mean" in name:
            buffer.copy_(0.1 * torch.randn_like(buffer))
        if "var" in name:
            buffer.copy_(1 + 0.5 * torch.rand_like(buffer))
    return model.eval()


def act_norms(model: nn.Module) -> Iterator[ActNorm]:
    """Those of the flow, and those of its networks."""
    return (part for part in model.modules() if isinstance(part, ActNorm))


def _nice(**choices: object) -> NICEConfig:
    base = {"shape": TINY, "levels": 17, "layers": 1, "width": 6}
    return NICEConfig(**{**base, **choices})  # type: ignore[arg-type]


def _realnvp(**choices: object) -> RealNVPConfig:
    base = {"shape": IMAGE, "levels": 17, "blocks": 1, "width": 4}
    return RealNVPConfig(**{**base, **choices})  # type: ignore[arg-type]


def _glow(**choices: object) -> GlowConfig:
    base = {"shape": IMAGE, "levels": 17, "scales": 2, "steps": 2, "width": 6}
    return GlowConfig(**{**base, **choices})  # type: ignore[arg-type]


DENSITIES = [
    Density("nice", _nice(bound=None)),
    Density("nice-half-reverse", _nice(partition="half", between="reverse", prior="gaussian")),
    Density("nice-shuffle", _nice(between="shuffle", preprocess="centre", bound=2.0, dropout=0.3)),
    Density("nice-odd-vector", _nice(shape=(5,), levels=None, partition="half")),
    Density("realnvp", _realnvp(bound=None)),
    Density("realnvp-running", _realnvp(couplings=1, norm="running", preprocess="centre")),
    Density("realnvp-plain", _realnvp(scales=1, norm="none", dropout=0.3)),
    Density("realnvp-vector", RealNVPConfig((3,), None, "none", scales=1, couplings=3, blocks=1, width=6)),
    Density("glow", _glow(mix="dense", bound=None)),
    Density("glow-additive", _glow(coupling="additive", preprocess="logit")),
    Density("glow-classes", _glow(classes=3, mix="dense", shape=(2, 4, 4))),
    Density("glow-shuffle", _glow(mix="shuffle", scales=1, dropout=0.3)),
]
