"""Coupling layers: one half of the channels decides how the other half is changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from vocoder.errors import InvalidConfig, InvalidInput
from vocoder.flows.flow import Flow, sum_log_det, zero_log_det

Conditioner = Callable[[Tensor, Tensor | None], Tensor]
Order = Literal["scale_then_shift", "shift_then_scale"]


class _Coupling(Flow):
    """What both couplings share: the first ``keep`` channels pass and feed the conditioner."""

    rank = 3

    def __init__(self, conditioner: Conditioner, keep: int) -> None:
        super().__init__()
        if keep < 1:
            raise InvalidConfig(f"keep (= {keep}) must be at least 1, for the conditioner to look at")
        self.conditioner = conditioner
        self.keep = keep

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.check_rank(x)
        if x.shape[1] <= self.keep:
            rule = f"coupling keeps {self.keep} channels and must change at least one"
            raise InvalidInput(f"{rule}, got shape {tuple(x.shape)}")
        return x[:, : self.keep], x[:, self.keep :]

    def _ask(self, x_a: Tensor, x_b: Tensor, cond: Tensor | None, parts: int) -> tuple[Tensor, ...]:
        """The conditioner's answer, in ``parts`` shaped and typed as ``x_b``.

        Broadcast, a scale would be counted once for many; in half precision, exp(log_s) would not match
        log_s.
        """
        answer = self.conditioner(x_a, cond)
        wanted = (x_b.shape[0], parts * x_b.shape[1], x_b.shape[2])
        if answer.shape != wanted:
            raise InvalidInput(f"conditioner must answer with shape {wanted}, got {tuple(answer.shape)}")
        return answer.to(x_b.dtype).chunk(parts, 1)


class AdditiveCoupling(_Coupling):
    """Shift one part of the channels by a function of the other: ``z_b = x_b + t(x_a)`` and ``log_det = 0``.

    The inverse is ``x_b = z_b − t(z_a)``, whatever ``t`` is (Dinh et al. 2014, NICE, arXiv:1410.8516, section
    3.2).

    Args:
        conditioner: ``(x_a [B, keep, S], cond) → t [B, C − keep, S]``; any callable, usually a network.
            Another shape is refused with `InvalidInput`.
        keep: how many leading channels pass unchanged and feed the conditioner, at least 1 (else
            `InvalidConfig`).

    Shapes: ``[B, C, S]`` with C > keep, kept.

    Example:
        >>> import torch
        >>> z, _ = AdditiveCoupling(lambda x_a, cond: 10 * x_a, keep=1)(torch.tensor([[[1.0], [2.0]]]))
        >>> z.flatten().tolist()
        [1.0, 12.0]
    """

    def forward(self, x: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x_a, x_b = self._split(x)
        (t,) = self._ask(x_a, x_b, cond, 1)
        return torch.cat([x_a, x_b + t], 1), zero_log_det(x)

    def inverse(self, z: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z_a, z_b = self._split(z)
        (t,) = self._ask(z_a, z_b, cond, 1)
        return torch.cat([z_a, z_b - t], 1), zero_log_det(z)


class AffineCoupling(_Coupling):
    """Scale and shift one part of the channels by functions of the other.

    ``order="scale_then_shift"``: ``z_b = exp(log_s) · x_b + t``, as in the papers of RealNVP and WaveGlow
    (section 2.1) and in WaveGlow's code. ``order="shift_then_scale"``: ``z_b = (x_b + t) · exp(log_s)``, as
    in the code of RealNVP and Glow. Either way ``log_det = Σ log_s`` (Dinh et al. 2016, RealNVP,
    arXiv:1605.08803, eq. 4–8).

    Args:
        conditioner: ``(x_a [B, keep, S], cond) → [B, 2·(C − keep), S]``: ``t`` first, then ``log_s`` (the
            order of WaveGlow's code); any callable, usually a network. Another shape is refused with
            `InvalidInput`.
        keep: how many leading channels pass unchanged and feed the conditioner, at least 1.
        order: which of the two maps above.
        bound: largest ``|log_s|``, reached smoothly by ``bound · tanh(log_s / bound)`` so that the inverse
            cannot explode; ``None`` leaves it free, as the published WaveGlow does. Not above zero, it is
            `InvalidConfig`.

    Shapes: ``[B, C, S]`` with C > keep, kept.

    Example:
        >>> import torch
        >>> double = AffineCoupling(lambda x_a, cond: torch.tensor([[[1.0], [2.0]]]).log(), keep=1)
        >>> z, log_det = double(torch.tensor([[[5.0], [3.0]]]))  # t = ln 1, log_s = ln 2
        >>> z.flatten().tolist(), round(log_det.item(), 4)
        ([5.0, 6.0], 0.6931)
    """

    def __init__(
        self,
        conditioner: Conditioner,
        keep: int,
        *,
        order: Order = "scale_then_shift",
        bound: float | None = None,
    ) -> None:
        super().__init__(conditioner, keep)
        if order not in get_args(Order):
            raise InvalidConfig(f"order (= {order!r}) must be one of {get_args(Order)}")
        if bound is not None and not bound > 0:
            raise InvalidConfig(f"bound (= {bound}) must be above zero, or None")
        self.order = order
        self.bound = bound

    def forward(self, x: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x_a, x_b = self._split(x)
        t, log_s = self._shift_and_scale(x_a, x_b, cond)
        shift_first = self.order == "shift_then_scale"
        z_b = (x_b + t) * log_s.exp() if shift_first else x_b * log_s.exp() + t
        return torch.cat([x_a, z_b], 1), sum_log_det(log_s)

    def inverse(self, z: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z_a, z_b = self._split(z)
        t, log_s = self._shift_and_scale(z_a, z_b, cond)
        shift_first = self.order == "shift_then_scale"
        x_b = z_b * (-log_s).exp() - t if shift_first else (z_b - t) * (-log_s).exp()
        return torch.cat([z_a, x_b], 1), -sum_log_det(log_s)

    def _shift_and_scale(self, kept: Tensor, changed: Tensor, cond: Tensor | None) -> tuple[Tensor, Tensor]:
        t, log_s = self._ask(kept, changed, cond, 2)
        return t, log_s if self.bound is None else self.bound * torch.tanh(log_s / self.bound)
