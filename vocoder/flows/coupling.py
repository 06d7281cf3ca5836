"""Coupling layers: one part of the data decides how the other part is changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vocoder.errors import InvalidConfig, InvalidInput
from vocoder.flows.flow import Flow, local_log_det, refuse_lengths, sum_log_det, zero_log_det
from vocoder.flows.partition import Checkerboard, Leading, Partition
from vocoder.padding import cleared

Conditioner = Callable[..., Tensor]  # (x_a, cond), and lengths where a batch has them
Order = Literal["scale_then_shift", "shift_then_scale"]
ScaleMap = Literal["exp", "sigmoid", "tanh"]


class _Coupling(Flow):
    """What both couplings share: one part of ``x`` passes and feeds the conditioner."""

    def __init__(self, conditioner: Conditioner, partition: Partition | int) -> None:
        super().__init__()
        self.conditioner = conditioner
        self.partition = Leading(partition) if isinstance(partition, int) else partition

    def _split(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        self.check_rank(x)
        refuse_lengths(x, lengths)
        return self.partition.split(x)

    def _ask(
        self, x_a: Tensor, x_b: Tensor, cond: Tensor | None, lengths: Tensor | None, parts: int
    ) -> tuple[Tensor, ...]:
        """The conditioner's answer, in ``parts`` shaped and typed as ``x_b``.

        Broadcast, a scale would be counted once for many; in half precision, exp(log_s) would not match
        log_s.
        """
        answer = self.conditioner(x_a, cond, *([] if lengths is None else [lengths]))
        wanted = (x_b.shape[0], parts * x_b.shape[1], *x_b.shape[2:])
        if answer.shape != wanted:
            raise InvalidInput(f"conditioner must answer with shape {wanted}, got {tuple(answer.shape)}")
        return cleared(answer, lengths).to(x_b.dtype).chunk(parts, 1)


class AdditiveCoupling(_Coupling):
    """Shift one part of the data by a function of the other: ``z_b = x_b + t(x_a)`` and ``log_det = 0``.

    The inverse is ``x_b = z_b − t(z_a)``, whatever ``t`` is (Dinh et al. 2014, NICE, arXiv:1410.8516, section
    3.2).

    Args:
        conditioner: ``(x_a, cond) → t``, shaped as ``x_b``; any callable, usually a network. Another shape is
            refused with `InvalidInput`. A batch with ``lengths`` hands them on as a third argument.
        partition: which part passes unchanged and feeds the conditioner; a number is `Leading` of it.

    Shapes: any that the partition takes, kept; ``lengths`` only with sequences ``[B, C, S]``.

    Example:
        >>> import torch
        >>> z, _ = AdditiveCoupling(lambda x_a, cond: 10 * x_a, 1)(torch.tensor([[[1.0], [2.0]]]))
        >>> z.flatten().tolist()
        [1.0, 12.0]
    """

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        x_a, x_b = self._split(x, lengths)
        return self.partition.join(x_a, x_b + self._shift(x_a, x_b, cond, lengths)), zero_log_det(x)

    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        z_a, z_b = self._split(z, lengths)
        return self.partition.join(z_a, z_b - self._shift(z_a, z_b, cond, lengths)), zero_log_det(z)

    def _shift(self, kept: Tensor, changed: Tensor, cond: Tensor | None, lengths: Tensor | None) -> Tensor:
        (t,) = self._ask(kept, changed, cond, lengths, 1)
        return self.partition.changed(t, changed)


class AffineCoupling(_Coupling):
    """Scale and shift one part of the data by functions of the other.

    ``order="scale_then_shift"``: ``z_b = exp(log_s) · x_b + t``, as in the papers of RealNVP and WaveGlow
    (section 2.1) and in WaveGlow's code. ``order="shift_then_scale"``: ``z_b = (x_b + t) · exp(log_s)``, as
    in the code of RealNVP and Glow. Either way ``log_det = Σ log_s`` (Dinh et al. 2016, RealNVP,
    arXiv:1605.08803, eq. 4–8).

    ======== ============================= ======================================================
    scale    log_s of the network's h      as in
    ======== ============================= ======================================================
    exp      h                             WaveGlow; the papers of RealNVP and Glow
    sigmoid  log sigmoid(h + 2)            Glow's code; it only shrinks, and the inverse magnifies
    tanh     gain · tanh(h), gain learned  RealNVP's code
    ======== ============================= ======================================================

    Args:
        conditioner: ``(x_a, cond) → [t | h]``, each shaped as ``x_b``, side by side along the channels (the
            order of WaveGlow's code); any callable, usually a network. Another shape is refused with
            `InvalidInput`.
        partition: which part passes unchanged and feeds the conditioner; a number is `Leading` of it.
        order: which of the two maps above.
        bound: largest ``|log_s|``, reached smoothly by ``bound · tanh(log_s / bound)`` so that the inverse
            cannot explode; ``None`` leaves it free, as the published WaveGlow does. Not above zero, it is
            `InvalidConfig`.
        scale: which log_s, of the table above.
        gain: what the gain of ``"tanh"`` starts at; by default as in RealNVP's code, 0 for a checkerboard and
            1 for channels. With 0, h must not start at zero too, or neither ever moves.

    Shapes: any that the partition takes, kept; ``lengths`` only with sequences ``[B, C, S]``.

    Example:
        >>> import torch
        >>> double = AffineCoupling(lambda x_a, cond: torch.tensor([[[1.0], [2.0]]]).log(), 1)
        >>> z, log_det = double(torch.tensor([[[5.0], [3.0]]]))  # t = ln 1, log_s = ln 2
        >>> z.flatten().tolist(), round(log_det.item(), 4)
        ([5.0, 6.0], 0.6931)
    """

    def __init__(
        self,
        conditioner: Conditioner,
        partition: Partition | int,
        *,
        order: Order = "scale_then_shift",
        bound: float | None = None,
        scale: ScaleMap = "exp",
        gain: float | None = None,
    ) -> None:
        super().__init__(conditioner, partition)
        if order not in get_args(Order):
            raise InvalidConfig(f"order (= {order!r}) must be one of {get_args(Order)}")
        if bound is not None and not bound > 0:
            raise InvalidConfig(f"bound (= {bound}) must be above zero, or None")
        if scale not in get_args(ScaleMap):
            raise InvalidConfig(f"scale (= {scale!r}) must be one of {get_args(ScaleMap)}")
        if gain is not None and scale != "tanh":
            raise InvalidConfig(f"gain (= {gain}) belongs to scale='tanh', got scale={scale!r}")
        self.order, self.bound, self.scale = order, bound, scale
        if scale == "tanh":
            usual = 0.0 if isinstance(self.partition, Checkerboard) else 1.0
            self.gain = nn.Parameter(torch.tensor(usual if gain is None else gain))

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        z, log_s = self._scaled(x, cond, lengths)
        return z, sum_log_det(log_s)

    def local(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        z, log_s = self._scaled(x, cond, lengths)
        return z, self.partition.by_position(local_log_det(log_s), x)

    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        z_a, z_b = self._split(z, lengths)
        t, log_s = self._shift_and_scale(z_a, z_b, cond, lengths)
        shift_first = self.order == "shift_then_scale"
        x_b = z_b * (-log_s).exp() - t if shift_first else (z_b - t) * (-log_s).exp()
        return self.partition.join(z_a, x_b), -sum_log_det(log_s)

    def _scaled(self, x: Tensor, cond: Tensor | None, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        x_a, x_b = self._split(x, lengths)
        t, log_s = self._shift_and_scale(x_a, x_b, cond, lengths)
        shift_first = self.order == "shift_then_scale"
        z_b = (x_b + t) * log_s.exp() if shift_first else x_b * log_s.exp() + t
        return self.partition.join(x_a, z_b), log_s

    def _shift_and_scale(
        self, kept: Tensor, changed: Tensor, cond: Tensor | None, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        t, raw = self._ask(kept, changed, cond, lengths, 2)
        log_s = self._log_scale(raw, lengths)
        return self.partition.changed(t, changed), self.partition.changed(log_s, changed)

    def _log_scale(self, raw: Tensor, lengths: Tensor | None) -> Tensor:
        if self.scale == "tanh":
            raw = self.gain.to(raw.dtype) * torch.tanh(raw)
        if self.scale == "sigmoid":  # which does not leave the zeros of padding at zero
            raw = cleared(F.logsigmoid(raw + 2), lengths)
        return raw if self.bound is None else self.bound * torch.tanh(raw / self.bound)
