"""Contours go over gaps in straight lines, through the middles of symbols, and back to their means."""

import math

import torch

from vocoder.models.intonation import UNKNOWN, by_symbol, filled, through


def test_gaps_are_straight_lines_in_the_logarithm() -> None:
    """Level at the ends, geometric in between, voiced frames as they are."""
    f0 = torch.tensor([[0.0, 0.0, 100.0, 0.0, 0.0, 0.0, 1600.0, 0.0]])
    hertz = filled(f0).exp()
    torch.testing.assert_close(hertz, torch.tensor([[100.0, 100, 100, 200, 400, 800, 1600, 1600]]))


def test_what_is_voiced_nowhere_is_some_number() -> None:
    """An item without pitch is level, and does not touch its neighbour."""
    contour = filled(torch.tensor([[0.0, 0.0], [150.0, 0.0]]))
    torch.testing.assert_close(contour[0], torch.full((2,), UNKNOWN))
    torch.testing.assert_close(contour[1].exp(), torch.tensor([150.0, 150.0]))


def test_what_stands_behind_the_end_is_not_looked_at() -> None:
    """With lengths a shorter item is what it is alone."""
    f0 = torch.tensor([[100.0, 0.0, 0.0, 300.0], [100.0, 0.0, 0.0, 300.0]])
    contour = filled(f0, torch.tensor([4, 3]))
    torch.testing.assert_close(contour[1, :3], filled(f0[1:, :3])[0])
    torch.testing.assert_close(contour[0], filled(f0[:1])[0])


def test_a_contour_has_its_values_in_the_middle_of_symbols() -> None:
    """Symbols of an odd number of frames have their value at a frame, and nothing lies beyond them."""
    values, durations = torch.tensor([[1.0, 5.0, 2.0]]), torch.tensor([[3, 5, 1]])
    contour = through(values, durations, 9)
    assert [round(contour[0, place].item(), 5) for place in (1, 5, 8)] == [1, 5, 2]
    assert contour[0, 0] == 1  # level before the first middle
    assert float(contour.min()) >= 1 and float(contour.max()) <= 5


def test_a_single_symbol_is_level() -> None:
    """Also where it is the only one of several that lasts."""
    assert through(torch.tensor([[1.0, 3.0]]), torch.tensor([[0, 2]]), 4).tolist() == [[3.0] * 4]


def test_means_of_symbols_are_weighted() -> None:
    """Frames without weight do not count, and a symbol without any is 0 with weight 0."""
    values, weights = torch.tensor([[1.0, 3.0, 7.0]]), torch.tensor([[1.0, 3.0, 0.0]])
    means, weight = by_symbol(values, weights, torch.tensor([[0, 0, 1]]), 2)
    torch.testing.assert_close(means, torch.tensor([[2.5, 0.0]]))
    assert weight.tolist() == [[4.0, 0.0]]


def test_a_level_contour_survives_both_ways() -> None:
    """ln 220 Hz through symbols and back is ln 220 Hz."""
    level, durations = torch.full((1, 4), math.log(220)), torch.tensor([[2, 1, 4, 3]])
    contour = through(level, durations, 10)
    owner = torch.tensor([[0, 0, 1, 2, 2, 2, 2, 3, 3, 3]])
    torch.testing.assert_close(by_symbol(contour, torch.ones(1, 10), owner, 4)[0], level)
