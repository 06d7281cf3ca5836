"""Fixed reorderings of the channels: what one coupling kept, the next changes."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from vocoder.errors import InvalidConfig, InvalidInput
from vocoder.flows.flow import Flow, zero_log_det


class Reverse(Flow):
    """Reverse the order of the channels: ``z[:, c] = x[:, C − 1 − c]``, ``log_det = 0``.

    It lets couplings take turns: what one kept, the next changes (Dinh et al. 2014, NICE, arXiv:1410.8516,
    its code).

    Shapes: ``[B, C, …]``, kept.

    Example:
        >>> import torch
        >>> Reverse()(torch.tensor([[1.0, 2.0, 3.0]]))[0].tolist()
        [[3.0, 2.0, 1.0]]
    """

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        self.check_rank(x)
        return x.flip(1), zero_log_det(x)

    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        self.check_rank(z)
        return z.flip(1), zero_log_det(z)


class Swap(Flow):
    """Move the first ``first`` channels behind the others: ``z = [x[:, first:] | x[:, :first]]``.

    With half of the channels, the two parts of a coupling change places (Dinh et al. 2014, NICE, section
    3.2; Dinh et al. 2016, RealNVP, section 3.5: "alternating"). ``log_det = 0``.

    Args:
        first: how many, at least 1 (else `InvalidConfig`) and fewer than there are channels (else
            `InvalidInput`).

    Shapes: ``[B, C, …]``, kept.

    Example:
        >>> import torch
        >>> Swap(1)(torch.tensor([[1.0, 2.0, 3.0]]))[0].tolist()
        [[2.0, 3.0, 1.0]]
    """

    def __init__(self, first: int) -> None:
        super().__init__()
        if first < 1:
            raise InvalidConfig(f"first (= {first}) must be at least 1")
        self.first = first

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self._roll(x, -self.first), zero_log_det(x)

    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self._roll(z, self.first), zero_log_det(z)

    def _roll(self, x: Tensor, by: int) -> Tensor:
        self.check_rank(x)
        if x.shape[1] <= self.first:
            raise InvalidInput(f"Swap takes more than {self.first} channels, got shape {tuple(x.shape)}")
        return x.roll(by, 1)


class Shuffle(Flow):
    """Reorder the channels at random, once and for all: ``z[:, c] = x[:, π(c)]``, ``log_det = 0``.

    π sorts the channels by a hash of ``(seed, c)``: the same on every machine and in every version, so that
    no checkpoint has to carry it (Dinh et al. 2014, NICE, its code; Kingma & Dhariwal 2018, Glow, table 1
    and figure 3, where it is the rival of the 1×1 convolution).

    Args:
        channels: C, at least 1 (else `InvalidConfig`).
        seed: which of the orders.

    Shapes: ``[B, C, …]``, kept; another C is `InvalidInput`.

    Example:
        >>> import torch
        >>> Shuffle(4, seed=1)(torch.arange(4.0)[None])[0].tolist()
        [[1.0, 3.0, 0.0, 2.0]]
    """

    _order: Tensor
    _back: Tensor

    def __init__(self, channels: int, seed: int = 0) -> None:
        super().__init__()
        if channels < 1:
            raise InvalidConfig(f"channels (= {channels}) must be at least 1")
        order = torch.tensor(sorted(range(channels), key=lambda channel: _hash(seed, channel)))
        self.register_buffer("_order", order, persistent=False)
        self.register_buffer("_back", order.argsort(), persistent=False)

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self._take(x, self._order), zero_log_det(x)

    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self._take(z, self._back), zero_log_det(z)

    def _take(self, x: Tensor, order: Tensor) -> Tensor:
        self.check_rank(x)
        if x.shape[1] != len(order):
            raise InvalidInput(f"Shuffle takes {len(order)} channels, got shape {tuple(x.shape)}")
        return x.index_select(1, order)


def _hash(seed: int, channel: int) -> bytes:
    return hashlib.sha256(f"{seed} {channel}".encode()).digest()
