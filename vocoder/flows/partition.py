"""Which part of the data a coupling keeps, and which it changes."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from vocoder.errors import InvalidConfig, InvalidInput


class Partition(nn.Module, ABC):
    """Two parts of ``x [B, C, …]``: ``x_a`` passes and feeds the conditioner, ``x_b`` is changed.

    ::

        Leading(2)    Trailing(2)    OddEven(odd=True)    Checkerboard(odd=False)
        a a b b b     b b b a a      b a b a b            a b a b
        channels      channels       channels             b a b a    pixels

    It has neither parameters nor buffers, so that a coupling's state is its conditioner's.
    """

    @abstractmethod
    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``x_a`` and ``x_b``; `InvalidInput` where one of them would be empty."""

    @abstractmethod
    def join(self, x_a: Tensor, x_b: Tensor) -> Tensor:
        """What ``split`` took apart."""

    def changed(self, answer: Tensor, x_b: Tensor) -> Tensor:
        """A conditioner's answer for ``x_b``, zero where ``x_b`` has nothing to be changed."""
        return answer

    def by_position(self, local: Tensor, x: Tensor) -> Tensor:
        """A log-determinant of ``x_b`` by position of its last axis, as one by those of ``x``.

        They differ for vectors, whose last axis is the one that is split.
        """
        if x.ndim > 2:
            return local
        passing, _ = self.split(x)
        return self.join(torch.zeros_like(passing, dtype=local.dtype), local)


class Leading(Partition):
    """The first ``keep`` channels pass, as in WaveGlow and Glow.

    Args:
        keep: how many, at least 1 (else `InvalidConfig`) and fewer than there are (else `InvalidInput`).

    Example:
        >>> import torch
        >>> [part.tolist() for part in Leading(1).split(torch.tensor([[1.0, 2.0, 3.0]]))]
        [[[1.0]], [[2.0, 3.0]]]
    """

    def __init__(self, keep: int) -> None:
        super().__init__()
        self.keep = _at_least_one(keep)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        _need_channels(self, x, self.keep)
        return x[:, : self.keep], x[:, self.keep :]

    def join(self, x_a: Tensor, x_b: Tensor) -> Tensor:
        return torch.cat([x_a, x_b], 1)

    def extra_repr(self) -> str:
        return str(self.keep)


class Trailing(Partition):
    """The last ``keep`` channels pass; the other turn of `Leading`.

    Args:
        keep: how many, at least 1 (else `InvalidConfig`) and fewer than there are (else `InvalidInput`).

    Example:
        >>> import torch
        >>> [part.tolist() for part in Trailing(1).split(torch.tensor([[1.0, 2.0, 3.0]]))]
        [[[3.0]], [[1.0, 2.0]]]
    """

    def __init__(self, keep: int) -> None:
        super().__init__()
        self.keep = _at_least_one(keep)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        _need_channels(self, x, self.keep)
        return x[:, -self.keep :], x[:, : -self.keep]

    def join(self, x_a: Tensor, x_b: Tensor) -> Tensor:
        return torch.cat([x_b, x_a], 1)

    def extra_repr(self) -> str:
        return str(self.keep)


class OddEven(Partition):
    """Every other channel passes: those of odd index, counted from 0, or those of even index.

    NICE's partition of vectors (Dinh et al. 2014, arXiv:1410.8516, section 5.1).

    Args:
        odd: whether the odd ones pass. There must be 2 channels at least (else `InvalidInput`).

    Example:
        >>> import torch
        >>> [part.tolist() for part in OddEven(odd=True).split(torch.tensor([[1.0, 2.0, 3.0]]))]
        [[[2.0]], [[1.0, 3.0]]]
    """

    def __init__(self, odd: bool) -> None:
        super().__init__()
        self.odd = odd

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        _need_channels(self, x, 1)
        even, odd = x[:, 0::2], x[:, 1::2]
        return (odd, even) if self.odd else (even, odd)

    def join(self, x_a: Tensor, x_b: Tensor) -> Tensor:
        even, odd = (x_b, x_a) if self.odd else (x_a, x_b)
        pairs = odd.shape[1]
        return torch.cat([torch.stack([even[:, :pairs], odd], 2).flatten(1, 2), even[:, pairs:]], 1)

    def extra_repr(self) -> str:
        return f"odd={self.odd}"


class Checkerboard(Partition):
    """Every other pixel passes, as the fields of one colour (Dinh et al. 2016, RealNVP, section 3.4).

    Both parts are as large as ``x`` and zero in each other's pixels, so a convolution can look at one and
    answer for the other.

    Args:
        odd: whether those pixels pass whose row and column, counted from 0, have an odd sum.

    Shapes: ``[B, C, H, W]`` with at least 2 pixels (else `InvalidInput`).

    Example:
        >>> import torch
        >>> Checkerboard(odd=False).split(torch.ones(1, 1, 2, 2))[0].tolist()
        [[[[1.0, 0.0], [0.0, 1.0]]]]
    """

    def __init__(self, odd: bool) -> None:
        super().__init__()
        self.odd = odd

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.ndim != 4 or x.shape[2] * x.shape[3] < 2:
            raise InvalidInput(f"Checkerboard takes x [B, C, H, W] of 2 pixels or more, got {tuple(x.shape)}")
        passes = self._passes(x)
        return x.masked_fill(~passes, 0.0), x.masked_fill(passes, 0.0)

    def join(self, x_a: Tensor, x_b: Tensor) -> Tensor:
        return x_a + x_b

    def changed(self, answer: Tensor, x_b: Tensor) -> Tensor:
        return answer.masked_fill(self._passes(x_b), 0.0)

    def extra_repr(self) -> str:
        return f"odd={self.odd}"

    def _passes(self, x: Tensor) -> Tensor:
        row, column = (torch.arange(size, device=x.device) for size in x.shape[2:])
        return (row[:, None] + column) % 2 == int(self.odd)


def _at_least_one(keep: int) -> int:
    if keep < 1:
        raise InvalidConfig(f"keep (= {keep}) must be at least 1, for the conditioner to look at")
    return keep


def _need_channels(partition: Partition, x: Tensor, keep: int) -> None:
    if x.shape[1] <= keep:
        rule = f"{type(partition).__name__} keeps {keep} channels and takes x with more than {keep}"
        raise InvalidInput(f"{rule}, got shape {tuple(x.shape)}")
