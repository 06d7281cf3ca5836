"""Couplings against the formulas in their papers."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.vocoder.laws import Pointwise, stirred
from vocoder.errors import InvalidConfig, InvalidInput
from vocoder.flows import AdditiveCoupling, AffineCoupling, Checkerboard, OddEven, Partition
from vocoder.flows.coupling import Conditioner, Order, ScaleMap

KEEP, CHANGES = 2, 3


@pytest.fixture
def x() -> Tensor:
    """A batch of two, in float64."""
    return torch.randn(2, KEEP + CHANGES, 4, dtype=torch.float64)


@pytest.fixture
def net() -> Pointwise:
    """A conditioner with something to say."""
    return stirred(Pointwise(KEEP, 2 * CHANGES).double())


def test_scale_then_shift(x: Tensor, net: Pointwise) -> None:
    """z_b = exp(log_s) x_b + t with (t, log_s) in WaveGlow's order; log_det = Σ log_s."""
    t, log_s = net(x[:, :KEEP], None).split(CHANGES, 1)
    z, log_det = AffineCoupling(net, KEEP)(x)
    torch.testing.assert_close(z[:, :KEEP], x[:, :KEEP], rtol=0, atol=0)
    torch.testing.assert_close(z[:, KEEP:], log_s.exp() * x[:, KEEP:] + t)
    torch.testing.assert_close(log_det, log_s.sum((1, 2)))


def test_shift_then_scale(x: Tensor, net: Pointwise) -> None:
    """z_b = (x_b + t) exp(log_s), and the same log_det."""
    t, log_s = net(x[:, :KEEP], None).split(CHANGES, 1)
    z, log_det = AffineCoupling(net, KEEP, order="shift_then_scale")(x)
    torch.testing.assert_close(z[:, KEEP:], (x[:, KEEP:] + t) * log_s.exp())
    torch.testing.assert_close(log_det, log_s.sum((1, 2)))


@pytest.mark.parametrize("order", ["scale_then_shift", "shift_then_scale"])
def test_affine_without_scale_is_additive(x: Tensor, order: Order) -> None:
    """With log_s = 0 both affine orders are NICE's additive coupling, and no volume changes."""
    net = stirred(Pointwise(KEEP, CHANGES).double())

    def shift_only(x_a: Tensor, cond: Tensor | None) -> Tensor:
        t = net(x_a, cond)
        return torch.cat([t, torch.zeros_like(t)], 1)

    affine, additive = AffineCoupling(shift_only, KEEP, order=order), AdditiveCoupling(net, KEEP)
    for a, b in ((affine(x), additive(x)), (affine.inverse(x), additive.inverse(x))):
        torch.testing.assert_close(a[0], b[0], rtol=0, atol=1e-15)
        assert a[1].tolist() == b[1].tolist() == [0.0, 0.0]


def test_the_conditioner_sees_what_passes_and_the_conditioning(x: Tensor) -> None:
    """In both directions it is handed the kept channels, unchanged, and `cond` as it is."""
    seen: list[tuple[Tensor, Tensor | None]] = []
    cond = torch.randn(2, 1, 4)

    def conditioner(x_a: Tensor, cond: Tensor | None) -> Tensor:
        seen.append((x_a, cond))
        return torch.ones(2, 2 * CHANGES, 4, dtype=torch.float64)

    coupling = AffineCoupling(conditioner, KEEP)
    coupling.inverse(coupling(x, cond)[0], cond)
    assert [given is cond for _, given in seen] == [True, True]
    assert all(torch.equal(x_a, x[:, :KEEP]) for x_a, _ in seen)


def test_bound_is_smooth_and_kept(x: Tensor) -> None:
    """log_s = bound · tanh(raw / bound): the raw value while small, never beyond the bound."""
    raw = torch.tensor([1e-3, 50.0, -50.0], dtype=torch.float64)[None, :, None].expand(2, 3, 4)
    coupling = AffineCoupling(lambda *_: torch.cat([torch.zeros_like(raw), raw], 1), KEEP, bound=1.5)
    scales = (coupling(x)[0][:, KEEP:] / x[:, KEEP:]).log()
    assert scales[0, :, 0].tolist() == pytest.approx([1e-3, 1.5, -1.5], rel=1e-6)
    torch.testing.assert_close(coupling(x)[1], scales.sum((1, 2)))


@pytest.mark.parametrize("shape", [(2, 2, 4), (2, 2 * CHANGES, 1), (1, 2 * CHANGES, 4), (2, CHANGES, 4)])
def test_an_answer_of_another_shape_is_refused(x: Tensor, shape: tuple[int, ...]) -> None:
    """A scale that is broadcast acts often and would be counted once: an error, not a wrong density."""
    coupling = AffineCoupling(lambda *_: torch.ones(shape), KEEP)
    for direction in (coupling, coupling.inverse):
        with pytest.raises(InvalidInput, match=r"\(2, 6, 4\)"):
            direction(x)
    with pytest.raises(InvalidInput, match=r"\(2, 3, 4\)"):
        AdditiveCoupling(lambda *_: torch.ones(2, 1, 4), KEEP)(x)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"partition": 0}, "keep"),
        ({"partition": 1, "bound": 0.0}, "bound"),
        ({"partition": 1, "bound": -1.0}, "bound"),
        ({"partition": 1, "bound": float("nan")}, "bound"),
        ({"partition": 1, "order": "shift"}, "order"),
        ({"partition": 1, "scale": "softplus"}, "scale"),
        ({"partition": 1, "gain": 1.0}, "gain"),
    ],
)
def test_impossible_couplings_are_refused(options: dict[str, object], name: str) -> None:
    """A bound of zero would divide by it, an unknown order be taken for the default one."""
    with pytest.raises(InvalidConfig, match=name):
        AffineCoupling(Pointwise(1, 2), **options)  # type: ignore[arg-type]  # wrong on purpose


def test_nothing_to_change_is_refused(net: Pointwise) -> None:
    """All channels kept leaves no coupling."""
    with pytest.raises(InvalidInput, match="keeps 2"):
        AffineCoupling(net, KEEP)(torch.zeros(1, KEEP, 4))


def _raw(value: float, shape: tuple[int, ...]) -> Conditioner:
    """A conditioner that answers with t = 0 and this raw scale, wherever it is asked."""
    answer = torch.full(shape, value, dtype=torch.float64)
    return lambda *_: torch.cat([torch.zeros_like(answer), answer], 1)


@pytest.mark.parametrize("raw", [-3.0, 0.0, 2.5])
@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ("exp", lambda h: h),
        ("sigmoid", lambda h: -math.log(1 + math.exp(-(h + 2)))),
        ("tanh", lambda h: 0.75 * math.tanh(h)),
    ],
)
def test_scales_of_the_papers_and_of_their_code(
    x: Tensor, raw: float, scale: ScaleMap, expected: Callable[[float], float]
) -> None:
    """exp(h), sigmoid(h + 2) as in Glow's code, exp(gain · tanh h) as in RealNVP's."""
    gain = 0.75 if scale == "tanh" else None
    coupling = AffineCoupling(_raw(raw, (2, CHANGES, 4)), KEEP, scale=scale, gain=gain).double()
    z, log_det = coupling(x)
    torch.testing.assert_close(z[:, KEEP:], math.exp(expected(raw)) * x[:, KEEP:])
    assert log_det.tolist() == pytest.approx([CHANGES * 4 * expected(raw)] * 2, abs=1e-12)


@pytest.mark.parametrize(("partition", "gain"), [(1, 1.0), (OddEven(True), 1.0), (Checkerboard(True), 0.0)])
def test_the_gain_starts_as_in_the_code_of_realnvp(partition: Partition | int, gain: float) -> None:
    """One for channels, zero, so that nothing is scaled, for a checkerboard; it is learned."""
    coupling = AffineCoupling(lambda *_: torch.zeros(()), partition, scale="tanh")
    assert {name: value.item() for name, value in coupling.named_parameters()} == {"gain": gain}
    other = AffineCoupling(lambda *_: torch.zeros(()), partition, scale="tanh", gain=0.25)
    assert other.gain.item() == 0.25


@pytest.mark.parametrize("scale", ["exp", "sigmoid", "tanh"])
@pytest.mark.parametrize("raw", [-1e4, 1e4])
def test_no_inverse_explodes_within_a_bound(x: Tensor, scale: ScaleMap, raw: float) -> None:
    """Whatever the network says, neither direction magnifies by more than e to the bound."""
    gain = 50.0 if scale == "tanh" else None
    coupling = AffineCoupling(_raw(raw, (2, CHANGES, 4)), KEEP, scale=scale, gain=gain, bound=1.5).double()
    for direction in (coupling, coupling.inverse):
        magnified = direction(x)[0][:, KEEP:] / x[:, KEEP:]
        assert magnified.abs().max() <= math.exp(1.5) + 1e-9


@pytest.mark.parametrize("scale", ["exp", "sigmoid", "tanh"])
def test_a_checkerboard_counts_changed_pixels_only(scale: ScaleMap) -> None:
    """A conditioner answers for every pixel; those that pass are not shifted, scaled, nor counted."""
    coupling = AffineCoupling(lambda *_: torch.ones(1, 4, 3, 3), Checkerboard(odd=False), scale=scale)
    if scale == "tanh":
        coupling.gain.data.fill_(1.0)
    x = torch.ones(1, 2, 3, 3)
    z, log_det = coupling(x)
    one = AffineCoupling(lambda *_: torch.ones(1, 2, 1), 1, scale=scale)(torch.ones(1, 2, 1))
    assert log_det.item() == pytest.approx(2 * 4 * one[1].item(), rel=1e-6)  # 4 of 9 pixels are odd
    assert (z == 1).sum() == 2 * 5


@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 3, 2)])
def test_lengths_are_of_sequences(shape: tuple[int, ...]) -> None:
    """Vectors and images of a batch have one size, and say so."""
    coupling = AdditiveCoupling(lambda x_a, *_: x_a[:, :1].expand(-1, 3, *shape[2:]), 2)
    assert coupling(torch.ones(shape))[0].shape == shape
    for direction in (coupling, coupling.inverse):
        with pytest.raises(InvalidInput, match="lengths"):
            direction(torch.ones(shape), None, torch.tensor([1, 2]))


def test_a_sigmoid_leaves_padding_alone() -> None:
    """Its scale at rest is not one; behind the end of an item nothing is scaled all the same."""
    coupling = AffineCoupling(lambda *_: torch.zeros(2, 4, 3), 1, scale="sigmoid")
    x = torch.ones(2, 3, 3)
    x[0, :, 1:] = 0
    _, log_det = coupling(x, None, torch.tensor([1, 3]))
    assert (log_det[1] / log_det[0]).item() == pytest.approx(3)
