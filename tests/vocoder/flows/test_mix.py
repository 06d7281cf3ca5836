"""The invertible 1×1 convolution and the inverse that it keeps: signs, staleness, threads."""

import copy
import math
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tests.vocoder.laws import stirred
from vocoder.errors import InvalidConfig, InvalidInput
from vocoder.flows import InvertibleConv1x1

Mode = Callable[[], AbstractContextManager[None]]
each_mode = pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode], ids=["no_grad", "infer"])


@pytest.fixture
def mix() -> InvertibleConv1x1:
    """Four channels in float64."""
    return InvertibleConv1x1(4).double()


def _z() -> Tensor:
    return torch.randn(2, 4, 3, dtype=torch.float64)


def _assert_fresh(mix: InvertibleConv1x1, z: Tensor, mode: Mode) -> None:
    """The inverse solves W x = z for the W of this moment."""
    with mode():
        x, _ = mix.inverse(z.to(mix.weight.dtype))
    tolerance = {torch.float64: 1e-10, torch.float32: 1e-5, torch.bfloat16: 0.1}[x.dtype]
    torch.testing.assert_close(mix.weight.detach() @ x, z.to(x.dtype), rtol=0, atol=tolerance)


def test_starts_orthonormal() -> None:
    """At the start W Wᵀ = I, so that nothing is stretched."""
    weight = InvertibleConv1x1(6).weight
    torch.testing.assert_close(weight @ weight.T, torch.eye(6), rtol=0, atol=1e-5)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_sign_of_the_determinant_is_nobodys_business(mix: InvertibleConv1x1, sign: float) -> None:
    """det W = −6 is as good as 6: log_det is S ln 6, finite, in both directions."""
    with torch.no_grad():
        mix.weight.copy_(torch.diag(torch.tensor([sign * 2.0, 3.0, 1.0, 1.0])))
    assert torch.det(mix.weight).sign() == sign
    expected = torch.full((2,), 3 * math.log(6), dtype=torch.float64)
    torch.testing.assert_close(mix(_z())[1], expected)
    torch.testing.assert_close(mix.inverse(_z())[1], -expected)


def test_wrong_channels_are_refused(mix: InvertibleConv1x1) -> None:
    """Five channels do not go through a 4 × 4 matrix, in either direction."""
    for direction in (mix, mix.inverse):
        with pytest.raises(InvalidInput, match=r"\[B, 4, …\]"):
            direction(torch.zeros(1, 5, 3, dtype=torch.float64))


def _optimiser_step(mix: InvertibleConv1x1) -> None:
    optimiser = torch.optim.SGD(mix.parameters(), lr=0.3)
    mix(_z())[0].square().sum().backward()
    optimiser.step()


def _load(mix: InvertibleConv1x1) -> None:
    mix.load_state_dict(InvertibleConv1x1(4).double().state_dict())


def _write_data(mix: InvertibleConv1x1) -> None:
    mix.weight.data[0, 1] += 0.25


def _swap_data(mix: InvertibleConv1x1) -> None:
    mix.weight.data = torch.randn(4, 4, dtype=torch.float64)


def _write_in_place(mix: InvertibleConv1x1) -> None:
    with torch.no_grad():
        mix.weight.mul_(2)


def _single(mix: InvertibleConv1x1) -> None:
    mix.float()


def _half(mix: InvertibleConv1x1) -> None:
    mix.bfloat16()


def _single_and_back(mix: InvertibleConv1x1) -> None:
    mix.float().double()


@pytest.mark.parametrize(
    "change",
    [_optimiser_step, _load, _write_data, _swap_data, _write_in_place, _single, _half, _single_and_back],
)
@each_mode
def test_kept_inverse_never_goes_stale(
    mix: InvertibleConv1x1, change: Callable[[InvertibleConv1x1], None], mode: Mode
) -> None:
    """However the weight is written, the next inverse is the new weight's."""
    z = _z()
    _assert_fresh(mix, z, mode)
    change(mix)
    _assert_fresh(mix, z, mode)


@each_mode
def test_a_copy_lives_its_own_life(mix: InvertibleConv1x1, mode: Mode) -> None:
    """A deep copy of a used module is changed without a trace in the original, and the other way round."""
    z = _z()
    _assert_fresh(mix, z, mode)
    twin = copy.deepcopy(mix)
    _write_data(twin)
    _assert_fresh(twin, z, mode)
    _assert_fresh(mix, z, mode)
    assert not torch.equal(mix.inverse(z)[0], twin.inverse(z)[0])


def test_gradients_follow_inference(mix: InvertibleConv1x1) -> None:
    """What inference mode kept can be used where gradients flow, through a frozen weight to z."""
    z = _z()
    with torch.inference_mode():
        mix.inverse(z)
    mix.weight.requires_grad_(False)
    z.requires_grad_()
    mix.inverse(z)[0].sum().backward()
    expected = torch.linalg.inv(mix.weight).sum(0)[None, :, None].expand(2, 4, 3)
    torch.testing.assert_close(z.grad, expected)


def test_inverse_trains_the_weight_after_inference(mix: InvertibleConv1x1) -> None:
    """Where gradients flow the inverse is differentiated: d(w⁻¹)/dw = −w⁻²."""
    with torch.no_grad():
        mix.weight.copy_(2 * torch.eye(4))
        mix.inverse(_z())
    mix.inverse(torch.ones(1, 4, 1, dtype=torch.float64))[0].sum().backward()
    torch.testing.assert_close(mix.weight.grad, torch.full((4, 4), -0.25, dtype=torch.float64))


def test_kept_inverse_is_no_part_of_the_state(mix: InvertibleConv1x1) -> None:
    """A checkpoint holds W and nothing derived from it."""
    with torch.no_grad():
        mix.inverse(_z())
    assert list(mix.state_dict()) == ["weight"]


class Interrupted(TorchFunctionMode):
    """Gives another thread its turn at the worst moment: when one of torch's functions is first called.

    That call is made twice, before the turn and after it, and `keep` says which answer counts.
    """

    def __init__(self, name: str, turn: Callable[[], None], keep: int) -> None:
        super().__init__()
        self.name, self.turns, self.keep = name, [turn], keep

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func.__name__ != self.name or not self.turns:
            return func(*args, **(kwargs or {}))
        before = func(*args, **(kwargs or {}))
        self.turns.pop()()
        return (before, func(*args, **(kwargs or {})))[self.keep]


def test_interrupted_after_comparing(mix: InvertibleConv1x1) -> None:
    """Another weight, inverted and put back once the kept inverse was found good, changes no answer."""
    z, weight = _z(), mix.weight.detach().clone()
    _assert_fresh(mix, z, torch.no_grad)

    def turn() -> None:
        mix.weight.mul_(3)
        mix.inverse(z)
        mix.weight.copy_(weight)

    with torch.no_grad(), Interrupted("equal", turn, keep=0) as interrupted:
        x, _ = mix.inverse(z)
    assert interrupted.turns == []
    torch.testing.assert_close(weight @ x, z)


def test_interrupted_while_inverting(mix: InvertibleConv1x1) -> None:
    """A weight overwritten during its inversion leaves no pair of the one and the inverse of the other."""
    z, weight = _z(), mix.weight.detach().clone()

    def turn() -> None:
        mix.weight.data.mul_(3)

    with torch.no_grad():
        with Interrupted("linalg_inv", turn, keep=1) as interrupted:
            mix.inverse(z)
        mix.weight.copy_(weight)
    assert interrupted.turns == []
    _assert_fresh(mix, z, torch.no_grad)


@pytest.fixture
def hectic() -> Iterator[None]:
    """Let the interpreter change threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hectic")
def test_threads_may_share_it() -> None:
    """While one thread swaps the weight, others see the inverse of one of its values, and nothing else."""
    mix, ones = InvertibleConv1x1(64), torch.ones(1, 64, 1)
    weights = [value * torch.eye(64) for value in (1.0, 2.0)]
    mix.weight.data = weights[0]

    def read() -> set[float]:
        with torch.inference_mode():
            return {value for _ in range(300) for value in mix.inverse(ones)[0].flatten().tolist()}

    with ThreadPoolExecutor(4) as readers:
        results = [readers.submit(read) for _ in range(4)]
        while not all(result.done() for result in results):
            for weight in weights:
                mix.weight.data = weight
                time.sleep(1e-4)
    assert set().union(*(result.result() for result in results)) == {1.0, 0.5}
    for weight in weights:
        mix.weight.data = weight
        _assert_fresh(mix, ones, torch.inference_mode)


def _triangular(channels: int = 4) -> InvertibleConv1x1:
    """A factored mixing in float64, away from where it starts."""
    return stirred(InvertibleConv1x1(channels, "plu").double())


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("channels", [1, 2, 7, 48])
def test_both_forms_start_as_the_same_rotation(channels: int) -> None:
    """From one seed they draw one orthonormal matrix, to the last digits."""
    matrices = []
    for form in ("dense", "plu"):
        torch.manual_seed(3)
        matrices.append(InvertibleConv1x1(channels, form).matrix())
    torch.testing.assert_close(matrices[1], matrices[0], rtol=0, atol=1e-13)
    torch.testing.assert_close(matrices[1] @ matrices[1].T, torch.eye(channels), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 5), (3, 4, 2, 3)], ids=str)
def test_the_factored_form_is_the_dense_one(shape: tuple[int, ...]) -> None:
    """For the same W both answer the same, in both directions, log-determinants included."""
    factored, dense = _triangular(), InvertibleConv1x1(4).double()
    dense.weight.data = factored.matrix().detach()
    x = torch.randn(shape, dtype=torch.float64)
    for ours, theirs in ((factored, dense), (factored.inverse, dense.inverse)):
        torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-11)


def test_what_is_fixed_and_what_is_learned() -> None:
    """W = P L (U + diag s): P and the signs of s are buffers, the triangles and ln |s| parameters."""
    mix = _triangular()
    assert set(dict(mix.named_parameters())) == {"lower", "upper", "log_scale"}
    assert set(dict(mix.named_buffers())) == {"signs", "permutation"}
    assert set(mix.state_dict()) == {"lower", "upper", "log_scale", "signs", "permutation"}
    assert set(mix.signs.tolist()) <= {-1.0, 1.0}
    permutation = torch.eye(4, dtype=torch.float64)[mix.permutation]
    lower, upper = mix.lower.tril(-1) + torch.eye(4), mix.upper.triu(1)
    expected = permutation @ lower @ (upper + torch.diag(mix.signs * mix.log_scale.exp()))
    torch.testing.assert_close(mix.matrix(), expected)
    _, log_det = mix(torch.zeros(1, 4, 3, dtype=torch.float64))
    assert log_det.item() == pytest.approx(3 * mix.log_scale.sum().item())


def test_signs_of_the_factored_form_do_not_change() -> None:
    """However far training drives it, W keeps the sign of its determinant and stays invertible."""
    mix = _triangular()
    sign = torch.det(mix.matrix()).sign()
    for drive in (-1e3, 1e3):
        mix.log_scale.data.fill_(drive)
        assert torch.det(mix.matrix()).sign() == sign
        x, log_det = mix.inverse(_z())
        assert x.isfinite().all()
        assert log_det.abs().max().item() == pytest.approx(3 * 4 * 14)


def _turn_upper(mix: InvertibleConv1x1) -> None:
    mix.upper.data[0, 3] += 1


def _turn_lower(mix: InvertibleConv1x1) -> None:
    mix.lower.data = mix.lower.data * 2


def _turn_scale(mix: InvertibleConv1x1) -> None:
    with torch.no_grad():
        mix.log_scale.add_(1)


def _turn_sign(mix: InvertibleConv1x1) -> None:
    mix.signs.neg_()


def _load_factors(mix: InvertibleConv1x1) -> None:
    mix.load_state_dict(_triangular().state_dict())


@pytest.mark.parametrize(
    "change", [_turn_upper, _turn_lower, _turn_scale, _turn_sign, _load_factors, _single]
)
@each_mode
def test_the_factored_inverse_never_goes_stale(
    change: Callable[[InvertibleConv1x1], None], mode: Mode
) -> None:
    """Whichever factor is written, the next inverse is the new matrix's."""
    mix, z = _triangular(), _z()
    for _ in range(2):
        with mode():
            x, _ = mix.inverse(z.to(mix.lower.dtype))
        torch.testing.assert_close(mix.matrix().detach() @ x, z.to(x.dtype), rtol=0, atol=1e-4)
        change(mix)


def test_unknown_forms_are_refused() -> None:
    """There are two."""
    with pytest.raises(InvalidConfig, match="form"):
        InvertibleConv1x1(4, "qr")  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(InvalidConfig, match="channels"):
        InvertibleConv1x1(0)


def test_a_compiled_inverse_keeps_nothing() -> None:
    """A graph that cannot compare weights inverts the weights that it is given."""
    for mix, z in ((InvertibleConv1x1(4).double(), _z()), (_triangular(), _z())):
        with torch.no_grad():
            compiled = torch.compile(mix.inverse, fullgraph=True, backend="aot_eager")
            for _ in range(2):
                torch.testing.assert_close(compiled(z), mix.inverse(z), rtol=0, atol=1e-12)
                next(mix.parameters()).mul_(1.5)
