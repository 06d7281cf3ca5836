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
OF_VECTORS = "moons"  # the smallest for vectors, of a model that has different shapes for them

_REALNVP = Recipe("realnvp-cifar10", batch=64, weight_decay=5e-5, clip=100.0, flip=True)
_GLOW = Recipe("glow-cifar10", batch=64, warmup=1000, ema=0.999)
RECIPES: Mapping[tuple[str, str], Recipe] = {
    ("nice", "digits"): Recipe("nice-digits", weight_decay=1.0, ema=0.99),
    ("realnvp", "digits"): Recipe("realnvp-digits", rate=2e-3, weight_decay=1.0, ema=0.99),
    ("glow", "digits"): Recipe("glow-digits", rate=2e-3, weight_decay=1.0, ema=0.99),
    **{("realnvp", name): _REALNVP for name in ("cifar10", "cifar10-published")},
    **{("glow", name): _GLOW for name in ("cifar10", "cifar10-published")},
}
"""By model and preset. The numbers of the digits' were chosen by validation on them; those of CIFAR-10 follow
the authors' code where it is plain AdamW's, and nothing was trained with them here."""


def configure(
    model: str, data: Dataset, name: str | None = None, *, conditional: bool = False
) -> tuple[DensityConfig, Recipe]:
    """A configuration of ``model`` for the shape and the levels of ``data``, and the recipe to train it.

    Args:
        name: of a preset; by default the one called as the data set is, if it is of images as the data are or
            of vectors as they are, else that of the digits or, for vectors, of the moons, with a logit.
        conditional: whether the density is one for each class of the data; only Glow's can be.

    Raises `InvalidConfig` for a model or preset that there is not, or that cannot have such data.
    """
    chosen = name or _fitting(model, data)
    config = replace(preset(model, chosen), shape=data.shape, levels=data.levels)
    if chosen == OF_VECTORS and OF_VECTORS not in (name, data.name):
        config = replace(config, preprocess="logit")  # the moons are continuous; what else is here has ends
    if conditional:
        config = _with_classes(config, data)
    recipe = RECIPES.get((model, chosen), Recipe(f"{model}-{chosen}"))
    return config, replace(recipe, name=f"{model}-{data.name}")


def _fitting(model: str, data: Dataset) -> str:
    """The preset that is meant where none is named."""
    presets, vectors = PRESETS.get(model, {}), len(data.shape) == 1
    if data.name in presets and (len(preset(model, data.name).shape) == 1) == vectors:
        return data.name
    return OF_VECTORS if vectors and OF_VECTORS in presets else FALLBACK


def _with_classes(config: DensityConfig, data: Dataset) -> DensityConfig:
    if not isinstance(config, GlowConfig):
        raise InvalidConfig(f"only a Glow is class-conditional, the model has a {type(config).__name__}")
    if not data.classes:
        raise InvalidConfig(f"a class-conditional model needs labels, and {data.name} has none")
    return replace(config, classes=data.classes)
