"""Batches are functions of (seed, step), and data sets hold what they say."""

import pytest
import torch

from vocoder.errors import InvalidConfig, InvalidInput
from vocoder.training.density.data import Batches, Dataset, Part, draw

PART = Part(torch.arange(26).view(13, 1, 1, 2), torch.arange(13))


def dataset(levels: int = 32) -> Dataset:
    """The same thirteen images in each part."""
    return Dataset("test", levels, PART, PART, PART)


def test_an_epoch_shows_every_example_once() -> None:
    """Three batches of four are twelve different examples, labelled; the next epoch has another order."""
    batches = Batches(PART, 4, seed=0)
    first = [batches(step) for step in range(3)]
    labels = torch.cat([batch.labels for batch in first if batch.labels is not None])
    assert len(labels.unique()) == 12
    for batch in first:
        assert batch.labels is not None
        assert torch.equal(batch.images[:, 0, 0, 0], 2 * batch.labels)
    assert not torch.equal(batches(3).images, first[0].images)


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    """Asked for anew, a batch is the same to the bit; under another seed or step its noise differs."""
    one, again = Batches(PART, 4, seed=1, flip=True), Batches(PART, 4, seed=1, flip=True)
    again(0)
    for ours, theirs in zip(one(5), again(5), strict=True):
        assert ours is not None and theirs is not None
        assert torch.equal(ours, theirs)
    for other in (Batches(PART, 4, seed=2)(5), one(6)):
        assert not torch.equal(one(5).noise, other.noise)
    assert one(5).noise.min() >= 0 and one(5).noise.max() < 1 and one(5).noise.dtype == torch.float32


def test_flips_mirror_half_of_the_images() -> None:
    """Over some batches about half of the images are mirrored, left to right, and the others are not."""
    batches = Batches(PART, 13, seed=0, flip=True)
    mirrored = torch.cat([(b.images[..., 0] > b.images[..., 1]).flatten() for b in map(batches, range(20))])
    assert 0.35 < mirrored.float().mean() < 0.65


def test_a_small_set_makes_small_batches() -> None:
    """A batch is never larger than the data, and never empty."""
    assert len(Batches(PART, 100, seed=0)(7).images) == 13
    with pytest.raises(InvalidConfig, match="batch"):
        Batches(PART, 0, seed=0)


def test_draws_are_fixed() -> None:
    """The noise of a score is the same each time, another for each number, and no training noise."""
    shape = torch.Size([4, 1, 1, 2])
    assert torch.equal(draw(0, 3, shape), draw(0, 3, shape))
    assert not torch.equal(draw(0, 3, shape), draw(0, 4, shape))
    assert not torch.equal(draw(0, 0, shape), Batches(PART, 4, seed=0)(0).noise)


def test_what_cannot_be_a_data_set_is_refused() -> None:
    """Levels that do not hold the pixels, shapes and labels that do not match, floats: each is named."""
    with pytest.raises(InvalidInput, match=r"0 … 15, got 0 … 25"):
        dataset(16)
    with pytest.raises(InvalidInput, match="levels"):
        dataset(1)
    with pytest.raises(InvalidInput, match="valid has images of shape"):
        Dataset("test", 32, PART, Part(torch.zeros(3, 5, dtype=torch.int64)), PART)
    with pytest.raises(InvalidInput, match="labels"):
        Part(torch.zeros(3, 5, dtype=torch.int64), torch.zeros(2))
    with pytest.raises(InvalidInput, match="integers"):
        Part(torch.zeros(3, 5))
