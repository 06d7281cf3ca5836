"""Invertible maps: mathematics only, one idea a file, no network and no word of audio."""

from vocoder.flows.chain import Chain, make_reversible
from vocoder.flows.chequer import Chequered
from vocoder.flows.coupling import AdditiveCoupling, AffineCoupling
from vocoder.flows.flatten import Flattened
from vocoder.flows.flow import Flow
from vocoder.flows.folded import Folded, fold
from vocoder.flows.inverse import Inverse
from vocoder.flows.lapped import LappedTransform
from vocoder.flows.mix import InvertibleConv1x1
from vocoder.flows.norm import ActNorm, BatchNorm
from vocoder.flows.partition import Checkerboard, Leading, OddEven, Partition, Trailing
from vocoder.flows.permute import Reverse, Shuffle, Swap
from vocoder.flows.preprocess import Centre, Logit, dequantise, quantise
from vocoder.flows.prior import GaussianPrior, LogisticPrior, Prior
from vocoder.flows.scale import Scale
from vocoder.flows.split import Split
from vocoder.flows.squeeze import Squeeze, Squeeze2d, Squeezed, Squeezed2d
from vocoder.flows.whiten import CholeskyWhiten, DiagonalWhiten

__all__ = [
    "ActNorm",
    "AdditiveCoupling",
    "AffineCoupling",
    "BatchNorm",
    "Centre",
    "Chain",
    "Checkerboard",
    "Chequered",
    "CholeskyWhiten",
    "DiagonalWhiten",
    "Flattened",
    "Flow",
    "Folded",
    "GaussianPrior",
    "Inverse",
    "InvertibleConv1x1",
    "LappedTransform",
    "Leading",
    "LogisticPrior",
    "Logit",
    "OddEven",
    "Partition",
    "Prior",
    "Reverse",
    "Scale",
    "Shuffle",
    "Split",
    "Squeeze",
    "Squeeze2d",
    "Squeezed",
    "Squeezed2d",
    "Swap",
    "Trailing",
    "dequantise",
    "fold",
    "make_reversible",
    "quantise",
]
