"""What the latent of a density model can be used for: its spectrum, edits of single numbers, inpainting.

Letters: D numbers in one item; the shape of one item is the model's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from vocoder.errors import InvalidInput
from vocoder.models.density import DensityModel
from vocoder.models.nice import NICE

__all__ = ["Spectrum", "dimensions", "edit", "inpaint", "reconstructions", "spectrum"]


@dataclass(frozen=True)
class Spectrum:
    """How much each latent dimension of a NICE matters, and what is lost without those that matter least.

    Attributes:
        dimensions: of the latent flattened, from the most important to the least.
        sigma: ``σ_d = exp(−s_d)`` of each, in that order.
        kept: how many of the first dimensions are kept, from all to few.
        error: root mean square difference, in pixels 0 … 1, of x from what is decoded of those kept.
        log_prob: mean ``log p`` in nats of what is decoded.
        bits_per_dim: of the same density, in bits.

    A dimension that is dropped is set to 0, where its prior is densest, and what is decoded then lies on a
    surface of as many dimensions as are kept. The prior's part of ``log p`` rises with each; that of the
    log-determinant is the same everywhere for the couplings and the scaling, but not for a logit, whose slope
    is least in the middle of grey: where pixels leave black and white it falls, and the sum may do either. So
    ``log_prob`` is no measure of what is lost; ``error`` is.

    As σ → 0 for those dropped the model becomes a density on that surface: each gains ``−ln σ`` nats there,
    without bound, and off it the density is 0.
    """

    dimensions: list[int]
    sigma: list[float]
    kept: list[int]
    error: list[float]
    log_prob: list[float]
    bits_per_dim: list[float]

    def to_dict(self) -> dict[str, Any]:
        """The fields, for JSON."""
        return asdict(self)


@torch.no_grad()
def spectrum(model: DensityModel, x: Tensor, rows: int = 17) -> Spectrum:
    """The spectrum of a `NICE` on ``x [B, *shape]`` (Dinh et al. 2014, arXiv:1410.8516, section 3.3).

    Raises `InvalidInput` for another model: only a scaling that is the same everywhere has a spectrum.
    """
    if not isinstance(model, NICE):
        raise InvalidInput(
            f"only a NICE has a spectrum of importances, the model is a {type(model).__name__}"
        )
    sigma, order = model.importances()
    kept = sorted({round(len(sigma) * part / (rows - 1)) for part in range(rows)}, reverse=True)
    decoded = reconstructions(model, x, kept).unbind(1)
    nats = [float(model.log_prob(each).mean()) for each in decoded]
    return Spectrum(
        dimensions=order.tolist(),
        sigma=sigma.tolist(),
        kept=kept,
        error=[float((each - x).square().mean().sqrt()) for each in decoded],
        log_prob=nats,
        bits_per_dim=[_bits(each, model) for each in nats],
    )


@torch.no_grad()
def reconstructions(model: DensityModel, x: Tensor, kept: Sequence[int]) -> Tensor:
    """What is decoded of ``x [B, *shape]`` where only so many of the most important dimensions are kept.

    → ``[B, len(kept), *shape]``. Of a `NICE`; of another model the first dimensions are taken for those.
    """
    z, order = model.encode(x).flatten(1), dimensions(model, math.prod(model.shape))
    parts = [model.decode(_keeping(z, order[:count]).view_as(x)) for count in kept]
    return torch.stack(parts, 1)


def dimensions(model: DensityModel, count: int) -> list[int]:
    """The ``count`` most important latent dimensions of a `NICE`; of another model, the first ones."""
    if isinstance(model, NICE):
        chosen: list[int] = model.importances()[1][:count].tolist()
        return chosen
    return list(range(min(count, math.prod(model.shape))))


@torch.no_grad()
def edit(
    model: DensityModel, x: Tensor, dimension: int, values: Sequence[float], cond: Tensor | None = None
) -> Tensor:
    """``x [*shape]`` with one number of its latent, of index ``dimension``, set to each of ``values``.

    → ``[len(values), *shape]``. Raises `InvalidInput` where the latent has no such number.
    """
    size = math.prod(model.shape)
    if not 0 <= dimension < size:
        raise InvalidInput(f"dimension (= {dimension}) must be in 0 … {size - 1}")
    z = model.encode(x[None], cond).flatten(1).repeat(len(values), 1)
    z[:, dimension] = torch.tensor(values, dtype=z.dtype, device=z.device)
    return model.decode(z.view(-1, *model.shape), None if cond is None else cond.expand(len(values)))


def inpaint(
    model: DensityModel,
    x: Tensor,
    known: Tensor,
    *,
    steps: int = 500,
    seed: int = 0,
    noise: float = 1.0,
    cond: Tensor | None = None,
) -> Tensor:
    """Fill in what is not ``known`` by stochastic gradient ascent on ``log p``, each item for itself.

    From uniform noise, ``x_h ← clip(x_h + α (∂ log p(x) / ∂x_h + noise · ε))``, ``α = 10 / (100 + i)``, ε
    standard normal (Dinh et al. 2014, NICE, section 5.3). The gradient is divided by the largest number of it
    in the item where that is above 1, as log p of pixels near black and white is steep enough for a step to
    leave the picture. Of the iterates, each item's likeliest is the answer.

    Args:
        x: ``[B, *shape]`` in 0 … 1, of which only what is known is looked at.
        known: bool, broadcast over ``x``.
        noise: 0 for plain ascent.

    Raises `InvalidInput` for a ``known`` that cannot be broadcast.
    """
    known = _like(known, x)
    random = torch.Generator().manual_seed(seed)
    at = torch.where(known, x, torch.rand(x.shape, generator=random).to(x))
    best, most = at, x.new_full((len(x),), -math.inf)
    for i in range(steps + 1):
        gradient, nats = _gradient(model, at, cond)
        better = nats > most
        best = torch.where(_spread(better, x), at, best)
        most = torch.where(better, nats, most)
        drawn = noise * torch.randn(x.shape, generator=random).to(x)
        moved = at + 10 / (100 + i) * (gradient + drawn)
        at = torch.where(known, x, moved.clamp(0, 1))
    return best


def _gradient(model: DensityModel, x: Tensor, cond: Tensor | None) -> tuple[Tensor, Tensor]:
    """Of log p, tamed as `inpaint` says, and log p itself ``[B]``."""
    x = x.detach().requires_grad_()
    nats = model.log_prob(x, cond)
    (gradient,) = torch.autograd.grad(nats.sum(), x)
    size = gradient.flatten(1).abs().amax(1).clamp(min=1.0)
    return gradient / _spread(size, x), nats.detach()


def _keeping(z: Tensor, kept: Sequence[int]) -> Tensor:
    """``z [B, D]`` with zeros in all dimensions but those."""
    masked = torch.zeros_like(z)
    masked[:, kept] = z[:, kept]
    return masked


def _bits(nats: float, model: DensityModel) -> float:
    return math.log2(model.levels or 1) - nats / (math.prod(model.shape) * math.log(2))


def _like(known: Tensor, x: Tensor) -> Tensor:
    try:
        return known.to(x.device).expand_as(x)
    except RuntimeError as error:
        rule = f"that of x, {tuple(x.shape)}"
        raise InvalidInput(
            f"known has shape {tuple(known.shape)}, which does not broadcast to {rule}"
        ) from error


def _spread(values: Tensor, x: Tensor) -> Tensor:
    """One value an item ``[B]``, over ``x``."""
    return values.view(-1, *[1] * (x.ndim - 1))
