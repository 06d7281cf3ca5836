"""The trials: what is varied, everything else equal."""

from __future__ import annotations

from dataclasses import replace

from vocoder.training.data import Cut
from vocoder.training.objective import Weights
from vocoder.training.recipes import Optimiser, Recipe, small

BASE = Recipe(
    name="search",
    config=small(),
    cut=Cut(batch=4, frames=32),
    weights=Weights(likelihood=0.3, spectral=2.0, temperature=0.7, likelihood_every=4),
    optimiser=Optimiser(clip=1.0),
    temperature=0.7,
)
NARROW = {"group": 64, "flows": 12, "channels": 80, "dilations": (1, 2, 4, 8), "cond_channels": 80}

SHAPES: dict[str, Recipe] = {
    "base: filter, G 256": BASE,
    "likelihood only": replace(BASE, weights=Weights()),
    "likelihood of weight 1": replace(
        BASE, weights=Weights(spectral=2.0, temperature=0.7, likelihood_every=4)
    ),
    "lapped, G 256": replace(BASE, config=small(front="lapped")),
    "filter, G 64": replace(BASE, config=small(**NARROW)),
    "cholesky, G 64": replace(BASE, config=small(**NARROW, front="cholesky")),
    "no front, G 64": replace(BASE, config=small(**NARROW, front="none")),
    "early outputs": replace(BASE, config=small(early_every=3, early_size=32)),
}

MIXES = ("swap", "reverse", "shuffle", "conv")

HISTORY: dict[str, Recipe] = {
    f"{coupling}, {mix}": replace(BASE, config=small(coupling=coupling, mix=mix, bound=bound))
    for coupling, bound in (("additive", None), ("affine", 0.7))
    for mix in MIXES
}
"""NICE adds and swaps, RealNVP is affine and swaps, Glow and WaveGlow are affine with a 1×1 convolution."""

SETS = {"shapes": SHAPES, "history": HISTORY}
