"""The network of a coupling of vectors."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


class MLP(nn.Module):
    """Rectified layers of equal width and a linear one behind them (Dinh et al. 2014, NICE, section 5.1).

    The last layer starts at zero, so that a coupling starts as the identity.

    Args:
        in_features: entries of ``x``.
        out_features: entries of the result.
        width: of the hidden layers.
        layers: how many hidden layers, 0 for a linear map.
        dropout: in training, part of every hidden layer that is dropped.

    Shapes: ``x [B, in]`` → ``[B, out]``. ``cond``, which a coupling hands to any network, is not looked at.

    Example:
        >>> MLP(3, 4, width=8, layers=2)(torch.randn(2, 3)).tolist()
        [[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """

    def __init__(
        self, in_features: int, out_features: int, *, width: int, layers: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        sizes = [in_features, *[width] * layers]
        self.hidden = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        self.dropout = nn.Dropout(dropout)
        self.end = nn.Linear(sizes[-1], out_features)
        nn.init.zeros_(self.end.weight)
        nn.init.zeros_(self.end.bias)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        for layer in self.hidden:
            x = self.dropout(torch.relu(layer(x)))
        return self.end(x)
