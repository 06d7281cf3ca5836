"""What is no flow, for comparison: a mixture of ten Gaussians with full covariances, scikit-learn's."""

from __future__ import annotations

import math

import numpy as np
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from benchmarks.flows_digits.peers import Contender
from vocoder.flows import Logit, dequantise
from vocoder.training.density.data import Dataset, draw
from vocoder.training.density.trainer import score

__all__ = ["fit"]

COMPONENTS = 10
COPIES = 6  # of the training set, each with noise of its own: a mixture would learn one draw of it by heart
RIDGES = (1e-3, 1e-2, 3e-2, 1e-1, 3e-1)  # added to the variances; the best by validation is taken


class Mixture(nn.Module):
    """A fitted mixture, as a density of logits ``[B, D]``."""

    def __init__(self, fitted: GaussianMixture) -> None:
        super().__init__()
        self.weights, self.means, self.covariances = (
            nn.Parameter(torch.from_numpy(value), requires_grad=False)
            for value in (fitted.weights_, fitted.means_, fitted.covariances_)
        )
        self.rounds = int(fitted.n_iter_)

    @property
    def distribution(self) -> MixtureSameFamily:
        """As torch has it."""
        parts = MultivariateNormal(self.means, self.covariances)
        return MixtureSameFamily(Categorical(self.weights), parts)

    @property
    def numbers(self) -> int:
        """How many were learned: weights that sum to 1, means, symmetric covariances."""
        size = self.means.shape[1]
        return COMPONENTS * (size + size * (size + 1) // 2 + 1) - 1


def fit(data: Dataset, seed: int) -> Contender:
    """The mixture of the ridge that validation images like best."""
    candidates = [_contender(_fitted(data, seed, ridge)) for ridge in RIDGES]
    return min(candidates, key=lambda each: score(each, data.valid, data, 4))


def _contender(mixture: Mixture) -> Contender:
    return Contender(
        mixture,
        lambda one, y: one.distribution.log_prob(y.double()),
        lambda one, n: one.distribution.sample((n,)),
        flat=True,
    )


def _fitted(data: Dataset, seed: int, ridge: float) -> Mixture:
    model = GaussianMixture(COMPONENTS, reg_covar=ridge, random_state=seed)
    return Mixture(model.fit(_logits(data, seed)))


def _logits(data: Dataset, seed: int) -> np.ndarray:
    """Of the training set, several times: ``[COPIES · N, D]``."""
    shape, size = data.train.images.shape, math.prod(data.shape)
    copies: list[Tensor] = []
    for number in range(COPIES):
        x = dequantise(data.train.images, data.levels, draw(seed + 1, number, shape))
        copies.append(Logit()(x)[0].reshape(-1, size))
    return torch.cat(copies).double().numpy()
