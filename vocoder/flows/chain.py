"""Composition of flows: forward in order, inverse backwards, log-determinants added."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from vocoder.flows import reversible
from vocoder.flows.flow import Flow, zero_log_det


class Chain(Flow):
    """The composition ``f_n ∘ … ∘ f_1`` of flows that share one conditioning.

    ``log |det ∂z/∂x| = Σ_i log |det ∂f_i|`` (Dinh et al. 2016, RealNVP, arXiv:1605.08803, section 3.5). An
    empty chain is the identity. Shapes, and the errors about them, are those of its members.

    Args:
        flows: ``f_1 … f_n``, in the order of ``forward``.

    Attributes:
        reversible: train in memory that does not grow with the number of members, and more time: see
            `vocoder.flows.reversible`, and `make_reversible` for all chains of a model.

    Example:
        >>> import torch
        >>> from vocoder.flows import Chain, Reverse
        >>> z, log_det = Chain([Reverse(), Reverse()])(torch.arange(6.0).view(1, 6, 1))
        >>> z.flatten().tolist(), log_det.tolist()
        ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [0.0])
    """

    def __init__(self, flows: Iterable[Flow]) -> None:
        super().__init__()
        self.flows = nn.ModuleList(flows)
        self.reversible = False

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        self.check_rank(x)
        if self.reversible and torch.is_grad_enabled():
            return reversible.run(self, x, cond, lengths)
        total = zero_log_det(x)
        for flow in self:
            x, log_det = flow(x, cond, lengths)
            total = total + log_det
        return x, total

    def local(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        self.check_rank(x)
        total = zero_log_det(x)[:, None].repeat(1, x.shape[-1])
        for flow in self:
            x, log_det = flow.local(x, cond, lengths)
            total = total + log_det
        return x, total

    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        self.check_rank(z)
        if self.reversible and torch.is_grad_enabled():
            return reversible.run(self, z, cond, lengths, inverse=True)
        total = zero_log_det(z)
        for flow in reversed(list(self)):
            z, log_det = flow.inverse(z, cond, lengths)
            total = total + log_det
        return z, total

    def steps(self) -> list[Flow]:
        return [step for flow in self for step in flow.steps()]

    def __iter__(self) -> Iterator[Flow]:
        """The members in the order of ``forward``."""
        return iter(self.flows)  # type: ignore[arg-type]  # nn.ModuleList is typed by Module

    def __len__(self) -> int:
        return len(self.flows)


def make_reversible(module: nn.Module, on: bool = True) -> None:
    """Train every `Chain` in ``module`` in constant memory from now on, or no longer.

    Nothing else changes: not the weights nor their names, not what is computed without gradients.

    Example:
        >>> from vocoder.flows import Chain, Reverse, make_reversible
        >>> chain = Chain([Reverse()])
        >>> make_reversible(chain)
        >>> chain.reversible
        True
    """
    for part in module.modules():
        if isinstance(part, Chain):
            part.reversible = on
