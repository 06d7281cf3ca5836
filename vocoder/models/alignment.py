"""Monotonic alignment: which frames each symbol of an utterance is spoken in.

Kim et al. 2020, "Glow-TTS: A Generative Flow for Text-to-Speech via Monotonic Alignment Search",
arXiv:2005.11129, section 2.2 and algorithm 1.

Letters: B batch, N symbols, L mel frames.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vocoder.errors import InvalidInput

__all__ = ["align", "owners"]


@torch.no_grad()
def align(scores: Tensor, symbols: Tensor | None = None, frames: Tensor | None = None) -> Tensor:
    """The frames that each symbol gets in the best alignment, ``[B, N]``, whole numbers, at least 1 each.

    Among all ways to cut the frames into N runs, in order and none of them empty, the one with the largest
    sum of ``scores[b, n, l]`` over the frames l of the run of symbol n. A dynamic programme over the symbols,
    each step of which treats all frames at once. With the running sum ``C_n(l)`` of a symbol's scores, the
    best alignment of the first n symbols to the first l frames is worth::

        Q_n(l) = C_n(l) + max_{k ≤ l} [ Q_{n-1}(k) − C_n(k) ]        symbol n speaks in frames k … l − 1

    a cumulative maximum, whose place is where the symbol begins. That is the recursion of the paper, unrolled
    along a symbol instead of stepping from frame to frame. Sums are taken in float64. Of equally good
    alignments it gives one.

    Args:
        scores: ``[B, N, L]``, finite in the part that counts; usually log-likelihoods.
        symbols, frames: ``[B]``, how many of N and of L belong to each item; all of them if not given. Behind
            them durations are 0. `InvalidInput` where an item has fewer frames than symbols.

    Example:
        >>> import torch
        >>> align(torch.tensor([[[5.0, 1.0, 0.0, 0.0], [0.0, 2.0, 3.0, 4.0]]])).tolist()
        [[1, 3]]
    """
    batch, most, longest = scores.shape
    symbols = scores.new_full((batch,), most, dtype=torch.long) if symbols is None else symbols
    frames = scores.new_full((batch,), longest, dtype=torch.long) if frames is None else frames
    if bool((frames < symbols).any()):
        item = int((frames < symbols).nonzero()[0])
        rule = "each symbol needs one at least"
        held = f"{int(frames[item])} frames for {int(symbols[item])} symbols"
        raise InvalidInput(f"item {item} has {held}; {rule}")
    return _trace(_begins(scores), symbols, frames)


def owners(durations: Tensor, frames: int) -> Tensor:
    """Which symbol each frame belongs to, ``[B, L]``: durations ``[B, N]`` written out over ``frames`` = L.

    Frames behind the sum of an item's durations belong to its last symbol, N − 1.

    Example:
        >>> import torch
        >>> owners(torch.tensor([[1, 0, 3]]), 5).tolist()
        [[0, 2, 2, 2, 2]]
    """
    ends = durations.cumsum(1)
    places = torch.arange(frames, device=durations.device).expand(len(durations), -1).contiguous()
    return torch.searchsorted(ends, places, right=True).clamp(max=durations.shape[1] - 1)


def _begins(scores: Tensor) -> list[Tensor]:
    """Where symbol n begins, if n + 1 symbols share the first l + 1 frames as well as can be: N × ``[B, L]``.

    Whatever stands behind an item's end is met by later symbols and later frames only, so nothing is masked.
    A symbol takes one frame at least: the maximum is over k ≤ l. Q_n of fewer frames than symbols is −∞.
    """
    sums = scores.double().transpose(0, 1).cumsum(2)  # C_n(l + 1), [N, B, L]
    before = torch.nn.functional.pad(sums, (1, -1))  # C_n(l)
    best = torch.full_like(sums[0], -torch.inf)  # Q_{n-1}(l), nothing of it reached but l = 0
    best[:, 0] = 0.0
    begins = []
    for upto, sum_ in zip(before, sums, strict=True):
        gain, begin = (best - upto).cummax(1)
        begins.append(begin)
        best = torch.nn.functional.pad((gain + sum_)[:, :-1], (1, 0), value=-torch.inf)
    return begins


def _trace(begins: list[Tensor], symbols: Tensor, frames: Tensor) -> Tensor:
    """Durations ``[B, N]``, from the last symbol of each item back to its first."""
    end, durations = frames[:, None], []
    for n in reversed(range(len(begins))):
        begin = torch.where(n < symbols[:, None], begins[n].gather(1, (end - 1).clamp(min=0)), end)
        durations.append(end - begin)
        end = begin
    return torch.cat(durations[::-1], 1)
