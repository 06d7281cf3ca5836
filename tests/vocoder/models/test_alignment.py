"""The alignment is the best monotonic one, of each item by itself, and says how long each symbol lasts."""

import itertools

import pytest
import torch
from torch import Tensor

from vocoder.errors import InvalidInput
from vocoder.models.alignment import align, owners


def best(scores: Tensor) -> tuple[float, list[int]]:
    """All ways to cut the frames of one item `[N, L]` into runs, tried one by one."""
    symbols, frames = scores.shape
    found = []
    for cuts in itertools.combinations(range(1, frames), symbols - 1):
        ends = [0, *cuts, frames]
        runs = list(itertools.pairwise(ends))
        worth = sum(float(scores[n, a:b].double().sum()) for n, (a, b) in enumerate(runs))
        found.append((worth, [b - a for a, b in runs]))
    return max(found)


@pytest.mark.parametrize("symbols", [1, 2, 3, 5])
@pytest.mark.parametrize("frames", [5, 6, 9])
def test_it_is_the_best_of_all(symbols: int, frames: int) -> None:
    """As trying all of them finds it, with as many frames as symbols and with more."""
    generator = torch.Generator().manual_seed(10 * symbols + frames)
    for scores in 10 * torch.randn(8, symbols, frames, generator=generator):
        assert align(scores[None])[0].tolist() == best(scores)[1]


def test_items_are_aligned_by_themselves() -> None:
    """Whatever stands behind an item's end, numbers or none, its durations are those of the item alone."""
    scores = 5 * torch.randn(4, 6, 20, generator=torch.Generator().manual_seed(1))
    symbols, frames = torch.tensor([6, 3, 1, 5]), torch.tensor([20, 11, 7, 5])
    for row, (n, length) in enumerate(zip(symbols, frames, strict=True)):
        scores[row, n:] = torch.nan
        scores[row, :, length:] = torch.inf
    durations = align(scores, symbols, frames)
    for row, (n, length) in enumerate(zip(symbols, frames, strict=True)):
        alone = align(scores[row : row + 1, :n, :length])
        assert durations[row].tolist() == alone[0].tolist() + [0] * (6 - int(n))


def test_every_frame_is_spoken_and_every_symbol_too() -> None:
    """Durations are 1 at least and add up, on real sizes and on scores that all are alike."""
    for scores in (torch.randn(3, 40, 150), torch.zeros(3, 40, 150), torch.full((3, 40, 150), -1e6)):
        durations = align(scores)
        assert bool((durations >= 1).all()) and durations.sum(1).tolist() == [150] * 3


def test_large_scores_lose_no_frame() -> None:
    """Sums in float64: a difference of 0.01 decides behind scores of a hundred thousand."""
    scores = torch.full((1, 2, 1000), -1e5)
    scores[0, 0, :700] += 0.01
    scores[0, 1, 700:] += 0.01
    assert align(scores.double()).tolist() == [[700, 300]]


def test_too_few_frames_are_refused() -> None:
    """A symbol without a frame is no alignment, and the item is named."""
    with pytest.raises(InvalidInput, match="item 1 has 4 frames for 5 symbols"):
        align(torch.zeros(2, 5, 9), torch.tensor([5, 5]), torch.tensor([9, 4]))


def test_owners_write_durations_out() -> None:
    """Frame by frame, symbols of no duration left out, and the last symbol for what is over."""
    owner = owners(torch.tensor([[2, 0, 1], [0, 3, 0]]), 4)
    assert owner.tolist() == [[0, 0, 2, 2], [1, 1, 1, 2]]
