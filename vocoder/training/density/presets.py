"""Which model and which numbers of the optimiser a data set gets, by name or by what fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from vocoder.errors import InvalidConfig
from vocoder.models.catalogue import PRESETS, preset
from vocoder.models.density_config import DensityConfig
from vocoder.models.glow import GlowConfig
from vocoder.training.density.data import Dataset
from vocoder.training.density.recipe import Recipe

__all__ = ["RECIPES", "configure"]

FALLBACK = "digits"  # the smallest preset, which every model has

RECIPES: Mapping[tuple[str, str], Recipe] = {
    ("nice", "digits"): Recipe("nice-digits", weight_decay=1.0, ema=0.99),
    ("realnvp", "digits"): Recipe("realnvp-digits", rate=2e-3, weight_decay=1.0, ema=0.99),
    ("glow", "digits"): Recipe("glow-digits", rate=2e-3, weight_decay=1.0, ema=0.99),
    ("realnvp", "cifar10"): Recipe("realnvp-cifar10", batch=64, weight_decay=5e-5, clip=100.0, flip=True),
    ("glow", "cifar10"): Recipe("glow-cifar10", batch=64, warmup=1000, ema=0.999),
}
"""By model and preset. The numbers of the digits' were chosen by validation on them; those of CIFAR-10 follow
the authors' code where it is plain AdamW's, and nothing was trained with them here."""


def configure(
    model: str, data: Dataset, name: str | None = None, *, conditional: bool = False
) -> tuple[DensityConfig, Recipe]:
    """A configuration of ``model`` for the shape and the levels of ``data``, and the recipe to train it.

    Args:
        name: of a preset; by default the one called as the data set is, else that of the digits.
        conditional: whether the density is one for each class of the data; only Glow's can be.

    Raises `InvalidConfig` for a model or preset that there is not, or that cannot have such data.
    """
    chosen = name or (data.name if data.name in PRESETS.get(model, {}) else FALLBACK)
    config = replace(preset(model, chosen), shape=data.shape, levels=data.levels)
    if conditional:
        config = _with_classes(config, data)
    recipe = RECIPES.get((model, chosen), Recipe(f"{model}-{chosen}"))
    return config, replace(recipe, name=f"{model}-{data.name}")


def _with_classes(config: DensityConfig, data: Dataset) -> DensityConfig:
    if not isinstance(config, GlowConfig):
        raise InvalidConfig(f"only a Glow is class-conditional, the model has a {type(config).__name__}")
    if not data.classes:
        raise InvalidConfig(f"a class-conditional model needs labels, and {data.name} has none")
    return replace(config, classes=data.classes)
