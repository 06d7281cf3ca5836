"""The noise: a pure function of seed and position, standard normal, the same today as in every release."""

import hashlib

import numpy as np
import pytest
import torch

from vocoder.errors import InvalidInput
from vocoder.noise import BLOCK, noise

GOLDEN = {
    (0, 0): [0.059911035001277924, 0.015559634193778038, -1.1644384860992432, -0.13264712691307068],
    (1, 1022): [-1.8740861415863037, 0.21471402049064636, 0.43183237314224243, 0.8609647750854492],
    (2**63 - 1, 10**12): [-0.5997416377067566, 0.49805948138237, 0.4152982831001282, 0.6137274503707886],
}
OF_10000 = "77c0d9f861d5e77ee9b6127ccfec93150b2705321e987827f763787570f898b5"


@pytest.mark.parametrize(("seed", "start"), GOLDEN)
def test_means_what_it_always_meant(seed: int, start: int) -> None:
    """A seed gives these very numbers: published audio and its seed stay together across releases."""
    assert noise(seed, start, 4).tolist() == GOLDEN[seed, start]


def test_many_numbers_mean_what_they_always_meant() -> None:
    """Ten thousand of them, too, to the last bit."""
    assert hashlib.sha256(noise(0, 0, 10_000).numpy().astype("<f4").tobytes()).hexdigest() == OF_10000


@pytest.mark.parametrize("start", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK - 2])
@pytest.mark.parametrize("samples", [0, 1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 5])
def test_a_slice_is_the_slice_of_the_whole(start: int, samples: int) -> None:
    """Whoever asks for a stretch gets what it has in the whole, block borders or not."""
    whole = noise(5, 0, 6 * BLOCK)
    assert torch.equal(noise(5, start, samples), whole[start : start + samples])


def test_is_float32_on_the_cpu_and_nobody_elses() -> None:
    """The type is plain, and writing into one answer changes no other."""
    first = noise(3, 10, 100)
    assert (first.dtype, first.device.type) == (torch.float32, "cpu")
    first.zero_()
    assert noise(3, 10, 100).abs().min() > 0


def test_is_standard_normal() -> None:
    """Moments up to the fourth and the tail of a million numbers lie where those of N(0, 1) do."""
    z = noise(11, 0, 10**6).double()
    assert abs(z.mean()) < 4e-3
    assert abs(z.square().mean() - 1) < 6e-3
    assert abs(z.pow(3).mean()) < 0.016
    assert abs(z.pow(4).mean() - 3) < 0.04
    assert abs((z.abs() < 1).double().mean() - 0.6827) < 2e-3
    assert (z.abs() > 4).double().mean() < 1.2e-4


@pytest.mark.parametrize("other", [1, 2, 2**32, 2**62])
def test_seeds_are_independent(other: int) -> None:
    """Noise of two seeds does not correlate, near as the seeds may be, at any of a few lags."""
    a, b = noise(0, 0, 100_000), noise(other, 0, 100_000)
    for lag in (0, 1, BLOCK):
        assert abs(float((a[lag:] * b[: len(b) - lag]).mean())) < 0.016


@pytest.mark.parametrize("lag", [1, 2, BLOCK - 1, BLOCK, 4 * BLOCK])
def test_positions_are_independent(lag: int) -> None:
    """Noise does not correlate with itself further on, least of all a block further on."""
    z = noise(0, 0, 100_000)
    assert abs(float((z[lag:] * z[:-lag]).mean())) < 0.016


def test_touches_nobodys_generator() -> None:
    """Global generators, torch's and NumPy's, neither decide the noise nor are moved by it."""
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002  # the global state is what this test is about
    before = torch.get_rng_state(), repr(np.random.get_state())  # noqa: NPY002
    noise(0, 0, 5000)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert repr(np.random.get_state()) == before[1]  # noqa: NPY002


@pytest.mark.parametrize("bad", [-1, 2**63, 1.5, True, "7", None])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_refuses_what_is_no_position(bad: object, place: int) -> None:
    """Seed, start and length are integers in [0, 2⁶³), and the message says which was not."""
    asked: list[object] = [0, 0, 0]
    asked[place] = bad
    with pytest.raises(InvalidInput, match=rf"^{('seed', 'start', 'samples')[place]} \(={bad!r}\) must be"):
        noise(*asked)  # type: ignore[arg-type]


def test_takes_any_integer_type() -> None:
    """NumPy's integers are integers."""
    assert torch.equal(noise(np.int64(3), np.int32(5), np.uint8(7)), noise(3, 5, 7))  # type: ignore[arg-type]


def test_ends_where_positions_end() -> None:
    """A stretch may not reach beyond the last position."""
    with pytest.raises(InvalidInput, match="start \\+ samples"):
        noise(0, 2**63 - 1, 1)
