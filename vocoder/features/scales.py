"""Other scales of the same mel: logarithms of any base, decibels, decibels normalised, and standardised ones.

Letters: B batch, M mel bands, L mel frames.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from vocoder.errors import InvalidConfig, InvalidMel

if TYPE_CHECKING:
    from vocoder.features.spec import MelSpec

__all__ = ["Convention", "Decibels", "Logarithm", "MeanVariance", "Normalised"]

NATS_PER_DECIBEL = math.log(10) / 20
RAYLEIGH = math.log(math.pi) / 2 - math.log(2)  # ln √π/2: E|X| / √E|X|² of a Gaussian X
SLACK = 0.05  # how far beyond its range, in parts of it, a normalised mel that a model predicted may lie


class Convention(ABC):
    """Somebody's way to write a mel `[M, L]` or `[B, M, L]`, whose other numbers are those of a `MelSpec`.

    Attributes:
        formula: what is written, of the mel magnitude x = W |STFT|.
        source: whose way it is, and the file that says so.
    """

    formula: ClassVar[str]
    source: ClassVar[str]

    @abstractmethod
    def to_ln(self, mel: Tensor, spec: "MelSpec") -> Tensor:
        """Theirs → ln x. Raises `InvalidMel` for what cannot be theirs."""

    @abstractmethod
    def from_ln(self, mel: Tensor, spec: "MelSpec") -> Tensor:
        """ln x → theirs."""

    def _require(self, name: str, condition: bool, rule: str) -> None:
        if not condition:
            raise InvalidConfig(f"{type(self).__name__}.{name} (={getattr(self, name)!r}) must {rule}")


@dataclass(frozen=True)
class Logarithm(Convention):
    """A logarithm of any base, of magnitudes (`power` 1) or of powers (`power` 2).

    From W |STFT|² to W |STFT| leads no exact way, since a band has several bins. Taken is what holds for
    noise: ``ln x = ½ ln(W |STFT|²) + ½ ln(n_fft / sample_rate) + ln √π/2``, where the middle term is the area
    of a band in bins. On recorded speech that is 0.07 nats off in the mean.

    >>> from vocoder.features import MelSpec
    >>> Logarithm(base=10).to_ln(torch.tensor([[-1.0]]), MelSpec())
    tensor([[-2.3026]])
    """

    formula: ClassVar[str] = "log_base(max(x, floor)); with power 2, log_base(max(W |STFT|², floor))"
    source: ClassVar[str] = "kan-bayashi/ParallelWaveGAN, parallel_wavegan/bin/preprocess.py"

    base: float = math.e
    floor: float = 1e-10
    power: int = 1

    def __post_init__(self) -> None:
        self._require("base", self.base > 1, "be > 1")
        self._require("floor", self.floor > 0, "be > 0")
        self._require("power", self.power in (1, 2), "be 1 or 2")

    def to_ln(self, mel: Tensor, spec: "MelSpec") -> Tensor:
        return mel * math.log(self.base) / self.power + _spread(self.power, spec)

    def from_ln(self, mel: Tensor, spec: "MelSpec") -> Tensor:
        natural = (mel - _spread(self.power, spec)) * self.power
        return natural.clamp(min=math.log(self.floor)) / math.log(self.base)


@dataclass(frozen=True)
class Decibels(Convention):
    """Decibels above a reference level.

    `power` 1 is librosa.amplitude_to_db of x, `power` 2 librosa.power_to_db of W |STFT|²; `Logarithm` says
    what that costs. What librosa's ``top_db`` cut stays cut.

    >>> from vocoder.features import MelSpec
    >>> Decibels(reference=20).from_ln(torch.tensor([[0.0]]), MelSpec())
    tensor([[-20.]])
    """

    formula: ClassVar[str] = "20·log10(max(x, floor)) - reference"
    source: ClassVar[str] = "librosa/core/spectrum.py, amplitude_to_db and power_to_db"

    reference: float = 0.0
    floor: float = 1e-5
    power: int = 1

    def __post_init__(self) -> None:
        self._require("reference", math.isfinite(self.reference), "be finite")
        self._require("floor", self.floor > 0, "be > 0")
        self._require("power", self.power in (1, 2), "be 1 or 2")

    def to_ln(self, mel: Tensor, spec: "MelSpec") -> Tensor:
        return (mel + self.reference) * NATS_PER_DECIBEL + _spread(self.power, spec)

    def from_ln(self, mel: Tensor, spec: "MelSpec") -> Tensor:
        level = (mel - _spread(self.power, spec)).clamp(min=math.log(self.floor))
        return level / NATS_PER_DECIBEL - self.reference


@dataclass(frozen=True)
class Normalised(Convention):
    """Decibels from `minimum` to 0 above `reference`, mapped onto [low, high] and cut there.

    What lies below minimum + reference decibels (-80 with Rayhane-mamah's numbers, x = 1e-4) was cut, and is
    that when it comes back. A mel that reaches beyond its range is cut to it, as theirs is; beyond it by more
    than a twentieth of it, and it is `InvalidMel`.

    >>> from vocoder.features import MelSpec
    >>> Normalised().from_ln(torch.tensor([[0.0, -50.0]]), MelSpec())
    tensor([[ 2.4000, -4.0000]])
    """

    formula: ClassVar[str] = "clip((high - low)·(20·log10(x) - reference - minimum)/-minimum + low)"
    source: ClassVar[str] = "Rayhane-mamah/Tacotron-2, datasets/audio.py; keithito/tacotron, util/audio.py"

    low: float = -4.0
    high: float = 4.0
    minimum: float = -100.0
    reference: float = 20.0

    def __post_init__(self) -> None:
        self._require("low", self.low < self.high, f"be < high (={self.high})")
        self._require("minimum", self.minimum < 0, "be < 0")
        self._require("reference", math.isfinite(self.reference), "be finite")

    def to_ln(self, mel: Tensor, spec: "MelSpec") -> Tensor:
        self._check(mel)
        part = (mel.clamp(self.low, self.high) - self.low) / (self.high - self.low)
        return (self.minimum - self.minimum * part + self.reference) * NATS_PER_DECIBEL

    def from_ln(self, mel: Tensor, spec: "MelSpec") -> Tensor:
        part = (mel / NATS_PER_DECIBEL - self.reference - self.minimum) / -self.minimum
        return ((self.high - self.low) * part + self.low).clamp(self.low, self.high)

    def _check(self, mel: Tensor) -> None:
        slack, within = SLACK * (self.high - self.low), f"[{self.low:g}, {self.high:g}]"
        for value in (float(end) for end in torch.aminmax(mel)):
            if not self.low - slack <= value <= self.high + slack:
                raise InvalidMel(f"mel is {value:g} somewhere; one that is normalised lies within {within}")


@dataclass(frozen=True, eq=False)
class MeanVariance(Convention):
    """Another convention, standardised: (y - mean)/std, with statistics for each band `[M]` or for all, `[]`.

    `mean` and `std` are anything that makes a tensor. ParallelWaveGAN keeps ``mean_`` and ``scale_`` of log10
    mels: `MeanVariance(mean, scale, of=Logarithm(base=10))`.

    >>> from vocoder.features import MelSpec
    >>> MeanVariance(-6.0, 2.0).to_ln(torch.tensor([[0.5]]), MelSpec())
    tensor([[-5.]])
    """

    formula: ClassVar[str] = "(y - mean)/std"
    source: ClassVar[str] = "kan-bayashi/ParallelWaveGAN, parallel_wavegan/bin/compute_statistics.py"

    mean: Any
    std: Any
    of: Convention = Logarithm()

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            object.__setattr__(self, name, _statistics(name, getattr(self, name)))
        if not (least := float(self.std.min())) > 0:
            raise InvalidConfig(f"MeanVariance.std is {least:g} somewhere; it must be > 0 in every band")

    def to_ln(self, mel: Tensor, spec: "MelSpec") -> Tensor:
        return self.of.to_ln(mel * self._of_bands("std", mel) + self._of_bands("mean", mel), spec)

    def from_ln(self, mel: Tensor, spec: "MelSpec") -> Tensor:
        theirs = self.of.from_ln(mel, spec)
        return (theirs - self._of_bands("mean", mel)) / self._of_bands("std", mel)

    def _of_bands(self, name: str, mel: Tensor) -> Tensor:
        """Statistics as `[M, 1]` or `[1, 1]`, where the mel is."""
        values: Tensor = getattr(self, name)
        if values.ndim and len(values) != mel.shape[-2]:
            raise InvalidConfig(f"MeanVariance.{name} is of {len(values)} bands, the mel has {mel.shape[-2]}")
        return values.to(mel).reshape(-1, 1)


def _spread(power: int, spec: "MelSpec") -> float:
    """ln x - ½ ln(W |STFT|²) of noise; unit area in hertz is an area of n_fft / sample_rate bins."""
    return 0.0 if power == 1 else math.log(spec.n_fft / spec.sample_rate) / 2 + RAYLEIGH


def _statistics(name: str, values: Any) -> Tensor:
    try:
        told = torch.as_tensor(values, dtype=torch.float64).squeeze()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidConfig(f"MeanVariance.{name} is a {type(values).__name__}, expected numbers") from error
    if told.ndim > 1 or not told.numel() or not told.isfinite().all():
        raise InvalidConfig(f"MeanVariance.{name} {list(told.shape)} must be finite numbers, [] or [bands]")
    return told
