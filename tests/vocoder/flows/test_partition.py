"""Partitions: two parts that make the whole, and which is which."""

import pytest
import torch
from torch import Tensor

from tests.vocoder.laws import Convolutions, Perceptron, Pointwise, stirred
from vocoder.errors import InvalidConfig, InvalidInput
from vocoder.flows import (
    AdditiveCoupling,
    AffineCoupling,
    Checkerboard,
    Leading,
    OddEven,
    Partition,
    Trailing,
)

SHAPES = [(2, 5), (2, 4), (2, 2), (2, 5, 3), (2, 4, 3, 2)]
of_channels = pytest.mark.parametrize(
    "partition", [Leading(1), Trailing(1), OddEven(odd=False), OddEven(odd=True)], ids=str
)
of_pixels = pytest.mark.parametrize("partition", [Checkerboard(odd=False), Checkerboard(odd=True)], ids=str)


def _numbered(shape: tuple[int, ...]) -> Tensor:
    return torch.arange(1.0, 1 + torch.Size(shape).numel()).view(shape)


@of_channels
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_parts_of_channels_make_the_whole(partition: Partition, shape: tuple[int, ...]) -> None:
    """Every channel is in one of the parts, and join puts it back."""
    x = _numbered(shape)
    x_a, x_b = partition.split(x)
    assert torch.equal(torch.cat([x_a, x_b], 1).sort(1).values, x)
    assert torch.equal(partition.join(x_a, x_b), x)
    assert torch.equal(partition.changed(x_b, x_b), x_b)


def test_which_channels_pass() -> None:
    """Leading the first, Trailing the last, OddEven those of its parity, counted from 0."""
    x = torch.arange(5)[None]
    passing = {str(p): p.split(x)[0][0].tolist() for p in (Leading(2), Trailing(2))}
    assert passing == {"Leading(2)": [0, 1], "Trailing(2)": [3, 4]}
    assert [OddEven(odd).split(x)[0][0].tolist() for odd in (False, True)] == [[0, 2, 4], [1, 3]]


@of_pixels
@pytest.mark.parametrize("size", [(2, 3), (1, 2), (3, 3), (4, 4)])
def test_parts_of_pixels_make_the_whole(partition: Checkerboard, size: tuple[int, int]) -> None:
    """A pixel whose row and column have a sum of the right parity passes, any other is changed."""
    x = _numbered((2, 3, *size))
    x_a, x_b = partition.split(x)
    sums = torch.tensor([[row + column for column in range(size[1])] for row in range(size[0])])
    passes = (sums % 2 == int(partition.odd)).expand(x.shape)
    assert torch.equal(x_a, x * passes)
    assert torch.equal(x_b, x * ~passes)
    assert torch.equal(partition.join(x_a, x_b), x)
    assert torch.equal(partition.changed(x, x_b), x_b)


def test_what_is_not_finite_stays_in_its_part() -> None:
    """A pixel of one colour that is infinite makes no NaN in the other part."""
    x = torch.tensor([[[[torch.inf, 1.0], [2.0, torch.nan]]]])
    x_a, x_b = Checkerboard(odd=True).split(x)
    assert x_a.flatten().tolist() == [0.0, 1.0, 2.0, 0.0]
    assert x_b[0, 0, 0].tolist() == [torch.inf, 0.0]


@pytest.mark.parametrize(
    ("partition", "shape"),
    [
        (Leading(2), (1, 2)),
        (Trailing(3), (1, 2, 5)),
        (OddEven(odd=True), (1, 1, 2, 2)),
        (Checkerboard(odd=True), (1, 3, 1, 1)),
        (Checkerboard(odd=True), (1, 3, 4)),
    ],
    ids=str,
)
def test_an_empty_part_is_refused(partition: Partition, shape: tuple[int, ...]) -> None:
    """A coupling with nothing to look at, or nothing to change, is none."""
    with pytest.raises(InvalidInput, match="got"):
        partition.split(torch.zeros(shape))


@pytest.mark.parametrize("kind", [Leading, Trailing])
def test_keeping_nothing_is_refused(kind: type[Leading] | type[Trailing]) -> None:
    """At least a channel passes."""
    for keep in (0, -1):
        with pytest.raises(InvalidConfig, match="keep"):
            kind(keep)


def test_a_partition_has_no_state() -> None:
    """A coupling's state dict is its conditioner's, whatever the partition."""
    for partition in (Leading(1), Trailing(1), OddEven(odd=True), Checkerboard(odd=True)):
        assert list(AdditiveCoupling(torch.nn.Identity(), partition).state_dict()) == []
    assert set(AffineCoupling(Perceptron(1, 2), Leading(1)).state_dict()) == {
        f"conditioner.{layer}.{kind}" for layer in ("first", "second") for kind in ("weight", "bias")
    }


@pytest.mark.parametrize(
    ("partition", "net", "shape"),
    [
        (OddEven(odd=True), Perceptron(2, 6), (2, 5)),
        (Trailing(2), Pointwise(2, 6), (2, 5, 3)),
        (Checkerboard(odd=False), Convolutions(2, 4), (2, 2, 3, 4)),
    ],
    ids=str,
)
def test_couplings_change_one_part_only(
    partition: Partition, net: torch.nn.Module, shape: tuple[int, ...]
) -> None:
    """What passes is the same to the last bit, either way; what is changed is so element by element."""
    coupling = AffineCoupling(stirred(net), partition, scale="sigmoid")
    x = torch.randn(shape)
    for direction in (coupling, coupling.inverse):
        z_a, z_b = partition.split(direction(x)[0])
        x_a, x_b = partition.split(x)
        assert torch.equal(z_a, x_a)
        one = torch.zeros_like(x_b)
        index = tuple(x_b.nonzero()[1])  # an element that the partition changes
        one[index] = 1.0
        moved = partition.split(direction(partition.join(x_a, x_b + one))[0])[1] - z_b
        assert moved[index].abs() > 0.1
        moved[index] = 0
        assert moved.abs().max() < 1e-6
