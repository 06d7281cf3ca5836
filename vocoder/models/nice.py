"""NICE: a flow of additive couplings, which keep volume, and one diagonal scaling, which does not.

Dinh, Krueger & Bengio 2014, "NICE: Non-linear Independent Components Estimation", arXiv:1410.8516.

Letters: B batch, D numbers in one item.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from vocoder.flows import (
    AdditiveCoupling,
    Chain,
    Flattened,
    Flow,
    GaussianPrior,
    Leading,
    LogisticPrior,
    OddEven,
    Partition,
    Reverse,
    Scale,
    Shuffle,
    Trailing,
)
from vocoder.models.density import DensityModel, preprocessing
from vocoder.models.density_config import DensityConfig, Preprocess
from vocoder.nets.mlp import MLP

__all__ = ["NICE", "NICEConfig"]

Parts = Literal["half", "odd_even"]
Between = Literal["swap", "reverse", "shuffle"]
PriorName = Literal["logistic", "gaussian"]


@dataclass(frozen=True)
class NICEConfig(DensityConfig):
    """Every choice that shapes a NICE; `InvalidConfig` where one is impossible.

    The published runs, as the paper has them and, where that differs, (as its first version's code has):

    ======== ==== ========= ===================================== ======== ==================
    data     D    couplings hidden layers × width                 prior    nats a test image
    ======== ==== ========= ===================================== ======== ==================
    MNIST    784  4         5 × 1000                              logistic 1980.50
    TFD      2304 4 (8)     4 × 5000 (3,3,2,2,1,1,1,1 × 2000)     Gaussian 5514.71
                                                                  (log.)
    SVHN     3072 4         4 × 2000 (3 × 2000)                   logistic 11496.55
                                                                  (Gauss.)
    CIFAR-10 3072 4 (8)     4 × 2000 (1,1,3,3,2,2,1,1 × 2400)     logistic 5371.78
                                                                  (Gauss.)
    ======== ==== ========= ===================================== ======== ==================

    MNIST is 4.36 bits a dimension. The others were whitened first (TFD approximately, SVHN and CIFAR-10 by
    ZCA), and the numbers hold a log-determinant of that which nobody states: they cannot be compared with,
    and there is no preset of theirs here.

    Attributes:
        couplings: how many; three are the least after which every dimension can depend on every other.
        layers: hidden layers of every coupling's network.
        width: of the hidden layers.
        partition: the parts of a coupling are the entries of ``odd_even`` index (as in the paper, and in the
            code for MNIST and TFD), or the ``half`` in front and the one behind (in the code for the others).
        between: how the parts take turns: ``swap`` roles, ``reverse`` the order of all entries (as in the
            code), or ``shuffle`` them.
        prior: ``logistic``, whose score is bounded, or ``gaussian``.
        bound: largest |s| of the scaling, smoothly, and s itself up to half of that; ``None`` leaves it free,
            as published.
    """

    _choices: ClassVar = {
        "preprocess": Preprocess,
        "partition": Parts,
        "between": Between,
        "prior": PriorName,
    }
    _least: ClassVar = {"couplings": 1, "layers": 0, "width": 1}

    couplings: int = 4
    layers: int = 5
    width: int = 1000
    partition: Parts = "odd_even"
    between: Between = "swap"
    prior: PriorName = "logistic"
    bound: float | None = 16.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_bound(self.bound)
        self._require("shape", math.prod(self.shape) > 1, "hold two numbers at least, to be parted")
        even = math.prod(self.shape) % 2 == 0
        rule = "not be 'reverse' for an odd number of entries: odd ones would stay odd"
        self._require("between", even or self.between != "reverse" or self.partition == "half", rule)

    @classmethod
    def mnist(cls) -> NICEConfig:
        """The paper's own, without a bound: 4.36 bits a dimension on MNIST, 1500 epochs."""
        return cls(shape=(1, 28, 28), bound=None)

    @classmethod
    def digits(cls) -> NICEConfig:
        """For scikit-learn's digits, 8×8 of 17 levels: a minute on a CPU."""
        return cls((1, 8, 8), 17, "logit", 0.3, layers=2, width=256, prior="gaussian", bound=8.0)


class NICE(DensityModel):
    """``z = S · f_n(… f_1(x))``: additive couplings ``f``, which keep volume, and a diagonal ``S = exp(s)``.

    ``log p(x) = Σ_d [log p(z_d) + s_d]`` (Dinh et al. 2014, eq. 3 and section 3.3). Scaling by S and then a
    standard prior is the same density as no scaling and a prior of standard deviation ``σ = 1 / S``: the
    scaling is how a spread of the latent is learned.

    Example:
        >>> model = NICE(NICEConfig((4,), None, couplings=3, layers=1, width=8))
        >>> model.log_prob(torch.zeros(2, 4)).shape
        torch.Size([2])
    """

    config: NICEConfig

    def __init__(self, config: NICEConfig) -> None:
        size = math.prod(config.shape)
        steps = [*_steps(config, size), Scale(size, bound=config.bound)]
        super().__init__(
            Chain([*preprocessing(config.preprocess), Flattened(Chain(steps))]),
            LogisticPrior() if config.prior == "logistic" else GaussianPrior(),
            config.shape,
            config.levels,
        )
        self.config = config

    def importances(self) -> tuple[Tensor, Tensor]:
        """``σ_d = exp(−s_d)`` from the largest to the smallest, and the latent dimensions d in that order.

        Both ``[D]``, of the latent flattened. It is read like the spectrum of a principal component
        analysis: a direction of small σ hardly varies, and as σ → 0 the data loses a dimension (section 3.3).
        """
        (scale,) = (part for part in self.modules() if isinstance(part, Scale))
        sigma, _ = scale.inverse(torch.ones_like(scale.log_scale)[None])
        return torch.sort(sigma.detach()[0], descending=True, stable=True)


def _steps(config: NICEConfig, size: int) -> Iterator[Flow]:
    for k in range(config.couplings):
        if k and config.between != "swap":
            yield Reverse() if config.between == "reverse" else Shuffle(size, seed=k)
        yield _coupling(config, size, turned=config.between == "swap" and k % 2 == 1)


def _coupling(config: NICEConfig, size: int, turned: bool) -> Flow:
    partition, keep = _partition(config, size, turned)
    net = MLP(keep, size - keep, width=config.width, layers=config.layers, dropout=config.dropout)
    return AdditiveCoupling(net, partition)


def _partition(config: NICEConfig, size: int, turned: bool) -> tuple[Partition, int]:
    """Which entries pass, and how many; ``turned``, those that were changed pass."""
    less, more = size // 2, size - size // 2
    if config.partition == "odd_even":
        return OddEven(odd=turned), less if turned else more
    return (Trailing(more), more) if turned else (Leading(less), less)
