"""Where the flow ends: the density of the latent, and draws from it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F
from torch.special import log_ndtr

from vocoder.errors import InvalidInput
from vocoder.flows.flow import log_det_dtype, sum_log_det
from vocoder.noise import noise


class Prior(ABC):
    """A density of independent, identical elements, with logarithms in nats."""

    def log_prob(self, z: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The log-density ``[B]`` of ``z [B, …]`` in nats; with ``lengths [B]``, of that much of each."""
        return sum_log_det(self.local(z), lengths)

    @abstractmethod
    def local(self, z: Tensor) -> Tensor:
        """The log-density of every element of ``z``, whose sum is `log_prob`; in at least float32."""

    def sample(self, shape: Sequence[int], seed: int = 0, temperature: float = 1.0) -> Tensor:
        """A draw of ``shape``, times ``temperature``: float32 on the CPU, a pure function of ``seed``.

        The first items of a larger batch are those of a smaller one. Raises `InvalidInput` for a seed that is
        no integer in [0, 2⁶³) and for a temperature that is negative or not finite.
        """
        if not 0 <= temperature < math.inf:
            raise InvalidInput(f"temperature (= {temperature}) must be finite and not negative")
        return temperature * self._of_normal(noise(seed, 0, math.prod(shape)).view(*shape))

    @abstractmethod
    def _of_normal(self, z: Tensor) -> Tensor:
        """The quantile of this density at the probability that z has in the standard normal one."""


class GaussianPrior(Prior):
    """The standard normal N(0, I): ``log p(z) = −½ Σ (z² + ln 2π)`` in nats, ``[B, …] → [B]``.

    ``½ ln 2π = 0.919`` nats a dimension is included: without it, likelihoods of different sources cannot be
    compared. Accumulated in at least float32.

    Example:
        >>> import torch
        >>> round(GaussianPrior().log_prob(torch.zeros(1, 10)).item(), 3)
        -9.189
    """

    def local(self, z: Tensor) -> Tensor:
        z = z.to(log_det_dtype(z))  # the constant, rounded to bfloat16, is off by a nat in a thousand samples
        return -0.5 * (z.square() + math.log(2 * math.pi))

    def _of_normal(self, z: Tensor) -> Tensor:
        return z


class LogisticPrior(Prior):
    """The standard logistic: ``log p(z) = −Σ [softplus(z) + softplus(−z)]`` in nats, ``[B, …] → [B]``.

    NICE's choice for images, for its bounded slope ``tanh(z / 2)`` (Dinh et al. 2014, arXiv:1410.8516,
    section 3.4). A draw is ``ln u − ln (1 − u)`` of a uniform u, the distribution function's inverse. Its
    standard deviation is π / √3 = 1.81.

    Example:
        >>> import torch
        >>> round(LogisticPrior().log_prob(torch.zeros(1, 10)).item(), 3)  # −10 ln 4
        -13.863
    """

    def local(self, z: Tensor) -> Tensor:
        z = z.to(log_det_dtype(z))
        return F.logsigmoid(z) + F.logsigmoid(-z)  # torch's softplus leaves out e⁻²⁰ and less

    def _of_normal(self, z: Tensor) -> Tensor:
        z = z.double()  # ln Φ(z) − ln Φ(−z), and finite however rare z is
        return (log_ndtr(z) - log_ndtr(-z)).float()
