"""What every flow promises, over the list of all of them (`laws.py`)."""

import inspect

import pytest
import torch
from torch import Tensor

import vocoder.flows
from tests.vocoder.laws import LAWS, Law
from vocoder.errors import InvalidInput
from vocoder.flows import Flow, Squeeze, Squeeze2d
from vocoder.padding import cleared

DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]
flow_of_sequences = pytest.mark.parametrize("law", [law for law in LAWS if law.lengths], ids=str)
every_flow = pytest.mark.parametrize("law", LAWS, ids=str)


def _item(tensor: Tensor | None, index: int) -> Tensor | None:
    return None if tensor is None else tensor[index : index + 1]


def _as(tensor: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return None if tensor is None else tensor.to(dtype)


def _jacobian_log_det(flow: Flow, x: Tensor, cond: Tensor | None) -> Tensor:
    jacobian = torch.autograd.functional.jacobian(lambda one: flow(one, cond)[0], x)
    assert isinstance(jacobian, Tensor)
    return torch.linalg.slogdet(jacobian.reshape(x.numel(), x.numel())).logabsdet


def test_the_list_is_complete() -> None:
    """Every flow that the room exports is on the list."""
    exported = [getattr(vocoder.flows, name) for name in vocoder.flows.__all__]
    kinds = [kind for kind in exported if inspect.isclass(kind) and not inspect.isabstract(kind)]
    flows = {kind for kind in kinds if issubclass(kind, Flow)}
    assert len(flows) >= 11
    assert {kind.__name__ for kind in flows} == {type(law.build()).__name__ for law in LAWS}


@every_flow
def test_round_trips(law: Law) -> None:
    """inverse ∘ forward and forward ∘ inverse are the identity, and the log-determinants cancel."""
    flow, x, cond = law.flow(), law.x(), law.cond()
    z, log_det = flow(x, cond)
    back, inverse_log_det = flow.inverse(z, cond)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-10)
    torch.testing.assert_close(inverse_log_det, -log_det, rtol=1e-10, atol=1e-10)
    z = torch.randn_like(z)
    torch.testing.assert_close(flow(flow.inverse(z, cond)[0], cond)[0], z, rtol=0, atol=1e-10)


@every_flow
def test_log_det_is_that_of_the_jacobian(law: Law) -> None:
    """Each item's log_det is log |det ∂z/∂x| by automatic differentiation of that item alone."""
    flow, x, cond = law.flow(), law.x(), law.cond()
    _, log_det = flow(x, cond)
    expected = torch.stack([_jacobian_log_det(flow, x[b : b + 1], _item(cond, b)) for b in range(len(x))])
    torch.testing.assert_close(log_det, expected, rtol=1e-9, atol=1e-9)


@every_flow
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_shapes_and_dtypes(law: Law, dtype: torch.dtype) -> None:
    """The dtype of the data is kept, the shape too but for a squeeze; log_det is [B] in at least float32."""
    flow, x, cond = law.flow().to(dtype), law.x().to(dtype), _as(law.cond(), dtype)
    for there, back in ((flow, flow.inverse), (flow.inverse, flow)):
        start = x if there is flow else flow(x, cond)[0].detach()
        end, log_det = there(start, cond)
        assert end.dtype == back(end, cond)[0].dtype == dtype
        assert end.shape == start.shape or isinstance(flow, (Squeeze, Squeeze2d))
        assert log_det.shape == (len(x),)
        assert log_det.dtype == torch.promote_types(dtype, torch.float32)
        assert log_det.isfinite().all()


@every_flow
def test_bfloat16_is_near(law: Law) -> None:
    """Half precision computes the same thing, to its few digits."""
    flow, x, cond = law.flow(), law.x(), law.cond()
    z, log_det = flow(x, cond)
    half_z, half_log_det = flow.bfloat16()(x.bfloat16(), _as(cond, torch.bfloat16))
    scale = z.abs().max().item()
    torch.testing.assert_close(half_z.double(), z, rtol=0, atol=0.05 * scale)
    torch.testing.assert_close(half_log_det.double(), log_det, rtol=0.02, atol=0.1)


@every_flow
def test_autocast_does_not_touch_the_flow(law: Law) -> None:
    """In a mixed-precision run the networks may round; the change of variables stays in single precision."""
    flow, x, cond = law.flow().float(), law.x().float(), _as(law.cond(), torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        z, log_det = flow(x, cond)
        back, inverse_log_det = flow.inverse(z, cond)
    assert z.dtype == back.dtype == log_det.dtype == torch.float32
    steered = law.name.startswith(("chain", "squeezed", "split"))  # one net's rounding steers the next
    torch.testing.assert_close(back, x, rtol=0, atol=0.1 if steered else 1e-5)
    torch.testing.assert_close(inverse_log_det, -log_det, rtol=0, atol=0.1 if steered else 1e-5)


@every_flow
def test_gradients_reach_everything(law: Law) -> None:
    """Either direction, with its log-determinant, gives every parameter, the data and `cond` a gradient."""
    flow, x, cond = law.flow(), law.x().requires_grad_(), law.cond()
    reached = [*flow.parameters(), x] if cond is None else [*flow.parameters(), x, cond.requires_grad_()]
    for direction in (flow, flow.inverse):
        start = x if direction is flow else x.reshape(flow(x.detach(), cond)[0].shape)
        end, log_det = direction(start, cond)
        loss = (end * torch.randn_like(end)).sum() + (log_det * torch.randn_like(log_det)).sum()
        gradients = torch.autograd.grad(loss, reached)
        assert all(gradient.isfinite().all() and gradient.abs().max() > 0 for gradient in gradients)


@every_flow
def test_save_and_load(law: Law) -> None:
    """A strict state dict carries a flow over, to the last bit of both directions."""
    flow, other, x, cond = law.flow(), law.flow(), law.x(), law.cond()
    other.load_state_dict(flow.state_dict(), strict=True)
    for ours, theirs in ((flow, other), (flow.inverse, other.inverse)):
        start = x if ours is flow else flow(x, cond)[0]
        for a, b in zip(ours(start, cond), theirs(start, cond), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)


@every_flow
def test_wrong_rank_is_refused(law: Law) -> None:
    """A tensor with a dimension too few or too many is refused in either direction, and told so."""
    flow, x, cond = law.flow(), law.x(), law.cond()
    z, _ = flow(x, cond)
    for direction, good in ((flow, x), (flow.inverse, z)):
        wrong = [good.flatten()] if flow.rank is None else [good[0], good[None]]
        for tensor in wrong:
            with pytest.raises(InvalidInput, match="shape"):
                direction(tensor, cond)


@every_flow
def test_items_of_a_batch_are_independent(law: Law) -> None:
    """What the second item is, and its conditioning, leaves the first item's result alone."""
    flow, x, cond = law.flow(), law.x(), law.cond()
    other_x = torch.cat([x[:1], torch.randn_like(x[1:])])
    other_cond = None if cond is None else torch.cat([cond[:1], cond[1:].flip(-1, -2)])
    for direction in (flow, flow.inverse):
        shape = x.shape if direction is flow else flow(x, cond)[0].shape
        ours, theirs = direction(x.reshape(shape), cond), direction(other_x.reshape(shape), other_cond)
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a[0], b[0], rtol=0, atol=1e-13)
        assert not torch.equal(ours[0][1], theirs[0][1])


@flow_of_sequences
def test_a_clip_in_a_padded_batch_is_the_clip_alone(law: Law) -> None:
    """With lengths, an item and its log_det are what they are without neighbours, and padding stays zeros."""
    flow, lengths, cond = law.flow(), torch.tensor(law.lengths), law.cond()
    x = cleared(law.x(), lengths)
    for direction in (flow, flow.inverse):
        end, log_det = direction(x, cond, lengths)
        assert torch.equal(end, cleared(end, lengths))
        for b, length in enumerate(law.lengths):
            own = None if cond is None else law.cut(cond[b : b + 1], length)
            alone, alone_log_det = direction(x[b : b + 1, ..., :length], own)
            torch.testing.assert_close(end[b : b + 1, ..., :length], alone, rtol=0, atol=1e-12)
            torch.testing.assert_close(log_det[b : b + 1], alone_log_det, rtol=1e-12, atol=1e-12)


@every_flow
def test_the_log_det_by_position_adds_up(law: Law) -> None:
    """`local` has the z of `forward`, and a log-determinant for every position, whose sum is `log_det`."""
    flow, x, cond = law.flow(), law.x(), law.cond()
    z, log_det = flow(x, cond)
    local_z, local = flow.local(x, cond)
    assert torch.equal(local_z, z)
    assert local.shape == (len(x), x.shape[-1])
    torch.testing.assert_close(local.sum(1), log_det, rtol=1e-12, atol=1e-12)


@flow_of_sequences
def test_padding_has_no_log_det(law: Law) -> None:
    """With lengths, the log-determinant of every position is that of the item alone, and zero behind it."""
    flow, lengths, cond = law.flow(), torch.tensor(law.lengths), law.cond()
    x = cleared(law.x(), lengths)
    local = flow.local(x, cond, lengths)[1]
    for b, length in enumerate(law.lengths):
        own = None if cond is None else law.cut(cond[b : b + 1], length)
        alone = flow.local(x[b : b + 1, ..., :length], own)[1]
        torch.testing.assert_close(local[b : b + 1, :length], alone, rtol=1e-12, atol=1e-12)
        assert not local[b, length:].any()
