"""Invertible maps: mathematics only, one idea a file, no network and no word of audio."""

from vocoder.flows.chain import Chain
from vocoder.flows.coupling import AdditiveCoupling, AffineCoupling
from vocoder.flows.flow import Flow
from vocoder.flows.inverse import Inverse
from vocoder.flows.lapped import LappedTransform
from vocoder.flows.mix import InvertibleConv1x1
from vocoder.flows.permute import Reverse
from vocoder.flows.prior import GaussianPrior
from vocoder.flows.split import Split
from vocoder.flows.squeeze import Squeeze, Squeezed
from vocoder.flows.whiten import CholeskyWhiten, DiagonalWhiten

__all__ = [
    "AdditiveCoupling",
    "AffineCoupling",
    "Chain",
    "CholeskyWhiten",
    "DiagonalWhiten",
    "Flow",
    "GaussianPrior",
    "Inverse",
    "InvertibleConv1x1",
    "LappedTransform",
    "Reverse",
    "Split",
    "Squeeze",
    "Squeezed",
]
