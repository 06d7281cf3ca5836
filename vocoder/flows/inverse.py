"""A flow turned round."""

from __future__ import annotations

from torch import Tensor

from vocoder.flows.flow import Flow


class Inverse(Flow):
    """The inverse of a flow, as a flow: what was ``inverse`` is ``forward``, and the other way about.

    Shapes, and the errors about them, are those of ``flow``.

    Example:
        >>> import torch
        >>> from vocoder.flows import Inverse, Squeeze
        >>> Inverse(Squeeze(2))(torch.tensor([[[0.0, 2.0], [1.0, 3.0]]]))[0].tolist()
        [[0.0, 1.0, 2.0, 3.0]]
    """

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self.flow.inverse(x, cond, lengths)

    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self.flow(z, cond, lengths)

    def steps(self) -> list[Flow]:
        return [Inverse(step) for step in reversed(self.flow.steps())]  # (g ∘ f)⁻¹ = f⁻¹ ∘ g⁻¹
