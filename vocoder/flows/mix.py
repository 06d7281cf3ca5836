"""Invertible 1×1 convolution: a learned mixing of the channels."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vocoder.errors import InvalidConfig, InvalidInput
from vocoder.flows.flow import Flow, bounded, full_precision, log_det_dtype, over_cells

Form = Literal["dense", "plu"]

BOUND = 14.0
"""Largest |log |s|| of the triangular form. A rotation of C channels starts within log C of zero or so."""


class InvertibleConv1x1(Flow):
    """Multiply the channels at every position by one matrix ``W`` ``[C, C]``.

    ``z[:, :, s] = W x[:, :, s]``, ``log_det = S · log |det W|`` for S positions (Kingma & Dhariwal 2018,
    Glow, arXiv:1807.03039, eq. 9–11; Prenger et al. 2018, WaveGlow, arXiv:1811.00002, section 2.2). W starts
    as a random orthonormal matrix, the same one in either form.

    ``"dense"``: W itself is learned. The determinant comes from ``slogdet``: ``logdet`` is NaN as soon as
    training carries ``det W`` below zero, and a negative determinant is as invertible as a positive one.

    ``"plu"``: ``W = P L (U + diag s)``, L unit lower and U strictly upper triangular and learned, P fixed;
    of s the signs are fixed and the logarithms learned, so that W never becomes singular. ``log |det W| =
    Σ log |s|``, and the inverse solves two triangular systems. ``|log |s||`` saturates smoothly towards 14,
    from 7 on.

    Args:
        channels: C, at least 1 (else `InvalidConfig`).
        form: which of the two, else `InvalidConfig`.

    Shapes: ``[B, C, …]``, kept; another C is `InvalidInput`. ``lengths`` only with sequences ``[B, C, S]``.

    Example:
        >>> import torch
        >>> mix = InvertibleConv1x1(4)
        >>> x = torch.randn(2, 4, 3)
        >>> torch.allclose(mix.inverse(mix(x)[0])[0], x, atol=1e-5)
        True
    """

    signs: Tensor
    permutation: Tensor

    def __init__(self, channels: int, form: Form = "dense") -> None:
        super().__init__()
        if channels < 1:
            raise InvalidConfig(f"channels (= {channels}) must be at least 1")
        if form not in get_args(Form):
            raise InvalidConfig(f"form (= {form!r}) must be one of {get_args(Form)}")
        q, _ = torch.linalg.qr(torch.randn(channels, channels))
        self.channels, self.form = channels, form
        if form == "dense":
            self.weight = nn.Parameter(q.contiguous())
        else:
            self._decompose(q)
        self._solved: tuple[_Dense | _Triangular, Tensor, Tensor] | None = None

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        self._check(x)
        form = self._form()
        return _mix(form.matrix(), x), over_cells(form.log_abs_det(), x, lengths)

    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        self._check(z)
        inverse, log_abs_det = self._solution()
        return _mix(inverse, z), -over_cells(log_abs_det, z, lengths)

    def matrix(self) -> Tensor:
        """W ``[C, C]``, in at least float32."""
        return self._form().matrix()

    def extra_repr(self) -> str:
        return f"{self.channels}, form={self.form!r}"

    def _decompose(self, w: Tensor) -> None:
        permutation, lower, upper = torch.linalg.lu(w.double())
        diagonal = upper.diagonal()
        self.lower = nn.Parameter(lower.tril(-1).to(w.dtype))
        self.upper = nn.Parameter(upper.triu(1).to(w.dtype))
        self.log_scale = nn.Parameter(diagonal.abs().log().to(w.dtype))
        self.register_buffer("signs", diagonal.sign().to(w.dtype))
        self.register_buffer("permutation", permutation.argmax(1))

    def _check(self, x: Tensor) -> None:
        self.check_rank(x)
        if x.shape[1] != self.channels:
            rule = f"InvertibleConv1x1 takes x of shape [B, {self.channels}, …]"
            raise InvalidInput(f"{rule}, got {tuple(x.shape)}")

    def _form(self) -> _Dense | _Triangular:
        if self.form == "dense":
            return _Dense(_precise(self.weight))
        lower, upper, log_s = map(_precise, (self.lower, self.upper, self.log_scale))
        return _Triangular(lower, upper, log_s, _precise(self.signs), self.permutation)

    def _solution(self) -> tuple[Tensor, Tensor]:
        """``W⁻¹`` and ``log |det W|``; afresh while gradients flow, else kept beside their own weights.

        Comparing values, not version counters, is what makes what is kept unable to go stale: whatever wrote
        the weights (an optimiser, ``load_state_dict``, ``.data``, a move to another device), different
        weights are seen. Threads may share the module: all three are read and replaced as one, and computed
        from a copy that none writes. A compiled graph cannot compare values, and keeps none.
        """
        form = self._form()
        learning = torch.is_grad_enabled() and any(part.requires_grad for part in self.parameters())
        if learning or torch.compiler.is_compiling():
            return form.inverse(), form.log_abs_det()
        solved = self._solved
        if solved is None or not _same(solved[0], form):
            with torch.inference_mode(False):  # what inference mode makes could never meet a gradient again
                kept = type(form)(*(part.detach().clone() for part in form))
                self._solved = solved = kept, kept.inverse(), kept.log_abs_det()
        return solved[1:]


class _Dense(NamedTuple):
    """W as it is."""

    weight: Tensor

    def matrix(self) -> Tensor:
        return self.weight

    def inverse(self) -> Tensor:
        return torch.linalg.inv(self.weight)

    def log_abs_det(self) -> Tensor:
        return torch.linalg.slogdet(self.weight).logabsdet


class _Triangular(NamedTuple):
    """W = P L (U + diag s)."""

    lower: Tensor
    upper: Tensor
    log_scale: Tensor
    signs: Tensor
    permutation: Tensor  # row i of W is row permutation[i] of what P is applied to

    def matrix(self) -> Tensor:
        lower, upper = self._factors()
        with full_precision(lower):
            return (lower @ upper)[self.permutation]

    def inverse(self) -> Tensor:
        lower, upper = self._factors()
        unit = torch.eye(len(lower), dtype=lower.dtype, device=lower.device)
        solved = torch.linalg.solve_triangular(lower, unit, upper=False, unitriangular=True)
        return torch.linalg.solve_triangular(upper, solved, upper=True)[:, self.permutation]

    def log_abs_det(self) -> Tensor:
        return bounded(self.log_scale, BOUND).sum()

    def _factors(self) -> tuple[Tensor, Tensor]:
        s = self.signs * bounded(self.log_scale, BOUND).exp()
        unit = torch.eye(len(s), dtype=s.dtype, device=s.device)
        return self.lower.tril(-1) + unit, self.upper.triu(1) + s.diag()


def _precise(weight: Tensor) -> Tensor:
    # Half precision has no LU, and a determinant in it would be noise.
    return weight.to(log_det_dtype(weight))


def _mix(weight: Tensor, x: Tensor) -> Tensor:
    with full_precision(x):
        if x.ndim == 3:
            return torch.matmul(weight.to(x.dtype), x)
        return F.linear(x.movedim(1, -1), weight.to(x.dtype)).movedim(-1, 1)  # one product for all positions


def _same(ours: _Dense | _Triangular, theirs: _Dense | _Triangular) -> bool:
    pairs = zip(ours, theirs, strict=True)
    return all(a.device == b.device and a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)
