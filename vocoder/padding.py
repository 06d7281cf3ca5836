"""Batches of unequal length: `lengths [B]` says how much of the last axis belongs to each item.

Letters: B batch, S positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["cleared", "padded"]


def cleared(x: Tensor, lengths: Tensor | None, value: float = 0.0) -> Tensor:
    """``x [B, …, S]`` with ``value`` behind the end of each item; ``x`` itself where all are as long as it.

    A convolution pads a clip with zeros; what a longer neighbour in its batch put there instead has to go
    before every convolution, or the clip hears it.

    Example:
        >>> cleared(torch.ones(2, 3), torch.tensor([1, 3])).tolist()
        [[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]
    """
    if lengths is None:
        return x
    outside = torch.arange(x.shape[-1], device=x.device) >= lengths[:, None]
    return x.masked_fill(outside.view(len(x), *[1] * (x.ndim - 2), -1), value)


def padded(items: Sequence[Tensor], value: float) -> Tensor:
    """Items ``[…, S_b]`` as one batch ``[B, …, S]``, S the longest, the rest filled with ``value``.

    Example:
        >>> padded([torch.ones(1), torch.ones(2)], -5.0).tolist()
        [[1.0, -5.0], [1.0, 1.0]]
    """
    longest = max(item.shape[-1] for item in items)
    fill = [(0, longest - item.shape[-1]) for item in items]
    return torch.stack(
        [torch.nn.functional.pad(item, pad, value=value) for item, pad in zip(items, fill, strict=True)]
    )
