"""Where symbols ought to be, roughly: what the first alignments of a run are held near to.

A flow that has learned nothing aligns at random, and what it then learns of random alignments it has to
unlearn. How long symbols last on the average is known without any model.

Shape letters: B batch, N symbols, L mel frames.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vocoder.text.symbols import BOUNDARY, END, PUNCTUATION, START, SYMBOLS, stress_of

__all__ = ["expected", "nudge"]

NEAR = 8.0  # frames
_PLAIN = {START: 6.0, END: 5.0, BOUNDARY: 4.0, ".": 5.0, "?": 5.0, "!": 5.0}


def expected() -> Tensor:
    """Frames that each of `SYMBOLS` lasts on the average of read speech, at 86 frames a second.

    >>> expected()[:3].tolist()
    [6.0, 5.0, 4.0]
    """
    return torch.tensor([_of(symbol) for symbol in SYMBOLS])


def nudge(ids: Tensor, symbols: Tensor, frames: Tensor, longest: int) -> Tensor:
    """What to add to scores ``[B, N, L]``: ``−½ ((l − c_n) / 8)²``, c_n the expected middle of symbol n.

    The frames of each item are shared out in proportion to `expected`.
    """
    said = torch.arange(ids.shape[1], device=ids.device) < symbols[:, None]
    share = expected().to(ids.device)[ids] * said
    ends = share.cumsum(1)
    middle = (ends - 0.5 * share) * (frames / ends[:, -1])[:, None]
    place = torch.arange(longest, device=ids.device) + 0.5
    return -0.5 * ((place - middle[:, :, None]) / NEAR).square()


def _of(symbol: str) -> float:
    if symbol in _PLAIN:
        return _PLAIN[symbol]
    if symbol in PUNCTUATION:
        return 30.0
    return 5.0 if stress_of(symbol) is None else 7.0
