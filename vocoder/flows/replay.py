"""A call of a flow that can be undone and made again, as it was: what a reversible chain is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call

from vocoder.errors import InvalidInput
from vocoder.flows.flow import Flow

Ends = tuple[Tensor, Tensor]  # a flow's answer and its log-determinant
Marks = dict[str, tuple[int, int]]


class Call:
    """One call of one direction of a flow, and the circumstances under which it was made.

    It is repeated with the random numbers that it drew and the buffers that it found, and undone with the
    buffers that its networks found and its flows left (see `Flow.undoing`). Repetitions work on copies, so
    that what counts calls or averages over them does so once. Of a module in training, copies are kept of
    the buffers that a state dict holds and of those that the call wrote. All else has to stay as it is.
    """

    def __init__(self, flow: Flow, *, inverse: bool) -> None:
        self.there, self.back = _Direction(flow, inverse), _Direction(flow, not inverse)

    def make(self, x: Tensor, cond: Tensor | None, lengths: Tensor | None) -> Ends:
        """The call itself."""
        drawn, before = _random_state(x.device), self._buffers()
        found, marks = _copies(before), _marks(before)
        ends: Ends = self.there(x, cond, lengths)
        self.device, self.drawn = x.device, None if _same(drawn, _random_state(x.device)) else drawn
        self.parameters = dict(self.there.named_parameters())
        self._keep_buffers(found, marks)
        self.seal = self._seal()
        return ends

    def _keep_buffers(self, found: dict[str, Tensor], marks: Marks) -> None:
        left = self._buffers()
        written = {name for name, mark in _marks(left).items() if mark != marks[name]}
        self.found = {name: found[name] for name in left if name in written or self._persists(name)}
        self.left = _copies({name: left[name] for name in self.found if isinstance(self._owner(name), Flow)})
        self.constants = {name: b for name, b in self.there.named_buffers() if name not in self.found}

    def undo(self, y: Tensor, cond: Tensor | None, lengths: Tensor | None) -> Tensor:
        """What the call took, given its answer ``y``.

        Raises `InvalidInput` after a parameter was changed, or a constant, or the mode.
        """
        if self.seal != self._seal():
            rule = "must keep its parameters and its mode (train, eval) until the backward pass is over"
            raise InvalidInput(f"a reversible Chain {rule}")
        state = {**self.parameters, **self.constants, **_copies({**self.found, **self.left})}
        with torch.no_grad(), self._randomness(), _undoing(self.back):
            x, _ = functional_call(self.back, state, (y, cond, lengths))
        return x.detach()

    def repeat(
        self, x: Tensor, cond: Tensor | None, lengths: Tensor | None
    ) -> tuple[Ends, dict[Tensor, Tensor]]:
        """The answer again, with a graph, and by parameter the leaf of that graph which stands in for it.

        Asking for the gradient of a parameter itself would set off its hooks, with a part of the gradient.
        """
        leaves: dict[Tensor, Tensor]
        leaves = {p: p.detach().requires_grad_(p.requires_grad) for p in self.parameters.values()}
        parameters = {name: leaves[parameter] for name, parameter in self.parameters.items()}
        state = {**parameters, **self.constants, **_copies(self.found)}
        with torch.enable_grad(), self._randomness():
            return functional_call(self.there, state, (x, cond, lengths)), leaves

    def _buffers(self) -> dict[str, Tensor]:
        """Those of modules in training."""
        places = ((place, module) for place, module in self.there.named_modules() if module.training)
        return {
            f"{place}.{name}": buffer
            for place, module in places
            for name, buffer in module.named_buffers(recurse=False)
        }

    def _owner(self, buffer: str) -> nn.Module:
        return self.there.get_submodule(buffer.rpartition(".")[0])

    def _persists(self, buffer: str) -> bool:
        return buffer.rpartition(".")[2] not in self._owner(buffer)._non_persistent_buffers_set

    def _seal(self) -> object:
        """What differs once something has been written of which there is no copy, or a mode been set."""
        modes = [module.training for module in self.there.modules()]
        return _marks(self.parameters), _marks(self.constants), modes

    @contextmanager
    def _randomness(self) -> Iterator[None]:
        """The random numbers that the call drew, if it drew any."""
        if self.drawn is None:
            yield
            return
        cpu, *others = self.drawn
        devices = [self.device] * len(others)
        with torch.random.fork_rng(devices, device_type=self.device.type):
            torch.set_rng_state(cpu)
            for state in others:
                torch.get_device_module(self.device).set_rng_state(state, self.device)
            yield


class _Direction(nn.Module):
    """One direction of a flow as the call of a module, for `functional_call` to make."""

    def __init__(self, flow: Flow, inverse: bool) -> None:
        super().__init__()
        self.flow, self.inverse = flow, inverse

    def forward(self, x: Tensor, cond: Tensor | None, lengths: Tensor | None) -> Ends:
        return self.flow.inverse(x, cond, lengths) if self.inverse else self.flow(x, cond, lengths)


@contextmanager
def _undoing(module: nn.Module) -> Iterator[None]:
    flows = [part for part in module.modules() if isinstance(part, Flow)]
    try:
        for flow in flows:
            flow.undoing = True
        yield
    finally:
        for flow in flows:
            flow.undoing = False


def _random_state(device: torch.device) -> list[Tensor]:
    """That of the default generators: the CPU's, and the device's if it has one."""
    module = torch.get_device_module(device)
    own = [module.get_rng_state(device)] if hasattr(module, "get_rng_state") else []
    return [torch.get_rng_state(), *own]


def _same(ours: Iterable[Tensor], theirs: Iterable[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def _marks(tensors: Mapping[str, Tensor]) -> Marks:
    """Which tensors these are, and how often each has been written."""
    return {name: (id(tensor), tensor._version) for name, tensor in tensors.items()}


def _copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}
