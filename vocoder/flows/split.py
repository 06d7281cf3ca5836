"""Early outputs: some channels leave the flow before its end."""

from __future__ import annotations

import torch
from torch import Tensor

from vocoder.errors import InvalidConfig, InvalidInput
from vocoder.flows.flow import Flow


class Split(Flow):
    """Let the first ``early`` channels pass and send the rest through ``inner``.

    ``z = [x[:, :early] | inner(x[:, early:])]``, ``log_det`` is ``inner``'s (Dinh et al. 2016, RealNVP,
    section 3.6; Prenger et al. 2018, WaveGlow, section 2.3). Nested splits put the blocks of z in the order
    in which they left::

        Split(2, …Split(2, inner))    z = [ early 1 | early 2 | final ]

    Shapes in are shapes out, so a model with early outputs is still one chain and keeps no list of them.
    ``cond`` goes to ``inner`` whole.

    Args:
        early: number of channels that pass, at least 1 (else `InvalidConfig`).
        inner: a flow of the rest, which must not be empty (else `InvalidInput`).

    Shapes: ``[B, C, S]``, kept.

    Example:
        >>> import torch
        >>> from vocoder.flows import Reverse, Split
        >>> Split(2, Reverse())(torch.arange(5.0).view(1, 5, 1))[0].flatten().tolist()
        [0.0, 1.0, 4.0, 3.0, 2.0]
    """

    rank = 3

    def __init__(self, early: int, inner: Flow) -> None:
        super().__init__()
        if early < 1:
            raise InvalidConfig(f"early (= {early}) must be at least 1")
        self.early = early
        self.inner = inner

    def forward(self, x: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        early, rest = self._split(x)
        z, log_det = self.inner(rest, cond)
        return torch.cat([early, z], 1), log_det

    def inverse(self, z: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        early, rest = self._split(z)
        x, log_det = self.inner.inverse(rest, cond)
        return torch.cat([early, x], 1), log_det

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.check_rank(x)
        if x.shape[1] <= self.early:
            raise InvalidInput(f"Split takes more than {self.early} channels, got shape {tuple(x.shape)}")
        return x[:, : self.early], x[:, self.early :]
