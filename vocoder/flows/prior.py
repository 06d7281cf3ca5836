"""Where the flow ends: the density of the latent."""

from __future__ import annotations

import math

from torch import Tensor

from vocoder.flows.flow import log_det_dtype, sum_log_det


class GaussianPrior:
    """The standard normal N(0, I): ``log p(z) = −½ Σ (z² + ln 2π)`` in nats, ``[B, …] → [B]``.

    ``½ ln 2π = 0.919`` nats a dimension is included: without it, likelihoods of different sources cannot be
    compared. Accumulated in at least float32.

    Example:
        >>> import torch
        >>> round(GaussianPrior().log_prob(torch.zeros(1, 10)).item(), 3)
        -9.189
    """

    def log_prob(self, z: Tensor) -> Tensor:
        """The log-density ``[B]`` of ``z [B, …]`` in nats."""
        z = z.to(log_det_dtype(z))  # the constant, rounded to bfloat16, is off by a nat in a thousand samples
        return sum_log_det(-0.5 * (z.square() + math.log(2 * math.pi)))
