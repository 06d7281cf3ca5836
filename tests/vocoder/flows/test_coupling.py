"""Couplings against the formulas in their papers."""

import pytest
import torch
from torch import Tensor

from tests.vocoder.laws import Pointwise, stirred
from vocoder.errors import InvalidConfig, InvalidInput
from vocoder.flows import AdditiveCoupling, AffineCoupling
from vocoder.flows.coupling import Order

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
        ({"keep": 0}, "keep"),
        ({"keep": 1, "bound": 0.0}, "bound"),
        ({"keep": 1, "bound": -1.0}, "bound"),
        ({"keep": 1, "bound": float("nan")}, "bound"),
        ({"keep": 1, "order": "shift"}, "order"),
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
