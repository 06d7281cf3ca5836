"""Normalisation: by the first batch and never again, or by every batch and back by what was kept of them."""

import copy
import math
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from tests.vocoder.flows.test_reversible import saved_bytes
from tests.vocoder.laws import Convolutions, stirred
from vocoder.errors import InvalidConfig, InvalidInput
from vocoder.flows import (
    ActNorm,
    AffineCoupling,
    BatchNorm,
    Chain,
    Checkerboard,
    Flow,
    Inverse,
    InvertibleConv1x1,
    LogisticPrior,
    Logit,
    Scale,
    Split,
    Squeezed2d,
    Trailing,
    make_reversible,
)

Mode = Callable[[], AbstractContextManager[None]]
SHAPES = [(16, 3), (8, 3, 5), (4, 3, 2, 4)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
either = pytest.mark.parametrize("running", [False, True], ids=["batch", "running"])
both_directions = pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])


def data(*shape: int) -> Tensor:
    """Channels of mean −2, 1, 4 … and deviation 0.1, 1.1, 2.1 …, in float64."""
    channel = torch.arange(shape[1], dtype=torch.float64).view(-1, *[1] * (len(shape) - 2))
    return (0.1 + channel) * torch.randn(shape, dtype=torch.float64) + 3 * channel - 2


def by_channel(x: Tensor) -> Tensor:
    """`[B, C, …]` as `[C, everything else]`."""
    return x.transpose(0, 1).flatten(1)


def _initialised(*shape: int) -> ActNorm:
    norm = ActNorm(shape[1]).double()
    norm.initialise(data(*shape))
    return norm


@every_shape
def test_the_first_batch_comes_out_normal(shape: tuple[int, ...]) -> None:
    """Mean 0 and variance 1 of every channel, to 1e-6, and the next batch goes through the same map."""
    norm, x = ActNorm(shape[1]).double(), data(*shape)
    z, log_det = norm(x)
    torch.testing.assert_close(by_channel(z).mean(1), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-6)
    torch.testing.assert_close(by_channel(z).var(1, correction=0), torch.ones(3).double(), rtol=0, atol=1e-6)
    volume = -by_channel(x).std(1, correction=0).log().sum() * math.prod(shape[2:])
    torch.testing.assert_close(log_det, volume.expand(shape[0]))
    assert norm.initialised
    torch.testing.assert_close(norm(3 * x)[0] - norm(2 * x)[0], norm(x)[0] - norm(0 * x)[0])


def test_in_single_precision_too() -> None:
    """Float32 has the digits for 1e-6 where mean and deviation are of one size."""
    z, _ = ActNorm(4)(1 + torch.randn(64, 4, 8))
    assert by_channel(z).mean(1).abs().max() < 1e-6
    assert (by_channel(z).var(1, correction=0) - 1).abs().max() < 1e-6


@every_shape
def test_it_is_the_map_of_glows_code(shape: tuple[int, ...]) -> None:
    """z = (x + b) · exp(3 · logs), Σ 3 · logs for every position: a re-derivation in NumPy."""
    norm, x = stirred(_initialised(*shape)), data(*shape)
    b, logs = (p.detach().numpy().reshape(-1, *[1] * (len(shape) - 2)) for p in (norm.bias, norm.log_scale))
    z, log_det = norm(x)
    np.testing.assert_allclose(z.detach().numpy(), (x.numpy() + b) * np.exp(3 * logs), rtol=1e-12)
    np.testing.assert_allclose(log_det.detach().numpy(), 3 * logs.sum() * math.prod(shape[2:]), rtol=1e-12)


def test_padding_is_no_data() -> None:
    """Moments are those of the items within their lengths, and what is behind them stays zero."""
    x, lengths = data(3, 2, 6), torch.tensor([2, 6, 3])
    inside = torch.arange(6) < lengths[:, None]
    x = x * inside[:, None]
    z, _ = ActNorm(2).double()(x, None, lengths)
    within = z.transpose(1, 2)[inside]
    assert within.mean(0).abs().max() < 1e-12
    assert (within.var(0, correction=0) - 1).abs().max() < 1e-12
    assert not z.transpose(1, 2)[~inside].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("level", [0.0, 1 / 3, -1e4])
def test_a_constant_channel_keeps_its_scale(dtype: torch.dtype, level: float) -> None:
    """It is centred and not magnified: the next batch, in which it does vary, comes out as it is."""
    norm = ActNorm(2).to(dtype)
    x = torch.randn(40, 2, 7, dtype=dtype)
    x[:, 1] = level
    z, log_det = norm(x)
    assert z.isfinite().all() and log_det.isfinite().all()
    assert z[:, 1].abs().max() <= 1e-6 * abs(level)
    assert norm.log_scale[1] == 0
    torch.testing.assert_close(norm.inverse(z)[0], x)


def test_rounding_is_no_variation() -> None:
    """A channel that differs from itself by its last digit is constant too."""
    norm, x = ActNorm(1), torch.full((8, 1, 4), 1000.0)
    x[::2] += 2**-14
    assert 0 < x.double().std() < 1e-4
    norm(x)
    assert norm.log_scale.item() == 0


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1), (1, 3, 4, 4)], ids=str)
def test_a_batch_of_one(shape: tuple[int, ...]) -> None:
    """One vector says where it is and not how it varies; one image says both."""
    norm, x = ActNorm(3).double(), data(*shape)
    z, log_det = norm(x)
    assert z.isfinite().all() and log_det.isfinite().all()
    assert by_channel(z).mean(1).abs().max() < 1e-12
    if x.numel() == 3:
        assert log_det.item() == 0


def test_a_nearly_constant_channel_is_magnified_within_reason() -> None:
    """By e⁷ at most: the first batch decides no more than half of the bound."""
    norm = ActNorm(1).double()
    z, _ = norm(1e-5 * torch.randn(1000, 1, dtype=torch.float64))
    assert z.std().item() == pytest.approx(1e-5 * math.exp(7), rel=0.1)


def test_an_inverse_cannot_explode() -> None:
    """Driven anywhere, the log-scale is itself up to half the bound and nears the bound from there."""
    norm = ActNorm(5, factor=1.0, bound=4.0).double().eval()
    raw = torch.tensor([-1e6, -1.9, 0.5, 3.0, 1e6], dtype=torch.float64)
    norm.log_scale.data = raw
    for direction, sign in ((norm, 1), (norm.inverse, -1)):
        log_s = sign * direction(torch.ones(1, 5, dtype=torch.float64))[0].log().flatten()
        torch.testing.assert_close(log_s[1:3], raw[1:3])
        torch.testing.assert_close(log_s[[0, 4]], torch.tensor([-4.0, 4.0], dtype=torch.float64))
        assert log_s[3].item() == pytest.approx(2 + 2 * math.tanh(0.5))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_first_batch_may_come_without_gradients(mode: Mode) -> None:
    """Initialised in any mode, it trains afterwards, from there."""
    norm, x = ActNorm(3).double(), data(16, 3)
    with mode():
        first, _ = norm(x)
    z, log_det = norm(x)
    torch.testing.assert_close(z, first.clone())
    (z.square().sum() + log_det.sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in norm.parameters())


@pytest.mark.parametrize("direction", ["eval", "inverse"])
def test_nobody_else_initialises(direction: str) -> None:
    """Evaluation and sampling before the first training batch are the identity, and leave it to be made."""
    norm, x = ActNorm(3).double(), data(16, 3)
    norm.train(direction == "inverse")
    z, log_det = norm.inverse(x) if direction == "inverse" else norm(x)
    assert torch.equal(z, x)
    assert not log_det.any()
    assert not norm.initialised
    assert by_channel(norm.train()(x)[0]).mean(1).abs().max() < 1e-12


def test_a_loaded_norm_is_not_initialised_again() -> None:
    """Neither after a strict load into a new module, nor in a copy."""
    norm = stirred(_initialised(16, 3))
    fresh = ActNorm(3).double()
    fresh.load_state_dict({name: value.clone() for name, value in norm.state_dict().items()})
    for other in (fresh, copy.deepcopy(norm)):
        other.train()(5 * data(16, 3))
        torch.testing.assert_close(dict(other.named_parameters()), dict(norm.named_parameters()))
    assert set(norm.state_dict()) == {"bias", "log_scale", "initialised"}


def test_a_flag_written_by_others_is_seen() -> None:
    """An average of weights copies tensors one by one, flag included, and loads nothing."""
    norm, other = stirred(_initialised(16, 3)), ActNorm(3).double()
    with torch.no_grad():
        for name, value in other.state_dict(keep_vars=True).items():
            value.copy_(norm.state_dict()[name])
    x = data(16, 3)
    assert torch.equal(other(x)[0], norm(x)[0])


def test_a_loaded_beginner_begins() -> None:
    """The state of a norm that has seen nothing makes one of one that has."""
    norm, x = _initialised(16, 3), 5 * data(16, 3)
    norm.load_state_dict(ActNorm(3).state_dict())
    assert (by_channel(norm(x)[0]).var(1, correction=0) - 1).abs().max() < 1e-6


def test_initialise_starts_over() -> None:
    """Asked for by name, it is done, whatever was before, and in evaluation too."""
    norm, x = _initialised(16, 3).eval(), 5 * data(16, 3)
    norm.initialise(x)
    assert (by_channel(norm(x)[0]).var(1, correction=0) - 1).abs().max() < 1e-6


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_what_is_not_finite_initialises_nothing(value: float) -> None:
    """One NaN in the first batch would stay in the weights: refused, and the next batch is the first."""
    norm, x = ActNorm(3).double(), data(16, 3)
    broken = x.clone()
    broken[3, 1] = value
    with pytest.raises(InvalidInput, match="finite"):
        norm(broken)
    assert not norm.initialised
    assert by_channel(norm(x)[0]).mean(1).abs().max() < 1e-12


def test_lent_parameters_are_left_alone() -> None:
    """Through `functional_call` an initialised norm uses the tensors that it is handed, and writes none."""
    norm, x = _initialised(16, 3), data(16, 3)
    lent = {name: value.detach() + 1 for name, value in norm.named_parameters()}
    before = {name: value.clone() for name, value in lent.items()}
    z, _ = torch.func.functional_call(norm, lent, (x,))
    assert not torch.allclose(z, norm(x)[0])
    torch.testing.assert_close(lent, before, rtol=0, atol=0)


@pytest.mark.parametrize("kind", [ActNorm, BatchNorm])
def test_other_channels_are_refused(kind: type[ActNorm] | type[BatchNorm]) -> None:
    """Two channels do not go through a norm of three, in either direction; nor do lengths of an image."""
    norm = kind(3)
    for direction in (norm, norm.inverse):
        with pytest.raises(InvalidInput, match=r"\[B, 3, …\]"):
            direction(torch.zeros(4, 2, 3))
        with pytest.raises(InvalidInput, match="lengths"):
            direction(torch.zeros(4, 3, 2, 2), None, torch.tensor([1, 2, 1, 2]))


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda: ActNorm(0), "channels"),
        (lambda: ActNorm(2, factor=0.0), "factor"),
        (lambda: ActNorm(2, bound=math.nan), "bound"),
        (lambda: BatchNorm(0), "channels"),
        (lambda: BatchNorm(2, momentum=0.0), "momentum"),
        (lambda: BatchNorm(2, momentum=1.5), "momentum"),
        (lambda: BatchNorm(2, eps=0.0), "eps"),
    ],
)
def test_impossible_norms_are_refused(build: Callable[[], Flow], name: str) -> None:
    """The name of the argument is in the message."""
    with pytest.raises(InvalidConfig, match=name):
        build()


@every_shape
def test_a_batch_is_normalised_by_itself(shape: tuple[int, ...]) -> None:
    """In training: torch's batch norm without weights, and −½ Σ ln(σ² + ε) for every position."""
    norm, x = BatchNorm(3).double(), data(*shape)
    z, log_det = norm(x)
    torch.testing.assert_close(z, F.batch_norm(x, None, None, training=True, eps=1e-4))
    volume = -0.5 * (by_channel(x).var(1, correction=0) + 1e-4).log().sum() * math.prod(shape[2:])
    torch.testing.assert_close(log_det, volume.expand(shape[0]))


@every_shape
def test_gradients_flow_through_the_moments(shape: tuple[int, ...]) -> None:
    """Those of torch's batch norm, and of the volume, by finite differences."""
    norm, x = BatchNorm(3).double(), data(*shape).requires_grad_()
    weight = torch.randn(shape, dtype=torch.float64)
    expected = F.batch_norm(x, None, None, training=True, eps=1e-4)
    ours, theirs = (torch.autograd.grad((weight * z).sum(), [x]) for z in (norm(x)[0], expected))
    torch.testing.assert_close(ours, theirs)
    assert torch.autograd.gradcheck(lambda x: norm(x)[1], [x])


def test_averages_run() -> None:
    """The first batch counts whole, the second half, the k-th 1/k, until that is less than the momentum."""
    norm, mean, var = BatchNorm(2, momentum=0.4).double(), torch.zeros(2), torch.ones(2)
    for k in (1, 2, 3, 4):
        x, weight = k * data(6, 2, 5), max(0.4, 1 / k)
        norm(x)
        mean = (1 - weight) * mean + weight * by_channel(x).mean(1)
        var = (1 - weight) * var + weight * by_channel(x).var(1, correction=0)
        torch.testing.assert_close((norm.mean, norm.var), (mean, var))
    assert norm.batches == 4
    assert set(norm.state_dict()) == {"mean", "var", "batches"}


@either
def test_evaluation_uses_the_averages_and_keeps_them(running: bool) -> None:
    """Then an item is on its own, both directions undo each other, and nothing is written."""
    norm, x = BatchNorm(3, running=running).double(), data(8, 3, 5)
    norm(2 * x)
    norm.eval()
    before = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    z, log_det = norm(x)
    std = (norm.var + 1e-4).sqrt()
    torch.testing.assert_close(z, (x - norm.mean[:, None]) / std[:, None])
    torch.testing.assert_close(log_det, (-5 * std.log().sum()).expand(8))
    back, inverse_log_det = norm.inverse(z)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(inverse_log_det, -log_det)
    torch.testing.assert_close(dict(norm.named_buffers()), before, rtol=0, atol=0)


def test_a_draw_depends_on_no_batch() -> None:
    """In training, too, `inverse` is that of evaluation, and moves no average."""
    norm, z = BatchNorm(3).double(), torch.randn(4, 3, 5, dtype=torch.float64)
    for scale in (1, 2, 3):
        norm(scale * data(8, 3, 5))
    state = {name: value.clone() for name, value in norm.state_dict().items()}
    drawn, log_det = norm.inverse(z)
    torch.testing.assert_close(norm.state_dict(), state, rtol=0, atol=0)
    expected, expected_log_det = norm.eval().inverse(z)
    assert torch.equal(drawn, expected)
    assert torch.equal(log_det, expected_log_det)


def test_a_small_batch_may_lean_on_the_averages() -> None:
    """With `running`, it is normalised by the averages right after they moved, which appendix E proposes."""
    norm = BatchNorm(3, momentum=0.1, running=True).double()
    for _ in range(20):
        norm(data(64, 3))
    mean, var = norm.mean.clone(), norm.var.clone()
    x = data(2, 3).requires_grad_()
    z, log_det = norm(x)
    mean = 0.9 * mean + 0.1 * x.mean(0)
    std = (0.9 * var + 0.1 * x.var(0, correction=0) + 1e-4).sqrt()
    torch.testing.assert_close(z, (x - mean) / std)
    torch.testing.assert_close(log_det, -std.log().sum().expand(2))
    weight = torch.randn(2, 3, dtype=torch.float64)
    ours, theirs = (
        torch.autograd.grad((weight * y).sum() + volume, [x], retain_graph=True)[0]
        for y, volume in ((z, log_det[0]), ((x - mean) / std, -std.log().sum()))
    )
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(norm.inverse(z)[0], x)  # still in training: these are the averages


@either
def test_batches_that_do_not_vary(running: bool) -> None:
    """One vector, or a constant channel, is magnified by 1/√ε at most, and stays finite."""
    norm, x = BatchNorm(3, running=running).double(), data(1, 3)
    z, log_det = norm(x)
    assert z.abs().max() < 1e-9
    assert log_det.item() == pytest.approx(3 * 0.5 * math.log(1e4))
    assert norm(x + 1)[0].isfinite().all()


@either
def test_padding_moves_no_average(running: bool) -> None:
    """With lengths, moments are those of what is within them, and padding stays zero."""
    x, lengths = data(3, 2, 6), torch.tensor([2, 6, 3])
    inside = torch.arange(6) < lengths[:, None]
    norm, other = (BatchNorm(2, running=running).double() for _ in range(2))
    z, log_det = norm(x * inside[:, None], None, lengths)
    whole, _ = other(x.transpose(1, 2)[inside])  # the same numbers, as a batch of vectors
    torch.testing.assert_close(norm.state_dict(), other.state_dict())
    torch.testing.assert_close(z.transpose(1, 2)[inside], whole)
    assert not z.transpose(1, 2)[~inside].any()
    assert (log_det / lengths).tolist() == pytest.approx([log_det[1].item() / 6] * 3)


def _normed(running: bool) -> Chain:
    """Norms of both kinds among other flows, nested and turned round, in float64."""
    shared = BatchNorm(4, running=running)
    flows: list[Flow] = [ActNorm(4), InvertibleConv1x1(4, "plu"), shared]
    flows += [Inverse(BatchNorm(4, running=running)), Split(Trailing(2), BatchNorm(2, running=running))]
    flows += [AffineCoupling(Convolutions(4, 8), Checkerboard(odd=True), scale="tanh", gain=0.5), shared]
    return stirred(Chain(flows).double(), 0.1)


@either
@both_directions
def test_reversible_training_is_exact(running: bool, inverse: bool) -> None:
    """Undone with the moments of the very call, the first included: all is as in a stored chain."""
    answers, found, buffers = [], [], []
    x, z = (torch.randn(4, 4, 2, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    for on in (False, True):
        torch.manual_seed(7)
        chain = _normed(running)
        make_reversible(chain, on)
        wanted = [x, *chain.parameters()]
        calls = [chain(3 * x + 1), chain.inverse(x) if inverse else chain(x), chain(z)]
        loss = sum(y.square().sum() + log_det.square().sum() for y, log_det in calls)
        answers.append(calls[1])
        found.append(torch.autograd.grad(loss, wanted, retain_graph=True))
        found.append(torch.autograd.grad(loss, wanted))
        buffers.append(dict(chain.named_buffers()))
    torch.testing.assert_close(answers[1], answers[0], rtol=0, atol=1e-10)
    torch.testing.assert_close(buffers[1], buffers[0], rtol=0, atol=1e-12)
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-9, atol=1e-9)


@either
def test_saved_bytes_are_flat_in_depth(running: bool) -> None:
    """Norms add nothing to what a reversible chain keeps, however many there are."""
    x, sizes = torch.randn(4, 4, 8), []
    for depth in (2, 16):
        steps = [[ActNorm(4), BatchNorm(4, running=running), InvertibleConv1x1(4)] for _ in range(depth)]
        chain = Chain([flow for step in steps for flow in step])
        make_reversible(chain)
        sizes.append(saved_bytes(lambda chain=chain: chain(x), chain.parameters()))  # type: ignore[misc]
    assert sizes == [4 * x.numel()] * 2


@pytest.mark.parametrize("training", [True, False])
def test_a_whole_model_compiles(training: bool) -> None:
    """Once initialised, everything in this house is one graph: both directions, gradients, averages."""
    torch.manual_seed(2)
    inner = Chain([ActNorm(8), InvertibleConv1x1(8, "plu"), Split(Trailing(4), BatchNorm(4)), Scale(8)])
    coupling = AffineCoupling(Convolutions(2, 4), Checkerboard(odd=False), scale="tanh", bound=2.0)
    chain = Chain([Logit(), coupling, BatchNorm(2, running=True), Squeezed2d(inner, ordered=True)]).double()
    chain(torch.rand(4, 2, 4, 4, dtype=torch.float64))
    other = copy.deepcopy(stirred(chain, 0.1).train(training))
    x = torch.rand(4, 2, 4, 4, dtype=torch.float64)

    def nats(chain: Chain, x: Tensor) -> Tensor:
        z, log_det = chain(x)
        return LogisticPrior().log_prob(z) + log_det

    compiled = torch.compile(nats, fullgraph=True, backend="aot_eager")
    found = []
    for function, of in ((nats, chain), (compiled, other)):
        loss = function(of, x)
        found.append([loss, *torch.autograd.grad(loss.sum(), list(of.parameters()))])
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(dict(other.named_buffers()), dict(chain.named_buffers()))
    back = torch.compile(other.inverse, fullgraph=True, backend="aot_eager")
    z = torch.randn(4, 2, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(back(z), chain.inverse(z))


def test_a_loaded_norm_compiles_at_once() -> None:
    """From a checkpoint to a graph without a call in between; uncompiled parts may still be initialised."""
    norm = ActNorm(3).double()
    norm.load_state_dict(_initialised(16, 3).state_dict())
    x = data(16, 3)
    compiled = torch.compile(norm, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), norm(x))


PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.vocoder.flows.test_norm import one_of_two
one_of_two(1, sys.argv[2])
"""


def after_a_batch(wrap: Callable[[nn.Module], nn.Module], x: Tensor) -> dict[str, Tensor]:
    """The state of a chain of norms, and its gradients, after its first batch."""
    torch.manual_seed(1)
    chain = Chain([InvertibleConv1x1(3), ActNorm(3), InvertibleConv1x1(3), ActNorm(3)]).double()
    wrapped = wrap(chain)
    z, log_det = wrapped(x)
    (z.pow(4).sum(1) - log_det).mean().backward()
    gradients = {f"{name}.grad": p.grad for name, p in chain.named_parameters() if p.grad is not None}
    return {**chain.state_dict(), **gradients}


def one_of_two(rank: int, store: str) -> dict[str, Tensor]:
    """What this process, one of two that meet in a file, has after its half of a batch of eight."""
    patience = timedelta(seconds=100)
    distributed.init_process_group("gloo", f"file://{store}", patience, world_size=2, rank=rank)
    try:
        torch.manual_seed(3)
        return after_a_batch(DistributedDataParallel, data(8, 3).chunk(2)[rank])
    finally:
        distributed.destroy_process_group()


@pytest.mark.timeout(120)
def test_two_processes_start_equal(tmp_path: Path) -> None:
    """Each sees half of the first batch, and both start as one process does that sees all of it."""
    (tmp_path / "program.py").write_text(PROGRAM)
    root = Path(__file__).parents[3]
    command = [sys.executable, str(tmp_path / "program.py"), str(root), str(tmp_path / "store")]
    with subprocess.Popen(command, cwd=root) as other:
        shared = one_of_two(0, str(tmp_path / "store"))
    assert other.returncode == 0
    torch.manual_seed(3)
    x = data(8, 3)
    alone = after_a_batch(lambda chain: chain, x)
    torch.testing.assert_close(shared, alone, rtol=0, atol=1e-10)
    half = after_a_batch(lambda chain: chain, x[:4])
    assert not torch.allclose(half["flows.1.bias"], shared["flows.1.bias"])


def test_undoing_a_call_initialises_nothing() -> None:
    """A reversible chain undoes an inverse by a forward in training, which is not the first look at data."""
    chain = Chain([ActNorm(3), InvertibleConv1x1(3)]).double()
    make_reversible(chain)
    z = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    x, log_det = chain.inverse(z)
    (x.sum() + log_det.sum()).backward()
    norm = next(iter(chain))
    assert isinstance(norm, ActNorm)
    assert not norm.initialised
    assert not norm.bias.any() and not norm.log_scale.any()
