"""A reversible chain has the gradients of a stored one, in memory that does not grow with its length."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from tests.vocoder.laws import LAWS, Law, Pointwise, stirred
from vocoder.errors import InvalidInput
from vocoder.features import MelSpec
from vocoder.flows import (
    AdditiveCoupling,
    AffineCoupling,
    Chain,
    Flow,
    Inverse,
    InvertibleConv1x1,
    Reverse,
    Scale,
    Split,
    Squeezed,
    Swap,
    make_reversible,
)
from vocoder.models.waveglow import WaveGlow
from vocoder.models.waveglow_config import Front, WaveGlowConfig
from vocoder.nets.wavenet import WaveNet

SPEC = MelSpec(sample_rate=8000, n_fft=64, win_length=48, hop_length=16, n_mels=5, f_min=0.0, f_max=4000.0)
SHAPE = WaveGlowConfig(group=4, flows=4, early_every=2, early_size=1, channels=4, dilations=(1, 3))

both_directions = pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])
every_flow = pytest.mark.parametrize("law", LAWS, ids=str)


def step(channels: int = 6, net: nn.Module | None = None) -> list[Flow]:
    """A step of a flow: mixing, then a coupling of halves."""
    half = channels // 2
    return [InvertibleConv1x1(channels), AffineCoupling(net or Pointwise(half, channels), half, bound=1.0)]


def deep(steps: int, channels: int = 6) -> Chain:
    """A chain of so many steps, in float64, away from where they start."""
    return stirred(Chain([flow for _ in range(steps) for flow in step(channels)]).double(), 0.1)


def around(law: Law) -> Chain:
    """The law's flow between two others, each of the shape that it meets; first, if it is choosy."""
    flow = law.flow()
    z, _ = flow(law.x(), law.cond())
    first = [_mixing(law.x())] if law.draw is torch.randn else []
    return Chain([*first, flow, Reverse(), _mixing(z)]).double()


def _mixing(x: Tensor) -> Flow:
    channels = x.shape[1]
    mix = stirred(InvertibleConv1x1(channels), 0.1)
    return Squeezed(channels, mix) if x.ndim == 2 else mix


def gradients(
    flow: Callable[..., tuple[Tensor, Tensor]], wanted: Sequence[Tensor], *inputs: Tensor | None
) -> tuple[Tensor | None, ...]:
    """Those of a random function of both answers, the same function for the same shapes."""
    torch.manual_seed(5)
    y, log_det = flow(*inputs)
    loss = (y * torch.randn_like(y)).sum() + (log_det * torch.randn_like(log_det)).sum()
    return torch.autograd.grad(loss, wanted, allow_unused=True)


def assert_reversible(
    module: nn.Module, inverse: bool, x: Tensor, cond: Tensor | None, *more: Tensor
) -> None:
    """With and without storing, the same answer and the same gradients of everything, to 1e-10."""
    x = x.requires_grad_()
    wanted = [x, *module.parameters()] if cond is None else [x, cond.requires_grad_(), *module.parameters()]
    answers: list[tuple[Tensor, Tensor]] = []
    found: list[tuple[Tensor | None, ...]] = []
    for on in (False, True):
        make_reversible(module, on)
        direction = module.inverse if inverse else module
        assert callable(direction)
        answers.append(direction(x, cond, *more))
        found.append(gradients(direction, wanted, x, cond, *more))
    torch.testing.assert_close(answers[1], answers[0], rtol=0, atol=1e-10)
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in found[0])
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-10)


@every_flow
@both_directions
def test_gradients_are_those_of_the_stored_chain(law: Law, inverse: bool) -> None:
    """Every flow among others: data, conditioning and parameters have the gradients of stored activations."""
    chain, x, cond = around(law), law.x(), law.cond()
    start = torch.randn_like(chain(x, cond)[0]) if inverse else x
    assert_reversible(chain, inverse, start.detach(), cond)


@pytest.mark.parametrize("law", [law for law in LAWS if law.lengths and len(law.shape) == 3], ids=str)
@both_directions
def test_clips_of_unequal_length(law: Law, inverse: bool) -> None:
    """The lengths of a padded batch are known on the way back."""
    lengths = torch.tensor(law.lengths)
    inside = torch.arange(law.shape[-1]) < lengths[:, None, None]
    assert_reversible(around(law), inverse, law.x() * inside, law.cond(), lengths)


@pytest.mark.parametrize("front", get_args(Front))
@both_directions
def test_waveglow_with_early_outputs(front: Front, inverse: bool) -> None:
    """The whole model, nested chains, fronts and alternating halves: both terms of training are exact."""
    config = replace(SHAPE, front=front, halves="alternate")
    model = stirred(WaveGlow(config, SPEC).double(), 0.1)
    mel, audio = (torch.randn(2, *shape, dtype=torch.float64) for shape in ((SPEC.n_mels, 6), (96,)))
    assert_reversible(model, inverse, 0.1 * audio, mel - 4)
    assert_reversible(model, inverse, 0.1 * audio, mel - 4, torch.tensor([6, 4]))


@every_flow
def test_steps_compose_the_flow(law: Law) -> None:
    """A flow is the composition of its steps, and none of them has steps of its own."""
    flow, x, cond = law.flow(), law.x(), law.cond()
    z, total = x, torch.zeros(len(x), dtype=x.dtype)
    for part in flow.steps():
        assert len(part.steps()) == 1
        z, log_det = part(z, cond)
        total = total + log_det
    torch.testing.assert_close((z, total), flow(x, cond), rtol=0, atol=1e-12)


@both_directions
def test_containers_in_containers(inverse: bool) -> None:
    """However chains, splits and inverses nest, they are undone in the order in which they were done."""
    inner = Inverse(Chain([Swap(1), Inverse(Chain([*step(4), Reverse()])), *step(4)]))
    chain = Chain([Chain([Chain(step())]), Split(2, Chain([Chain([inner]), Split(2, Scale(2))])), *step()])
    assert_reversible(stirred(chain.double(), 0.1), inverse, torch.randn(2, 6, 4, dtype=torch.float64), None)


def test_finite_differences_agree() -> None:
    """The gradient is that of the function itself, whichever of the two answers it is asked of."""
    chain, cond = deep(2, 4), torch.randn(2, 2, 3, dtype=torch.float64, requires_grad=True)
    make_reversible(chain)
    x = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(chain, (x, cond))
    assert torch.autograd.gradcheck(chain.inverse, (x, cond))


@pytest.mark.parametrize("answer", [0, 1], ids=["z", "log_det"])
def test_one_answer_may_go_unused(answer: int) -> None:
    """A loss of z alone, or of log_det alone, leaves without gradient what a stored chain leaves so."""
    chain, found = Chain([*step(), AdditiveCoupling(Pointwise(3, 3), 3)]), []
    x = torch.randn(2, 6, 4, requires_grad=True)
    for on in (False, True):
        make_reversible(chain, on)
        loss = chain(x)[answer].square().sum()
        found.append(torch.autograd.grad(loss, [x, *chain.parameters()], allow_unused=True))
    assert [gradient is None for gradient in found[1]] == [gradient is None for gradient in found[0]]
    assert (None in found[0]) == (answer == 1)
    for ours, theirs in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(ours, theirs)


def test_only_what_requires_a_gradient_gets_one() -> None:
    """Frozen parameters, data and conditioning stay without, each for itself."""
    chain, cond = deep(2), torch.randn(2, 2, 4, dtype=torch.float64)
    x = torch.randn(2, 6, 4, dtype=torch.float64)
    make_reversible(chain)
    chain.flows[0].requires_grad_(False)
    sum(end.sum() for end in chain(x, cond)).backward()
    given = {name for name, parameter in chain.named_parameters() if parameter.grad is not None}
    assert given == {name for name, _ in chain.named_parameters() if not name.startswith("flows.0.")}
    chain.requires_grad_(False)
    assert not chain(x, cond)[0].requires_grad
    (gradient,) = torch.autograd.grad(chain(x, cond.requires_grad_())[0].sum(), [cond])
    assert gradient.abs().max() > 0


def test_a_parameter_of_two_members_and_of_others() -> None:
    """What several use gets the sum: two members, and a loss beside the chain."""
    shared, found = InvertibleConv1x1(6), []
    chain = stirred(Chain([shared, *step(), shared, Inverse(shared), *step()]).double(), 0.1)
    x = torch.randn(2, 6, 4, dtype=torch.float64)
    for on in (False, True):
        make_reversible(chain, on)
        loss = chain(x)[0].square().sum() + shared.weight.square().sum()
        found.append(torch.autograd.grad(loss, list(chain.parameters())))
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-10)


def test_a_kept_graph_gives_its_gradient_twice() -> None:
    """Nothing is used up by a backward pass but what autograd itself frees."""
    chain, x = deep(2), torch.randn(2, 6, 4, dtype=torch.float64, requires_grad=True)
    make_reversible(chain)
    loss = chain(x)[0].square().sum()
    (first,) = torch.autograd.grad(loss, [x], retain_graph=True)
    (second,) = torch.autograd.grad(loss, [x])
    assert torch.equal(first, second)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        loss.backward()


def test_hooks_of_tensors_fire_once() -> None:
    """Hooks on data, answer and parameters see the whole gradient, once, as autograd promises."""
    seen: list[tuple[str, Tensor]] = []
    chain, x = deep(2), torch.randn(2, 6, 4, dtype=torch.float64, requires_grad=True)
    shared = chain.flows[0]
    assert isinstance(shared, InvertibleConv1x1)
    chain.flows.append(shared)
    make_reversible(chain)
    x.register_hook(lambda grad: seen.append(("x", grad)))
    shared.weight.register_hook(lambda grad: seen.append(("weight", grad)))
    shared.weight.register_post_accumulate_grad_hook(lambda weight: seen.append(("kept", weight.grad)))
    z, _ = chain(x)
    z.register_hook(lambda grad: seen.append(("z", grad)))
    z.square().sum().backward()
    assert sorted(name for name, _ in seen) == ["kept", "weight", "x", "z"]
    torch.testing.assert_close(dict(seen)["weight"], shared.weight.grad)
    torch.testing.assert_close(dict(seen)["x"], x.grad)


@pytest.mark.parametrize("place", ["", "1", "1.conditioner", "2", "2.inner", "2.inner.flows.1"])
def test_backward_hooks_of_modules(place: str) -> None:
    """On the chain, a member, a network or a nested chain, it is called once, with the stored gradients."""
    chain = stirred(Chain([*step(), Split(2, Chain(step(4)))]).double(), 0.1)
    module = chain.get_submodule(f"flows.{place}" if place else "")
    x, seen = torch.randn(2, 6, 4, dtype=torch.float64, requires_grad=True), []
    module.register_full_backward_hook(lambda _, grad_in, grad_out: seen.append((grad_in[0], grad_out[0])))
    for on in (False, True):
        make_reversible(chain, on)
        gradients(chain, [x, *chain.parameters()], x)
    stored, rebuilt = seen
    torch.testing.assert_close(rebuilt, stored, rtol=0, atol=1e-10)


def test_mixed_precision() -> None:
    """Under autocast the networks round as they did, and the gradients are those of the same precision."""
    chain, x, cond = deep(4).float(), torch.randn(2, 6, 32), torch.randn(2, 2, 32, requires_grad=True)
    wanted, answers, found = [cond, *chain.parameters()], [], []
    for on in (False, True):
        make_reversible(chain, on)
        with torch.autocast("cpu", torch.bfloat16):
            z, log_det = chain(x, cond)
        assert z.dtype == torch.float32
        answers.append(z)
        gradients = torch.autograd.grad(z.square().mean() + log_det.mean(), wanted)
        found.append(torch.cat([gradient.flatten() for gradient in gradients]))
    assert torch.equal(*answers)
    assert (found[1] - found[0]).norm() < 0.01 * found[0].norm()
    assert not torch.allclose(chain(x, cond)[0], answers[0], atol=1e-4)  # it was indeed another precision


@pytest.mark.parametrize("precise", [False, True])
def test_the_precision_of_the_backward_pass_does_not_count(precise: bool) -> None:
    """What is repeated is repeated in the precision of the call, wherever the backward pass is started."""
    chain, x, found = deep(2).float(), torch.randn(2, 6, 8), []
    make_reversible(chain)
    for autocast in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=not precise):
            loss = chain(x)[0].square().sum()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            found.append(torch.autograd.grad(loss, list(chain.parameters())))
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)


def test_autocast_keeps_no_cast_without_a_gradient() -> None:
    """Weights that a reversible chain has cast still get gradients from a stored use in the same region."""
    chain, x = deep(1).float(), torch.randn(2, 6, 8)
    with torch.autocast("cpu", torch.bfloat16):
        make_reversible(chain)
        chain(x)
        make_reversible(chain, False)
        loss = chain(x)[0].sum()
    assert all(gradient is not None for gradient in torch.autograd.grad(loss, list(chain.parameters())))


def saved_bytes(call: Callable[[], Sequence[Tensor]], parameters: Iterator[nn.Parameter]) -> int:
    """Bytes of distinct memory that the graph of a call keeps, parameters not counted."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        ends = call()
    assert all(end.requires_grad for end in ends)
    for parameter in parameters:
        kept.pop(parameter.untyped_storage().data_ptr(), None)
    return sum(kept.values())


@both_directions
def test_saved_bytes_are_flat_in_depth(inverse: bool) -> None:
    """At 4 … 32 steps a reversible chain keeps its output and cond; what a stored one keeps grows."""
    x, cond = torch.randn(2, 8, 64), torch.randn(2, 3, 64)
    sizes: dict[bool, list[int]] = {False: [], True: []}
    for depth in (4, 8, 16, 32):
        nets = [WaveNet(4, 8, 3, channels=6, dilations=(1, 2)) for _ in range(depth)]
        chain = Chain([flow for net in nets for flow in step(8, net)])
        for on in (False, True):
            make_reversible(chain, on)
            direction = chain.inverse if inverse else chain
            sizes[on].append(saved_bytes(lambda d=direction: d(x, cond), chain.parameters()))  # type: ignore[misc]
    assert set(sizes[True]) == {4 * (x.numel() + cond.numel())}
    assert sizes[False][3] > 7 * sizes[False][0]
    assert sizes[False][0] > 10 * sizes[True][0]


class Held:
    """A saved tensor that counts itself among those alive."""

    alive, most = 0, 0

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.size = tensor.detach(), tensor.nbytes  # itself would never be let go
        Held.alive += self.size
        Held.most = max(Held.most, Held.alive)

    def __del__(self) -> None:
        Held.alive -= self.size


def test_the_backward_pass_holds_one_member_at_a_time() -> None:
    """The most that is saved at any moment, graphs of the repetitions included, does not grow with depth."""
    most = []
    for depth in (4, 32):
        nested = Split(2, Chain([flow for _ in range(depth) for flow in step(6)]))
        chain = stirred(Chain([nested, InvertibleConv1x1(8)]), 0.1)
        make_reversible(chain)
        Held.most = Held.alive
        with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
            chain(torch.randn(2, 8, 64))[0].sum().backward()
        most.append(Held.most)
    assert most[1] == most[0] > 0


def test_it_frees_and_changes_nothing_of_others() -> None:
    """Data, conditioning and an in-place ReLU's result before the chain are as they were, to the last bit."""
    chain, cond = deep(2), torch.randn(2, 2, 4, dtype=torch.float64)
    make_reversible(chain)
    source = torch.randn(2, 6, 4, dtype=torch.float64, requires_grad=True)
    x = torch.relu_(source * 2)
    before = [tensor.detach().clone() for tensor in (source, x, cond, *chain.state_dict().values())]
    z, _ = chain(x, cond)
    answer = z.detach().clone()
    z.sum().backward()
    after = [source, x, cond, *chain.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))
    assert torch.equal(z, answer)
    assert source.grad is not None
    assert torch.equal(source.grad != 0, source > 0)


def test_without_gradients_nothing_is_different() -> None:
    """Under no_grad, and in a state dict, a reversible chain is a chain, and it can be switched back."""
    chain, x = deep(2), torch.randn(2, 6, 4, dtype=torch.float64)
    names = list(chain.state_dict())
    with torch.no_grad():
        expected = chain(x)
        make_reversible(chain)
        assert all(torch.equal(a, b) for a, b in zip(chain(x), expected, strict=True))
    assert list(chain.state_dict()) == names
    assert "Reversible" in type(chain(x)[0].grad_fn).__name__
    make_reversible(chain, False)
    assert "Reversible" not in type(chain(x)[0].grad_fn).__name__


def test_an_empty_chain_is_the_identity() -> None:
    """With nothing to undo, the data pass with their gradient."""
    chain, x = Chain([Chain([]), Inverse(Chain([]))]), torch.randn(2, 3, requires_grad=True)
    make_reversible(chain)
    assert_reversible(Chain([chain, Swap(1)]), False, x.detach(), None)
    z, log_det = chain(x)
    assert torch.equal(z, x)
    assert torch.equal(log_det, torch.zeros(2))


def test_single_precision_drifts_by_rounding_only() -> None:
    """Rebuilt through 32 steps of well-conditioned maps, float32 gradients are right to five digits."""
    chain, x = deep(16).float(), torch.randn(2, 6, 64, requires_grad=True)
    wanted = [x, *chain.parameters()]
    stored = gradients(chain, wanted, x)
    make_reversible(chain)
    for ours, theirs in zip(gradients(chain, wanted, x), stored, strict=True):
        assert ours is not None
        assert theirs is not None
        assert (ours - theirs).norm() < 1e-4 * theirs.norm()


def test_no_second_derivative() -> None:
    """Asking for a graph of the gradient is refused in words, not answered with zeros."""
    chain, x = deep(1), torch.randn(2, 6, 4, dtype=torch.float64, requires_grad=True)
    make_reversible(chain)
    with pytest.raises(InvalidInput, match="second derivative"):
        torch.autograd.grad(chain(x)[0].sum(), [x], create_graph=True)


def test_an_answer_changed_in_place_is_detected() -> None:
    """The one tensor that is kept is guarded by autograd as any other."""
    chain, x = deep(1), torch.randn(2, 6, 4, dtype=torch.float64, requires_grad=True)
    make_reversible(chain)
    z, _ = chain(x)
    z.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.vocoder.flows.test_reversible import one_of_two
one_of_two(1, sys.argv[2])
"""


def gradients_of_a_batch(
    wrap: Callable[[nn.Module], nn.Module], part: int, parts: int
) -> tuple[dict[str, Tensor], list[Tensor | None]]:
    """The weights and the gradients of a chain after one of the equal parts of a batch of four."""
    torch.manual_seed(1)
    chain = Chain([*step(), Split(2, Chain(step(4)))]).double()
    make_reversible(chain)
    x = torch.randn(4, 6, 8, dtype=torch.float64).chunk(parts)[part]
    wrapped = wrap(chain)
    z, log_det = wrapped(x)
    (z.square().sum((1, 2)) - log_det).mean().backward()
    return chain.state_dict(), [parameter.grad for parameter in chain.parameters()]


def one_of_two(rank: int, store: str) -> tuple[dict[str, Tensor], list[Tensor | None]]:
    """What this process, one of two that meet in a file, has in the end."""
    patience = timedelta(seconds=100)
    distributed.init_process_group("gloo", f"file://{store}", patience, world_size=2, rank=rank)
    try:
        return gradients_of_a_batch(DistributedDataParallel, rank, 2)
    finally:
        distributed.destroy_process_group()


@pytest.mark.timeout(120)
def test_two_processes_share_one_gradient(tmp_path: Path) -> None:
    """Under DistributedDataParallel, each has the gradient that one process has of the whole batch."""
    (tmp_path / "program.py").write_text(PROGRAM)
    root = Path(__file__).parents[3]
    command = [sys.executable, str(tmp_path / "program.py"), str(root), str(tmp_path / "store")]
    with subprocess.Popen(command, cwd=root) as other:
        shared = one_of_two(0, str(tmp_path / "store"))
    assert other.returncode == 0
    alone = gradients_of_a_batch(lambda chain: chain, 0, 1)
    torch.testing.assert_close(shared, alone, rtol=0, atol=1e-10)
    half = gradients_of_a_batch(lambda chain: chain, 0, 2)
    assert not torch.allclose(shared[1][0], half[1][0])  # type: ignore[arg-type]  # it is no None, as seen above
