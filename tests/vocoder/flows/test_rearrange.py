"""Flows that move numbers about: where everything ends up, exactly."""

import math

import numpy as np
import pytest
import torch

from vocoder.errors import InvalidConfig, InvalidInput
from vocoder.flows import (
    Chain,
    Checkerboard,
    InvertibleConv1x1,
    OddEven,
    Reverse,
    Split,
    Squeeze,
    Squeeze2d,
    Squeezed,
    Squeezed2d,
    Trailing,
)


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


def _space_to_depth(images: np.ndarray) -> np.ndarray:
    """Glow's and RealNVP's squeeze of [N, H, W, C], as their code has it: reshape, transpose, reshape."""
    n, height, width, channels = images.shape
    squares = images.reshape(n, height // 2, 2, width // 2, 2, channels).transpose(0, 1, 3, 5, 2, 4)
    return squares.reshape(n, height // 2, width // 2, 4 * channels)


def _ordered(images: np.ndarray) -> np.ndarray:
    """RealNVP's ordered squeeze, as its code has it: a convolution of stride 2 with its channels sorted."""
    channels = images.shape[3]
    kernel = np.zeros((2, 2, channels, 4 * channels))
    for c in range(channels):
        for slot, (row, column) in enumerate([(0, 0), (1, 1), (0, 1), (1, 0)]):
            kernel[row, column, c, 4 * c + slot] = 1
    kernel = kernel[..., [4 * c + slot for slot in range(4) for c in range(channels)]]
    squares = images.reshape(len(images), images.shape[1] // 2, 2, images.shape[2] // 2, 2, channels)
    return np.einsum("nhiwjc,ijco->nhwo", squares, kernel)


@pytest.mark.parametrize(("ordered", "reference"), [(False, _space_to_depth), (True, _ordered)])
@pytest.mark.parametrize("channels", [1, 3])
def test_squares_are_in_the_order_of_the_authors(ordered: bool, reference: object, channels: int) -> None:
    """Every pixel is where the authors' code puts it, and comes back."""
    assert callable(reference)
    x = torch.arange(2.0 * channels * 4 * 6).view(2, channels, 4, 6)
    z, log_det = Squeeze2d(ordered)(x)
    expected = torch.from_numpy(reference(x.numpy().transpose(0, 2, 3, 1))).permute(0, 3, 1, 2)
    assert torch.equal(z, expected.to(z.dtype))
    assert log_det.tolist() == [0.0, 0.0]
    assert torch.equal(Squeeze2d(ordered).inverse(z)[0], x)


def test_the_half_that_an_ordered_squeeze_puts_first_is_a_checkerboard() -> None:
    """What stays when the last half of its channels leaves are the pixels of one colour."""
    x = torch.rand(2, 3, 4, 6)
    kept, _ = Split(Trailing(6), Reverse())._split(Squeeze2d(ordered=True)(x)[0])
    even, odd = Checkerboard(odd=False).split(x)
    assert torch.equal(kept.flatten().sort().values, odd[odd > 0].sort().values)
    assert not torch.isin(kept, even[even > 0]).any()


def test_squeezed2d_works_within_squares() -> None:
    """Reversing the channels of every square turns each of them by half a turn."""
    x = torch.arange(8.0).view(1, 1, 2, 4)
    z, _ = Squeezed2d(Reverse())(x)
    assert z.flatten(1).tolist() == [[5.0, 4.0, 7.0, 6.0, 1.0, 0.0, 3.0, 2.0]]
    assert z.shape == x.shape


@pytest.mark.parametrize("shape", [(1, 1, 3, 2), (1, 1, 2, 5), (1, 2, 0, 2)])
def test_images_that_are_no_squares_are_refused(shape: tuple[int, ...]) -> None:
    """A row or a column over is not dropped silently."""
    for flow in (Squeeze2d(), Squeeze2d(ordered=True), Squeezed2d(Reverse())):
        with pytest.raises(InvalidInput, match="even height and width"):
            flow(torch.zeros(shape))
    with pytest.raises(InvalidInput, match="even height and width"):
        Squeezed2d(Reverse()).inverse(torch.zeros(shape))


def test_channels_that_are_no_squares_are_refused() -> None:
    """Six channels are one square and a half."""
    for ordered in (False, True):
        with pytest.raises(InvalidInput, match="4C channels"):
            Squeeze2d(ordered).inverse(torch.zeros(1, 6, 2, 2))


def test_images_have_no_lengths() -> None:
    """Lengths that a sequence brought along are refused, not ignored."""
    x, lengths = torch.zeros(1, 4, 2, 2), torch.tensor([1])
    for flow in (Squeeze2d(), Squeezed2d(Reverse())):
        for direction in (flow, flow.inverse):
            with pytest.raises(InvalidInput, match="lengths"):
                direction(x, None, lengths)


def test_any_channels_may_leave_early() -> None:
    """With a partition, its first part passes and the rest goes on, wherever it stands."""
    x = torch.arange(5.0)[None]
    assert Split(Trailing(2), Reverse())(x)[0].tolist() == [[2.0, 1.0, 0.0, 3.0, 4.0]]
    assert Split(OddEven(odd=True), Reverse())(x)[0].tolist() == [[4.0, 1.0, 2.0, 3.0, 0.0]]
