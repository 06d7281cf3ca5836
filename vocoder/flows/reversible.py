"""A chain in constant memory: what its members computed is rebuilt from its output instead of stored.

::

    forward     x ──f₁──► · ──f₂──► · ──f₃──► z      z and cond are kept, nothing between them
    backward    x ◄─f₁⁻¹─ · ◄─f₂⁻¹─ · ◄─f₃⁻¹─ z      the last member first: undo its call, repeat it with a
                                                     graph, take the gradient, forget all but its input

(Gomez et al. 2017, The Reversible Residual Network, arXiv:1707.04585, section 3.2; here for any invertible
member, either direction, and log-determinants.) Every network runs three times instead of once, and a
training step takes 1.7 to 2 times as long (measured: ``benchmarks/results/reversible-cpu.md``).

What is rebuilt is what was computed up to rounding, and so are the gradients. A chain that magnifies
differences magnifies this one: around samples of the default voice, not around recordings, float32 gradients
were 3 and 20 percent off, with stored activations 0.3 and 0.5. Under autocast rounding begins larger, for a
network that is shown a difference of single precision may answer with one of half (same table).

Members are undone one `Flow.steps` at a time. A container (a Split, an Inverse, a Chain in a Chain) is called
as such only if it has hooks of its own, and recomputed whole then. Hooks of modules see the repetitions too.
All gradients of a chain come at the end of its backward pass; DistributedDataParallel sends them then.

``torch.compile`` leaves such a chain as it is, and refuses it with ``fullgraph=True``: what a call remembers,
random numbers and buffers as they were, is nothing that a graph could hold, and a compiler that recomputes
as it sees fit would not undo the call in question. Without gradients it is compiled as any other chain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from vocoder.errors import InvalidInput
from vocoder.flows.flow import Flow, zero_log_det
from vocoder.flows.replay import Call, Ends

Gradients = tuple[Tensor | None, ...]

SLIP = 0.05
"""Largest relative difference of a repetition: rounding stays far below, other random numbers do not."""


@torch.compiler.disable(reason="a reversible Chain is not compiled")  # type: ignore[untyped-decorator]
def run(
    members: Iterable[Flow], x: Tensor, cond: Tensor | None, lengths: Tensor | None, *, inverse: bool = False
) -> Ends:
    """What the composition of ``members`` answers in one of its directions, to be differentiated once.

    The backward pass raises `InvalidInput` where the gradient would not be that of the call: for a second
    derivative, after a change of a parameter or a mode, where a gradient goes to a tensor that is none of
    the parameters, and for a member that does not repeat itself.
    """
    flows = [step for member in members for step in _steps(member)]
    if not flows:
        return x, zero_log_det(x)
    calls = [Call(flow, inverse=inverse) for flow in (reversed(flows) if inverse else flows)]
    parameters = dict.fromkeys(p for flow in flows for p in flow.parameters() if p.requires_grad)
    ends: Ends = _Reversible.apply(calls, _autocast(x), x, cond, lengths, *parameters)
    return ends


def _steps(member: Flow) -> list[Flow]:
    containers = (part for part in member.modules() if isinstance(part, Flow) and part.steps() != [part])
    return [member] if any(_has_hooks(container) for container in containers) else member.steps()


def _has_hooks(module: nn.Module) -> bool:
    before, after = module._forward_pre_hooks, module._forward_hooks
    return bool(before or after or module._backward_pre_hooks or module._backward_hooks)


def _autocast(x: Tensor) -> Callable[[], torch.autocast]:
    """The autocast in force now, for later; without its cache, which would hold a copy of every weight."""
    kind = x.device.type
    dtype, enabled = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
    return partial(torch.autocast, kind, dtype, enabled, cache_enabled=False)


class _Reversible(torch.autograd.Function):
    """The calls as one node of the graph, whose inputs are all that a gradient can go to."""

    @staticmethod
    def forward(
        ctx: Any,
        calls: Sequence[Call],
        autocast: Callable[[], torch.autocast],
        x: Tensor,
        cond: Tensor | None,
        lengths: Tensor | None,
        *parameters: Tensor,
    ) -> Ends:
        total = zero_log_det(x)
        with autocast():
            for call in calls:
                x, log_det = call.make(x, cond, lengths)
                total = total + log_det
        ctx.calls, ctx.autocast, ctx.parameters = calls, autocast, parameters
        ctx.save_for_backward(x, cond, lengths)
        ctx.set_materialize_grads(False)
        return x, total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            rule = "has no second derivative (create_graph=True): what that takes, only a stored one keeps"
            raise InvalidInput(f"a reversible Chain {rule}")
        y, cond, lengths = ctx.saved_tensors
        needs_x, needs_cond = ctx.needs_input_grad[2:4]
        cond = None if cond is None else cond.detach().requires_grad_(needs_cond)
        walk = _Walk(cond, lengths)
        with ctx.autocast():
            grad_x = walk.back(ctx.calls, y, gradients, needs_x)
        return None, None, grad_x, *walk.gradients([cond]), None, *walk.gradients(ctx.parameters)


class _Walk:
    """The way back through the calls, and the gradients found on it."""

    def __init__(self, cond: Tensor | None, lengths: Tensor | None) -> None:
        self.cond, self.lengths = cond, lengths
        self.found: dict[Tensor | None, Tensor] = {}

    def back(self, calls: Sequence[Call], y: Tensor, gradients: Gradients, needs_x: bool) -> Tensor | None:
        """The gradient of what the first call took, given those of the last one's ``y`` and of log_det."""
        grad_y, grad_log_det = gradients
        slips = []
        for call in reversed(calls):
            x = call.undo(y, self.cond, self.lengths).requires_grad_(needs_x or call is not calls[0])
            ends, leaves = call.repeat(x, self.cond, self.lengths)
            slips.append(_slip(x, y, ends[0]))
            grad_y = self._step(ends, (grad_y, grad_log_det), x, leaves)
            y = x.detach()
        _refuse_slips(slips)
        return grad_y

    def gradients(self, targets: Iterable[Tensor | None]) -> Gradients:
        """Those found of ``targets``."""
        return tuple(self.found.get(target) for target in targets)

    def _step(
        self, ends: Ends, gradients: Gradients, x: Tensor, leaves: dict[Tensor, Tensor]
    ) -> Tensor | None:
        """The gradient of one call's ``x``; those of cond and of parameters are added to what is found."""
        grad_x, *others = _differentiate(ends, gradients, [x, self.cond, *leaves.values()])
        for target, grad in zip([self.cond, *leaves], others, strict=True):
            if grad is not None:
                self.found[target] = self.found[target] + grad if target in self.found else grad
        return grad_x


def _differentiate(ends: Ends, gradients: Gradients, leaves: Sequence[Tensor | None]) -> Gradients:
    """The gradients of ``leaves``, None where there is none."""
    pairs = [(end, grad) for end, grad in zip(ends, gradients, strict=True) if grad is not None]
    pairs = [(end, grad) for end, grad in pairs if end.requires_grad]
    wanted = [leaf for leaf in leaves if leaf is not None and leaf.requires_grad]
    _refuse_strangers([end for end, _ in pairs], set(wanted))
    if not pairs or not wanted:
        return (None,) * len(leaves)
    outputs, grads = zip(*pairs, strict=True)
    found = dict(zip(wanted, torch.autograd.grad(outputs, wanted, grads, allow_unused=True), strict=True))
    return tuple(None if leaf is None else found.get(leaf) for leaf in leaves)


def _refuse_strangers(ends: Iterable[Tensor], known: set[Tensor]) -> None:
    """A gradient to a tensor from elsewhere, such as one in a closure, would be lost in silence."""
    nodes, seen = [end.grad_fn for end in ends], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None and leaf not in known:
            rule = "is no parameter of a member: make the conditioner a torch.nn.Module that holds it"
            raise InvalidInput(f"a tensor of shape {tuple(leaf.shape)}, to which a gradient goes, {rule}")
        nodes.extend(following for following, _ in node.next_functions)


def _slip(x: Tensor, y: Tensor, again: Tensor) -> Tensor:
    """How far the repeated call's answer is from the call's, relative to what went in and came out."""
    norm = torch.linalg.vector_norm
    return norm(again.detach() - y) / (norm(x.detach()) + norm(y))


def _refuse_slips(slips: list[Tensor]) -> None:
    worst = float(torch.stack(slips).nan_to_num(0.0).max())  # what is not finite tells of itself
    if worst > SLIP:
        rule = f"does not repeat itself (off by {worst:.0%}): has it a generator of its own, or hidden state?"
        raise InvalidInput(f"a member of a reversible Chain {rule}")
