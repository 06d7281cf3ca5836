"""What a member draws, counts or remembers is, when its call is repeated, as it was in the call."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from tests.vocoder.flows.test_reversible import assert_reversible, deep, gradients, step
from tests.vocoder.laws import Pointwise, stirred
from vocoder.errors import InvalidInput
from vocoder.flows import AffineCoupling, Chain, Flow, Inverse, InvertibleConv1x1, Split, make_reversible
from vocoder.flows.flow import zero_log_det

both_directions = pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])


class Through(nn.Module):
    """A conditioner of two convolutions with something between them."""

    def __init__(self, between: nn.Module) -> None:
        super().__init__()
        self.first, self.between, self.last = nn.Conv1d(3, 8, 1), between, nn.Conv1d(8, 6, 1)

    def forward(self, x: Tensor, cond: Tensor | None, lengths: Tensor | None = None) -> Tensor:
        """`[B, 3, S]` → `[B, 6, S]`."""
        return self.last(self.between(torch.tanh(self.first(x))))


class Noisy(nn.Module):
    """Noise from its own generator."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator()

    def forward(self, x: Tensor) -> Tensor:
        """`x`, with that noise."""
        return x + torch.randn(x.shape, dtype=x.dtype, generator=self.generator)


def chain_of(*between: nn.Module) -> Chain:
    """A chain whose networks have these in their middle, in float64."""
    return stirred(Chain([flow for module in between for flow in step(6, Through(module))]).double())


def data() -> Tensor:
    """A batch `[4, 6, 5]`."""
    return torch.randn(4, 6, 5, dtype=torch.float64)


@both_directions
def test_dropout_drops_the_same_again(inverse: bool) -> None:
    """Masks are those of the call, and the caller's random numbers go on as if nothing was repeated."""
    chain = chain_of(nn.Dropout(0.5), nn.Tanh(), nn.Dropout(0.3))
    x, wanted, found, following = data(), list(chain.parameters()), [], []
    for on in (False, True):
        make_reversible(chain, on)
        found.append(gradients(chain.inverse if inverse else chain, wanted, x))
        following.append(torch.rand(3))
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-10)
    torch.testing.assert_close(following[1], following[0], rtol=0, atol=0)
    assert gradients(chain.eval(), wanted, x)[0] is not None
    assert not torch.equal(gradients(chain.eval(), wanted, x)[0], found[0][0])  # type: ignore[arg-type]


@both_directions
def test_a_batch_norm_keeps_its_moments_and_counts_once(inverse: bool) -> None:
    """A network's batch norm takes its batch's moments in every repetition, and counts them once."""
    chains = [chain_of(nn.BatchNorm1d(8), nn.BatchNorm1d(8)) for _ in range(2)]
    chains[1].load_state_dict(chains[0].state_dict())
    make_reversible(chains[1])
    directions = [chain.inverse if inverse else chain for chain in chains]
    x, wanted = data(), [list(chain.parameters()) for chain in chains]
    found = [gradients(direction, of, x) for direction, of in zip(directions, wanted, strict=True)]
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-10)
    stored, rebuilt = (dict(chain.named_buffers()) for chain in chains)
    torch.testing.assert_close(rebuilt, stored, rtol=0, atol=1e-12)
    assert [int(count) for name, count in rebuilt.items() if name.endswith("tracked")] == [1, 1]
    for chain in chains:
        assert_reversible(chain.eval(), inverse, x.clone(), None)


@pytest.mark.parametrize("reform", [parametrizations.spectral_norm, parametrizations.weight_norm])
def test_reparametrised_networks(reform: Callable[[nn.Module], nn.Module]) -> None:
    """A weight that is computed, even by an iteration that goes on with each call, is as it was, twice."""
    nets = [Through(reform(nn.Conv1d(8, 8, 1))).double() for _ in range(2)]
    chain = stirred(Chain([flow for net in nets for flow in step(6, net)]).double(), 0.1)
    state = {name: value.clone() for name, value in chain.state_dict().items()}
    x, wanted, found, after = data(), list(chain.parameters()), [], []
    for on in (False, True):
        chain.load_state_dict(state)
        make_reversible(chain, on)
        loss = chain(x)[0].square().sum()
        found += [torch.autograd.grad(loss, wanted, retain_graph=True) for _ in range(2)]
        after.append({name: value.clone() for name, value in chain.state_dict().items()})
    for rebuilt in found[2:]:
        torch.testing.assert_close(rebuilt, found[0], rtol=0, atol=1e-10)
    torch.testing.assert_close(after[1], after[0], rtol=0, atol=0)


class BatchNorm(Flow):
    """A flow that normalises by its batch, and back by running moments, and keeps which it used."""

    _running: Tensor
    _used: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        start = torch.stack([torch.zeros(channels), torch.ones(channels)])
        self.register_buffer("_running", start)
        self.register_buffer("_used", start.clone(), persistent=False)

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`z = (x − μ) / σ`, by channel."""
        mean, std = self._moments(x)[:, None, :, None]
        return (x - mean) / std, zero_log_det(x) - x.shape[2] * std.log().sum()

    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`x = σ z + μ`."""
        mean, std = self._moments(None)[:, None, :, None]
        return z * std + mean, zero_log_det(z) + z.shape[2] * std.log().sum()

    def _moments(self, x: Tensor | None) -> Tensor:
        if self.undoing:
            return self._used
        if x is None or not self.training:
            moments = self._running.clone()
        else:
            moments = torch.stack([x.mean((0, 2)), x.std((0, 2))])
        with torch.no_grad():
            self._used.copy_(moments)
            self._running.lerp_(moments + 0.1, 0.1)  # moves with every call, whichever the direction
        return moments


def test_a_flow_that_normalises_by_its_batch() -> None:
    """It is undone with the moments of the call, whatever was called since, and gradients are exact."""
    found, buffers = [], []
    for on in (False, True):
        torch.manual_seed(0)
        shared = BatchNorm(6)
        flows = [*step(), shared, *step(), Split(2, BatchNorm(4)), Inverse(Inverse(shared)), *step()]
        chain, x, z = stirred(Chain(flows).double()), 3 * data() + 1, data()
        make_reversible(chain, on)
        wanted = [x.requires_grad_(), z.requires_grad_(), *chain.parameters()]
        calls = [chain(2 * x), chain.inverse(z), chain(x), chain(x), chain.inverse(2 * z), chain(z)]
        loss = sum(y.square().sum() + log_det.square().sum() for y, log_det in calls)
        found.append(torch.autograd.grad(loss, wanted))
        buffers.append(dict(chain.named_buffers()))
        assert not any(flow.undoing for flow in chain.modules() if isinstance(flow, Flow))
    torch.testing.assert_close(found[1], found[0], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(buffers[1], buffers[0], rtol=0, atol=1e-12)


class FirstNorm(Flow):
    """A scale that its first batch decides, as in Glow's activation normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale, self.fresh = nn.Parameter(torch.zeros(channels)), True

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`z = exp(s) x`."""
        if self.fresh:
            self.scale.data = -x.detach().std((0, 2)).log()
        self.fresh = False
        return x * self.scale.exp()[:, None], zero_log_det(x) + x.shape[2] * self.scale.sum()

    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`x = exp(−s) z`."""
        return z * (-self.scale).exp()[:, None], zero_log_det(z) - z.shape[2] * self.scale.sum()


def test_a_flow_that_its_first_batch_sets_up() -> None:
    """Parameters that the very call writes are those that its gradient is taken at."""
    found, x = [], 3 * data()
    for on in (False, True):
        torch.manual_seed(0)
        chain = Chain([InvertibleConv1x1(6), FirstNorm(6), InvertibleConv1x1(6), FirstNorm(6)]).double()
        make_reversible(chain, on)
        y, log_det = chain(x)
        found.append(torch.autograd.grad(y.square().sum() + log_det.sum(), list(chain.parameters())))
        assert y.std((0, 2)).log().abs().max() < 1e-10
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-10)


def test_parameters_lent_for_one_call() -> None:
    """`functional_call` hands in other tensors; the gradient is theirs, though they are gone by then."""
    chain, other, x = deep(2), deep(2), data()
    lent = {name: value.detach().requires_grad_() for name, value in other.named_parameters()}
    expected = gradients(other, list(other.parameters()), x)
    make_reversible(chain)
    found = gradients(lambda x: torch.func.functional_call(chain, lent, (x,)), list(lent.values()), x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_a_parameter_changed_too_early_is_refused() -> None:
    """An optimiser's step between the passes would have other calls undone than were made."""
    chain = deep(1)
    make_reversible(chain)
    loss = chain(data())[0].sum()
    with torch.no_grad():
        next(chain.parameters()).add_(1)
    with pytest.raises(InvalidInput, match="keep its parameters"):
        loss.backward()


def test_a_mode_changed_too_early_is_refused() -> None:
    """So would `eval()` between the passes, for networks that care."""
    chain = chain_of(nn.BatchNorm1d(8))
    make_reversible(chain)
    loss = chain(data())[0].sum()
    chain.eval()
    with pytest.raises(InvalidInput, match="its mode"):
        loss.backward()


def test_a_gradient_that_would_be_lost_is_refused() -> None:
    """A network hidden in a closure is none of the chain's; its gradient is not passed over in silence."""
    net = Pointwise(3, 6)
    chain = Chain([AffineCoupling(net.forward, 3)])
    make_reversible(chain)
    with pytest.raises(InvalidInput, match="no parameter of a member"):
        chain(torch.randn(2, 6, 4, requires_grad=True))[0].sum().backward()
    net.requires_grad_(False)
    chain(torch.randn(2, 6, 4, requires_grad=True))[0].sum().backward()


def test_a_member_that_does_not_repeat_itself_is_refused() -> None:
    """Random numbers from a generator of its own cannot be drawn again, and this is said."""
    chain = chain_of(Noisy())
    make_reversible(chain)
    with pytest.raises(InvalidInput, match="does not repeat itself"):
        chain(data())[0].sum().backward()


def test_a_container_with_hooks_and_dropout_is_refused() -> None:
    """Recomputed whole, it would draw its masks in the order in which they were not drawn: said, not done."""
    chain = Chain([chain_of(nn.Dropout(0.5), nn.Dropout(0.5))])
    make_reversible(chain)
    chain(data())[0].sum().backward()
    chain.flows[0].register_forward_hook(lambda *_: None)
    with pytest.raises(InvalidInput, match="does not repeat itself"):
        chain(data())[0].sum().backward()
