"""Lapped orthogonal transform: overlapping blocks of samples to spectral coefficients, and exactly back."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from vocoder.errors import InvalidConfig, InvalidInput
from vocoder.flows.flow import Flow, full_precision, zero_log_det


class LappedTransform(Flow):
    """The modified discrete cosine transform of a finite signal, as an orthonormal map ``[B, T] → [B, T]``.

    Every boundary between two blocks of ``N`` samples is first *folded*: the samples at distance k to its
    left (l) and right (r) are rotated into each other, ``r' = w₊ r + w₋ l``, ``l' = w₊ l − w₋ r`` with
    ``w₊² + w₋² = 1``; then every block goes through an orthonormal DCT-IV. Rotations and DCT-IV are
    orthogonal, hence ``log_det = 0`` exactly, and the inverse is the transpose::

        x   | block 0      | block 1      | block 2      |
               no fold → |←  fold  →|←  fold  →| ← no fold      the ends of the signal are kept as they are
        z   | c0 … c(N−1)  | c0 … c(N−1)  | c0 … c(N−1)  |      coefficient m of block s is z[s·N + m]

    Away from the ends that is ``z[s·N + m] = √(2/N) Σ_n w(n) x[s·N + n] cos(π/N · (n + ½)(m + ½))`` over the
    2N samples n = −N/2 … 3N/2 − 1, w the window of slopes: the textbook MDCT, negated, of the signal told
    backwards. Coefficient m holds the frequencies around ``(m + ½) / 2N`` of the sample rate. With the Vorbis
    power-complementary slope ``w₊(k) = sin(½π sin²(¼π (1 + (2k+1)/N)))``, its basis functions leak little.

    Source: Princen & Bradley 1986 (time-domain aliasing cancellation), Princen, Johnson & Bradley 1987 (the
    oddly stacked form); Coifman & Meyer 1991 (local cosine
    bases, which is this form on an interval); slope: Vorbis I specification, section 4.3.1.

    Args:
        block: N, even and at least 2 (else `InvalidConfig`); T must be a multiple of it (else
            `InvalidInput`), and so must ``lengths``.

    Shapes: ``[B, T]``, kept.

    Example:
        >>> import torch
        >>> x = torch.randn(1, 64, dtype=torch.float64)
        >>> z, _ = LappedTransform(16)(x)
        >>> torch.allclose(z.square().sum(), x.square().sum())
        True
    """

    rank = 2

    _slope: Tensor
    _dct: Tensor

    def __init__(self, block: int) -> None:
        super().__init__()
        if block < 2 or block % 2:
            raise InvalidConfig(f"block (= {block}) must be even and at least 2")
        self.block = block
        self.register_buffer("_slope", _slope(block), persistent=False)
        self.register_buffer("_dct", _dct4(block), persistent=False)

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self._transform(self._fold(self._blocks(x), 1.0, lengths)).flatten(1), zero_log_det(x)

    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self._fold(self._transform(self._blocks(z)), -1.0, lengths).flatten(1), zero_log_det(z)

    def power_response(self, n_fft: int) -> Tensor:
        """Variance of a coefficient per unit of power at a frequency: ``var z_m = Σ_f R[m, f] · P(f)``.

        ``R[m, f]`` is ``|DTFT(basis m)|²`` at the bins 0 … n_fft/2, n_fft even, with the negative frequencies
        folded in and rows that sum to one, since white noise of power one stays so. It is that of a block
        between two others; the first and the last lean on one only. ``[N, n_fft/2 + 1]``, in float64.
        """
        unit = torch.eye(self.block, dtype=torch.float64, device=self._dct.device)
        basis, _ = self.inverse(F.pad(unit, (self.block, self.block)))  # the middle one of three blocks
        turns = F.pad(basis, (0, -basis.shape[1] % n_fft)).unflatten(1, (-1, n_fft))
        power = torch.fft.rfft(turns.sum(1)).abs().square()  # wrapped around: the DTFT at n_fft points
        power[:, 1:-1] *= 2
        return power / power.sum(1, keepdim=True)

    def _blocks(self, x: Tensor) -> Tensor:
        self.check_rank(x)
        if x.shape[1] == 0 or x.shape[1] % self.block:
            rule = f"must be a positive multiple of block (= {self.block})"
            raise InvalidInput(f"samples (= {x.shape[1]}) {rule}")
        return x.unflatten(1, (-1, self.block))

    def _transform(self, blocks: Tensor) -> Tensor:
        """The DCT-IV of every block, which is its own inverse."""
        with full_precision(blocks):
            return blocks @ self._dct.to(blocks.dtype)

    def _fold(self, blocks: Tensor, sign: float, lengths: Tensor | None) -> Tensor:
        """Rotate the sides of every inner boundary by the slope's angle, or by its negative to undo that."""
        half = self.block // 2
        head, tail = blocks[..., :half], blocks[..., half:].flip(-1)
        up, down = self._slopes(blocks, lengths)
        right, left = head[:, 1:], tail[:, :-1]
        head = torch.cat([head[:, :1], up * right + sign * down * left], 1)
        tail = torch.cat([up * left - sign * down * right, tail[:, -1:]], 1)
        return torch.cat([head, tail.flip(-1)], -1)

    def _slopes(self, blocks: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """``w₊`` and ``w₋`` of every inner boundary; 1 and 0, no fold, where an item ends."""
        up, down = self._slope.to(blocks.dtype).unbind()
        if lengths is None:
            return up, down
        boundary = torch.arange(1, blocks.shape[1], device=blocks.device) * self.block
        folds = (boundary < lengths[:, None]).unsqueeze(-1)  # [B, boundaries, 1]
        return torch.where(folds, up, 1.0), torch.where(folds, down, 0.0)


def _slope(block: int) -> Tensor:
    """``(w₊, w₋)`` ``[2, N/2]`` at the distances k = 0 … N/2 − 1 from a boundary."""
    k = torch.arange(block // 2, dtype=torch.float64)
    angle = 0.5 * math.pi * torch.sin(0.25 * math.pi * (1 + (2 * k + 1) / block)).square()
    return torch.stack([angle.sin(), angle.cos()])


def _dct4(block: int) -> Tensor:
    """The orthonormal, symmetric DCT-IV matrix ``[N, N]``."""
    n = torch.arange(block, dtype=torch.float64) + 0.5
    return math.sqrt(2 / block) * torch.cos(math.pi / block * n[:, None] * n[None, :])
