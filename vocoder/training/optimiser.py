"""How weights move: AdamW for those that are trained, a moving average for those that are published."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vocoder.training.recipes import Optimiser

Tensors = tuple[Tensor, ...] | list[Tensor]


def adamw(model: nn.Module, recipe: Optimiser) -> torch.optim.AdamW:
    """AdamW as the recipe has it, at the plateau's rate."""
    return torch.optim.AdamW(
        model.parameters(),
        lr=recipe.rate,
        betas=recipe.betas,
        weight_decay=recipe.weight_decay,
        foreach=True,
    )


def moving_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Exponential moving average whose memory grows with the run up to ``decay``: a young average is no
    average of noise."""

    @torch.no_grad()
    def update(averaged: Tensors, current: Tensors, count: Tensor | int) -> None:
        weight = 1 - min(decay, (int(count) + 1) / (int(count) + 10))
        torch._foreach_lerp_(averaged, current, weight)

    return update
