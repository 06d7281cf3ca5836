"""The density models by name, and their configurations by the name of what they are for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vocoder.errors import InvalidConfig
from vocoder.models.density import DensityModel
from vocoder.models.density_config import DensityConfig
from vocoder.models.glow import Glow, GlowConfig
from vocoder.models.nice import NICE, NICEConfig
from vocoder.models.realnvp import RealNVP, RealNVPConfig

__all__ = ["DENSITIES", "PRESETS", "build", "preset"]

DENSITIES: Mapping[str, tuple[type[DensityConfig], Callable[..., DensityModel]]] = {
    "nice": (NICEConfig, NICE),
    "realnvp": (RealNVPConfig, RealNVP),
    "glow": (GlowConfig, Glow),
}

PRESETS: Mapping[str, Mapping[str, Callable[[], DensityConfig]]] = {
    "nice": {
        "mnist": lambda: NICEConfig((1, 28, 28)),
        "mnist-published": NICEConfig.mnist,
        "digits": NICEConfig.digits,
    },
    "realnvp": {
        "cifar10": lambda: RealNVPConfig((3, 32, 32)),
        "cifar10-published": RealNVPConfig.cifar10,
        "digits": RealNVPConfig.digits,
        "moons": RealNVPConfig.moons,
    },
    "glow": {
        "cifar10": lambda: GlowConfig((3, 32, 32)),
        "cifar10-published": GlowConfig.cifar10,
        "digits": GlowConfig.digits,
    },
}
"""A ``published`` one has the shape of the one before it and leaves log-scales free, as its authors do; all
others have bounds, so that a training cannot carry them to where samples overflow."""


def preset(model: str, name: str) -> DensityConfig:
    """The configuration of ``model`` that goes by ``name``; `InvalidConfig` where there is none.

    Example:
        >>> preset("realnvp", "moons").shape
        (2,)
    """
    if model not in PRESETS:
        raise InvalidConfig(f"model (={model!r}) must be one of {list(PRESETS)}")
    if name not in PRESETS[model]:
        raise InvalidConfig(f"preset (={name!r}) of {model} must be one of {list(PRESETS[model])}")
    return PRESETS[model][name]()


def build(config: DensityConfig) -> DensityModel:
    """The model that a configuration is of.

    Example:
        >>> build(preset("nice", "digits")).levels
        17
    """
    for kind, model in DENSITIES.values():
        if type(config) is kind:
            return model(config)
    raise InvalidConfig(f"config is a {type(config).__name__}, expected one of {list(DENSITIES)}")
