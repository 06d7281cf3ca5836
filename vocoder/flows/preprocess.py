"""Between pixels and the real line: noise that makes densities of integers, and the flows to begin with."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from vocoder.errors import InvalidConfig, InvalidInput
from vocoder.flows.flow import Flow, local_log_det, log_det_dtype, sum_log_det, zero_log_det
from vocoder.padding import cleared


class Logit(Flow):
    """Spread the unit interval over the real line: ``z = logit(p)``, ``p = α + (1 − 2α) x``.

    ``log_det = Σ [softplus(z) + softplus(−z) + ln(1 − 2α)]``. α keeps the ends of the interval from infinity,
    both of them as in RealNVP's code; its paper's ``α + (1 − α) x`` protects 0 only (Dinh et al. 2016,
    arXiv:1605.08803, section 4.1). The inverse is finite for any z and answers with numbers of the interval
    ``(−α, 1 − α) / (1 − 2α)``, an α's breadth wider than the unit interval; `quantise` cuts that off. What
    lies outside of it, or rounds to its end, has no logit and is taken for the nearest number that has.

    Args:
        alpha: α, in [0, ½) (else `InvalidConfig`).

    Shapes: ``[B, …]``, kept.

    Example:
        >>> import torch
        >>> z, log_det = Logit(alpha=0.05)(torch.tensor([[0.5, 1.0]]))
        >>> [round(value, 3) for value in z.flatten().tolist()], round(log_det.item(), 3)
        ([0.0, 2.944], 4.223)
    """

    def __init__(self, alpha: float = 0.05) -> None:
        super().__init__()
        if not 0 <= alpha < 0.5:
            raise InvalidConfig(f"alpha (= {alpha}) must lie in [0, 0.5)")
        self.alpha = alpha

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        z = self._logit(x)
        return cleared(z, lengths).to(x.dtype), sum_log_det(self._log_slope(z), lengths)

    def local(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        z = self._logit(x)
        return cleared(z, lengths).to(x.dtype), local_log_det(self._log_slope(z), lengths)

    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        self.check_rank(z)
        wide = z.to(log_det_dtype(z))
        x = (torch.sigmoid(wide) - self.alpha) / (1 - 2 * self.alpha)
        return cleared(x, lengths).to(z.dtype), -sum_log_det(self._log_slope(wide), lengths)

    def _logit(self, x: Tensor) -> Tensor:
        self.check_rank(x)
        p = self.alpha + (1 - 2 * self.alpha) * x.to(log_det_dtype(x))
        return torch.logit(p, eps=torch.finfo(p.dtype).eps)

    def _log_slope(self, z: Tensor) -> Tensor:
        """``ln dz/dx``; torch's softplus leaves out e⁻²⁰ and less."""
        return math.log(1 - 2 * self.alpha) - F.logsigmoid(z) - F.logsigmoid(-z)


class Centre(Flow):
    """Move the unit interval to the middle: ``z = x − ½``, ``log_det = 0``, as in Glow's code.

    Shapes: ``[B, …]``, kept.

    Example:
        >>> import torch
        >>> Centre()(torch.tensor([[0.0, 1.0]]))[0].tolist()
        [[-0.5, 0.5]]
    """

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        self.check_rank(x)
        return cleared(x - 0.5, lengths), zero_log_det(x)

    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        self.check_rank(z)
        return cleared(z + 0.5, lengths), zero_log_det(z)


def dequantise(images: Tensor, levels: int, noise: Tensor) -> Tensor:
    """``x = (images + noise) / levels`` in [0, 1): integers spread over the cells that are theirs.

    With uniform noise, the mean density of a cell is a lower bound for its probability, ``E log p(x) −
    n ln levels ≤ log P(images)`` (Theis et al. 2015, arXiv:1511.01844, section 3.1).

    Args:
        images: integers within 0 … levels − 1.
        levels: how many there are.
        noise: of [0, 1), shaped as ``images``, in the dtype of the answer. What would round up into the next
            cell is kept in its own, a few roundings below the edge: `quantise` always gives the image back.

    Raises `InvalidInput` for images and noise that are none of that kind, and for noise of a dtype too short
    to tell so many levels apart (float16 and bfloat16 are, for a byte).

    Example:
        >>> import torch
        >>> dequantise(torch.tensor([[0, 3]]), 4, torch.tensor([[0.5, 0.0]])).tolist()
        [[0.125, 0.75]]
    """
    _check_levels(levels)
    if images.is_floating_point() or not noise.is_floating_point() or noise.shape != images.shape:
        got = f"{images.dtype} of shape {tuple(images.shape)} and {noise.dtype} of {tuple(noise.shape)}"
        raise InvalidInput(f"images must be integers and noise real numbers of their shape, got {got}")
    images = images.long()  # no byte is less than 256
    if bool(((images < 0) | (images >= levels)).any()):
        got = f"{int(images.min())} … {int(images.max())}"
        raise InvalidInput(f"images must lie in 0 … {levels - 1}, got {got}")
    return (images + noise.clamp(0.0, 1 - 2 * _rounding(noise, levels))) / levels


def quantise(x: Tensor, levels: int) -> Tensor:
    """The integers ``⌊levels · x⌋`` (int64) whose cells ``x`` lies in; outside of [0, 1), the nearest.

    Example:
        >>> import torch
        >>> quantise(torch.tensor([-0.1, 0.3, 1.05]), 4).tolist()
        [0, 1, 3]
    """
    _check_levels(levels)
    return (x * levels + _rounding(x, levels)).floor().clamp(0, levels - 1).long()


def _check_levels(levels: int) -> None:
    if levels < 1:
        raise InvalidInput(f"levels (= {levels}) must be at least 1")


def _rounding(x: Tensor, levels: int) -> float:
    """More than what dividing by ``levels`` and multiplying again can lose, of a cell of 1."""
    lost: float = 2 * levels * torch.finfo(x.dtype).eps
    if lost > 0.25:
        raise InvalidInput(f"{x.dtype} is too short for {levels} levels: convert to float32 or float64")
    return lost
