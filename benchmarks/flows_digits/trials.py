"""What is trained: our presets, other libraries' flows, a mixture, and one Glow with five ways to mix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import nn

from benchmarks.flows_digits import mixture
from benchmarks.flows_digits.peers import PEERS, Contender
from vocoder.models.catalogue import build, preset
from vocoder.models.glow import GlowConfig
from vocoder.training.density.data import Dataset
from vocoder.training.density.presets import RECIPES
from vocoder.training.density.recipe import Recipe

THEIRS = Recipe("peer", warmup=1)
"""The protocol's own: Adam 1e-3 along a cosine, gradients clipped at 50, no decay, no average."""


@dataclass(frozen=True)
class Trial:
    """A model and how it is trained.

    Attributes:
        kind: NICE, RealNVP or Glow, for the table.
        seconds: instead of the usual ones, if given.
    """

    name: str
    kind: str
    build: Callable[[], nn.Module]
    recipe: Recipe
    seconds: float | None = None


@dataclass(frozen=True)
class Fit:
    """What is fitted in one go, as long as that takes."""

    name: str
    kind: str
    fit: Callable[[Dataset, int], Contender]


def _ours(model: str, kind: str) -> Trial:
    config = preset(model, "digits")
    return Trial(f"ours {kind}", kind, lambda: build(config), RECIPES[model, "digits"])


def _mixed(mix: str) -> Trial:
    config = preset("glow", "digits")
    assert isinstance(config, GlowConfig)
    chosen = replace(config, mix=mix)  # type: ignore[arg-type]  # one of those below
    return Trial(mix, "Glow", lambda: build(chosen), RECIPES["glow", "digits"])


OURS = [_ours(model, kind) for model, kind in (("nice", "NICE"), ("realnvp", "RealNVP"), ("glow", "Glow"))]
LONG = replace(OURS[-1], name="ours Glow, 5 minutes", seconds=300.0)
SAME = [  # the best of the others, trained as ours is: what of the difference is the optimiser's
    Trial(f"{peer.name}, trained as ours", peer.kind, peer.build, RECIPES["glow", "digits"])
    for peer in (PEERS["normflows Glow"],)
]
MIXTURE = Fit("scikit-learn, 10 Gaussians", "mixture", mixture.fit)
THEIR_TRIALS = [Trial(peer.name, peer.kind, peer.build, THEIRS) for peer in PEERS.values()]

SETS: Mapping[str, Mapping[str, Trial | Fit]] = {
    "peers": {**{trial.name: trial for trial in [*OURS, LONG, *THEIR_TRIALS, *SAME]}, MIXTURE.name: MIXTURE},
    "mixing": {mix: _mixed(mix) for mix in ("swap", "reverse", "shuffle", "dense", "plu")},
}
