"""Flows that move numbers about: where everything ends up, exactly."""

import math

import pytest
import torch

from vocoder.errors import InvalidConfig, InvalidInput
from vocoder.flows import Chain, InvertibleConv1x1, Reverse, Split, Squeeze, Squeezed


def test_squeeze_layout() -> None:
    """Sample s·G + g becomes channel g of group s."""
    x = torch.arange(2 * 12.0).view(2, 12)
    z, log_det = Squeeze(4)(x)
    assert z.shape == (2, 4, 3)
    assert all(z[b, g, s] == x[b, s * 4 + g] for b in range(2) for g in range(4) for s in range(3))
    assert log_det.tolist() == [0.0, 0.0]
    assert torch.equal(Squeeze(4).inverse(z)[0], x)


@pytest.mark.parametrize("samples", [0, 3, 5])
def test_samples_that_do_not_fill_groups_are_refused(samples: int) -> None:
    """Neither nothing nor a part of a group is dropped silently."""
    for flow in (Squeeze(4), Squeezed(4, Reverse())):
        with pytest.raises(InvalidInput, match="multiple of group"):
            flow(torch.zeros(1, samples))
    with pytest.raises(InvalidInput, match="multiple of group"):
        Squeezed(4, Reverse()).inverse(torch.zeros(1, samples))
    with pytest.raises(InvalidInput, match=r"\[B, 4, S\]"):
        Squeeze(4).inverse(torch.zeros(1, 5, 2))


def test_squeezed_works_within_groups() -> None:
    """Reversing the channels of every group reverses every G samples."""
    z, _ = Squeezed(3, Reverse())(torch.arange(6.0)[None])
    assert z.tolist() == [[2.0, 1.0, 0.0, 5.0, 4.0, 3.0]]


def test_nested_splits_are_in_the_order_of_leaving() -> None:
    """z = [early 1 | early 2 | final], each block shifted by the flows that it went through and no other."""

    def doubling(channels: int) -> InvertibleConv1x1:
        mix = InvertibleConv1x1(channels)
        mix.weight.data = 2 * torch.eye(channels)
        return mix

    flow = Chain([doubling(8), Split(2, Chain([doubling(6), Split(3, doubling(3))]))])
    z, log_det = flow(torch.ones(1, 8, 5))
    assert z[0, :, 0].tolist() == [2.0, 2.0, 4.0, 4.0, 4.0, 8.0, 8.0, 8.0]
    assert log_det.item() == pytest.approx(5 * (8 + 6 + 3) * math.log(2))
    assert torch.equal(flow.inverse(z)[0], torch.ones(1, 8, 5))


def test_split_needs_a_rest() -> None:
    """A split that would send nothing on is refused, and so is one that lets nothing or less out."""
    for direction in (Split(4, Reverse()), Split(4, Reverse()).inverse):
        with pytest.raises(InvalidInput, match="more than 4"):
            direction(torch.zeros(1, 4, 2))
    for early in (0, -1):
        with pytest.raises(InvalidConfig, match="early"):
            Split(early, Reverse())


@pytest.mark.parametrize("group", [0, -2])
def test_impossible_groups_are_refused(group: int) -> None:
    """A group holds at least a sample."""
    with pytest.raises(InvalidConfig, match="group"):
        Squeeze(group)
    with pytest.raises(InvalidConfig, match="group"):
        Squeezed(group, Reverse())


def test_chain_walks_back_the_way_it_came() -> None:
    """inverse undoes the last flow first, and a chain can be counted and walked."""
    scale = InvertibleConv1x1(2)
    scale.weight.data = torch.diag(torch.tensor([2.0, 3.0]))
    chain = Chain([scale, Reverse()])
    x = torch.tensor([[[1.0], [1.0]]])
    assert chain(x)[0].flatten().tolist() == [3.0, 2.0]
    assert torch.equal(chain.inverse(chain(x)[0])[0], x)
    assert len(chain) == 2
    assert next(iter(chain)) is scale
