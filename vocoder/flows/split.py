"""Early outputs: some channels leave the flow before its end."""

from __future__ import annotations

from torch import Tensor

from vocoder.errors import InvalidConfig
from vocoder.flows.flow import Flow
from vocoder.flows.partition import Leading, Partition


class Split(Flow):
    """Let a part of the channels pass, by default the first ``early``, and send the rest through ``inner``.

    ``z = [x[:, :early] | inner(x[:, early:])]``, ``log_det`` is ``inner``'s (Dinh et al. 2016, RealNVP,
    section 3.6; Prenger et al. 2018, WaveGlow, section 2.3). Nested splits put the blocks of z in the order
    in which they left::

        Split(2, …Split(2, inner))    z = [ early 1 | early 2 | final ]

    RealNVP and Glow let the last half of the channels leave, ``Split(Trailing(C // 2), inner)``. Shapes in
    are shapes out, so a model with early outputs is still one chain and keeps no list of them. ``cond`` goes
    to ``inner`` whole.

    Args:
        early: which channels pass; a number, at least 1 (else `InvalidConfig`), is `Leading` of it.
        inner: a flow of the rest, which must not be empty (else `InvalidInput`).

    Shapes: ``[B, C, …]``, kept.

    Example:
        >>> import torch
        >>> from vocoder.flows import Reverse, Split
        >>> Split(2, Reverse())(torch.arange(5.0).view(1, 5, 1))[0].flatten().tolist()
        [0.0, 1.0, 4.0, 3.0, 2.0]
    """

    def __init__(self, early: Partition | int, inner: Flow) -> None:
        super().__init__()
        if isinstance(early, int) and early < 1:
            raise InvalidConfig(f"early (= {early}) must be at least 1")
        self.early = Leading(early) if isinstance(early, int) else early
        self.inner = inner

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        early, rest = self._split(x)
        z, log_det = self.inner(rest, cond, lengths)
        return self.early.join(early, z), log_det

    def local(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        early, rest = self._split(x)
        z, log_det = self.inner.local(rest, cond, lengths)
        return self.early.join(early, z), self.early.by_position(log_det, x)

    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        early, rest = self._split(z)
        x, log_det = self.inner.inverse(rest, cond, lengths)
        return self.early.join(early, x), log_det

    def steps(self) -> list[Flow]:
        return [Split(self.early, step) for step in self.inner.steps()]

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.check_rank(x)
        return self.early.split(x)
