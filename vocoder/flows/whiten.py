"""Whitening: conditional linear flows that divide out a covariance they are handed."""

from __future__ import annotations

import torch
from torch import Tensor

from vocoder.errors import InvalidInput
from vocoder.flows.flow import Flow, full_precision, local_log_det, log_det_dtype, sum_log_det


class DiagonalWhiten(Flow):
    """Divide every element by its own standard deviation: ``z = x / exp(cond)``, ``log_det = −Σ cond``.

    The map from N(0, diag exp(2·cond)) to N(0, I), without parameters.

    Shapes: ``x [B, …]``, kept; ``cond``, log standard deviations, of the shape of ``x`` (else
    `InvalidInput`).

    Example:
        >>> import torch
        >>> z, log_det = DiagonalWhiten()(torch.full((1, 3), 2.0), torch.full((1, 3), 2.0).log())
        >>> z.tolist(), round(log_det.item(), 4)
        ([[1.0, 1.0, 1.0]], -2.0794)
    """

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        z, log_std = self._divided(x, cond)
        return z, -sum_log_det(log_std, lengths)

    def local(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        z, log_std = self._divided(x, cond)
        return z, -local_log_det(log_std, lengths)

    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        log_std = self._log_std(z, cond)
        return (z * log_std.exp()).to(z.dtype), sum_log_det(log_std, lengths)

    def _divided(self, x: Tensor, cond: Tensor | None) -> tuple[Tensor, Tensor]:
        log_std = self._log_std(x, cond)
        return (x * (-log_std).exp()).to(x.dtype), log_std

    def _log_std(self, x: Tensor, cond: Tensor | None) -> Tensor:
        self.check_rank(x)
        return _expect(cond, "log standard deviations", tuple(x.shape))


class CholeskyWhiten(Flow):
    """Decorrelate the G channels of every group by a covariance handed in as ``cond``.

    ``C = L Lᵀ`` with L lower triangular, ``z = L⁻¹ x``, ``log_det = −Σ log L_ii``: the map from N(0, C) to
    N(0, I), without parameters. Computed in the wider of the dtypes of ``x`` and ``C``, at least float32, and
    returned in that of ``x``: a covariance of many decibels can be factored only with digits to spare.

    Shapes: ``x [B, G, S]``, kept; ``cond = C [B, S, G, G]``. Raises `InvalidInput` for another shape of
    ``cond``, and where a C is not positive definite.

    Example:
        >>> import torch
        >>> covariance = torch.tensor([4.0, 9.0]).diag().expand(1, 1, 2, 2)
        >>> z, log_det = CholeskyWhiten()(torch.full((1, 2, 1), 6.0), covariance)
        >>> z.flatten().tolist(), round(log_det.item(), 4)  # −ln(2·3)
        ([3.0, 2.0], -1.7918)
    """

    rank = 3

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        z, factor = self._decorrelated(x, cond)
        return z, -sum_log_det(_log_diagonal(factor), lengths).to(log_det_dtype(x))

    def local(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        z, factor = self._decorrelated(x, cond)
        return z, -local_log_det(_log_diagonal(factor), lengths).to(log_det_dtype(x))

    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        factor = self._factor(z, cond)
        with full_precision(z):
            x = _channels(factor @ _columns(z, factor), z)
        return x, sum_log_det(_log_diagonal(factor), lengths).to(log_det_dtype(z))

    def _decorrelated(self, x: Tensor, cond: Tensor | None) -> tuple[Tensor, Tensor]:
        factor = self._factor(x, cond)
        z = torch.linalg.solve_triangular(factor, _columns(x, factor), upper=False)
        return _channels(z, x), factor

    def _factor(self, x: Tensor, cond: Tensor | None) -> Tensor:
        self.check_rank(x)
        batch, group, groups = x.shape
        covariance = _expect(cond, "covariances", (batch, groups, group, group))
        wide = torch.promote_types(covariance.dtype, log_det_dtype(x))
        try:
            return torch.linalg.cholesky(covariance.to(wide))
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]  # exported, but not declared so
            raise InvalidInput(f"cond holds a covariance that is not positive definite: {error}") from error


def _expect(cond: Tensor | None, meaning: str, shape: tuple[int, ...]) -> Tensor:
    if cond is None or cond.shape != shape:
        got = None if cond is None else tuple(cond.shape)
        raise InvalidInput(f"cond ({meaning}) must have the shape {shape}, got {got}")
    return cond


def _columns(x: Tensor, factor: Tensor) -> Tensor:
    """``[B, G, S] → [B, S, G, 1]``, a column for every factor."""
    return x.to(factor.dtype).transpose(1, 2).unsqueeze(-1)


def _channels(columns: Tensor, like: Tensor) -> Tensor:
    """``[B, S, G, 1] → [B, G, S]``."""
    return columns.squeeze(-1).transpose(1, 2).to(like.dtype)


def _log_diagonal(factor: Tensor) -> Tensor:
    """``ln L_ii``, ``[B, S, G, G] → [B, G, S]``."""
    return factor.diagonal(dim1=-2, dim2=-1).mT.log()
