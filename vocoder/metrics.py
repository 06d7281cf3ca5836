"""How far synthesised speech is from the recording that its mel was taken from.

| name          | what                                                                | unit       | better |
|---------------|---------------------------------------------------------------------|------------|--------|
| `pesq`        | perceptual quality, wide-band PESQ (ITU-T P.862.2) at 16 kHz         | 1 … 4.64   | higher |
| `stoi`        | short-time objective intelligibility (Taal et al., 2011) at 16 kHz   | 0 … 1      | higher |
| `mstft`       | multi-resolution STFT distance (Yamamoto et al., 2020)               | –          | lower  |
| `mcd`         | mel-cepstral distortion                                              | dB         | lower  |
| `periodicity` | RMSE of periodicity (Morrison et al., CARGAN, 2022)                  | 0 … 1      | lower  |
| `vuv_f1`      | F1 of the decision voiced or unvoiced (the same)                     | 0 … 1      | higher |
| `pitch`       | RMSE of pitch where both are voiced (the same)                       | cents      | lower  |

Every metric takes `reference [T]`, `synthesised [T]`, equally long and aligned, and their sample rate in
hertz. Audio that cannot be compared at all (shapes, lengths, a sample that is not finite) is `InvalidAudio`.
A pair on which one metric says nothing, because it is too short, silent, or nowhere voiced, scores NaN on
that metric: a table is never lost for one clip, and a mean is taken over what is left and tells how many that
is.

The libraries behind the table come with the extra: `pip install "flow-vocoder[eval]"`.

Letters: T samples, M mel bands, L frames.
"""

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from vocoder.audio import resample
from vocoder.errors import InvalidAudio, InvalidInput
from vocoder.features import LogMel, MelSpec

__all__ = ["METRICS", "Metric", "Reference", "measure"]

A = TypeVar("A")
PERCEPTUAL_RATE = 16000  # hertz: what wide-band PESQ and CREPE are defined at


@dataclass(frozen=True)
class Metric(Generic[A]):
    """One row of the table: what is made of each signal, and how two of those compare.

    Called with a pair of signals it is a number; NaN where `analyse` finds too little to judge (it returns
    None then) or `compare` does.
    """

    name: str
    title: str
    higher_is_better: bool
    analyse: Callable[[Tensor, int], A | None]
    compare: Callable[[A, A], float]

    def __call__(self, reference: Tensor, synthesised: Tensor, sample_rate: int) -> float:
        """Compare `synthesised [T]` with `reference [T]`."""
        return self.between(*_pair(_Signal(reference, sample_rate), _Signal(synthesised, sample_rate)))

    def between(self, reference: "_Signal", synthesised: "_Signal") -> float:
        """Compare two signals, of which something may be known already."""
        known, other = reference.known(self.analyse), synthesised.known(self.analyse)
        return math.nan if known is None or other is None else self.compare(known, other)


class Reference:
    """A recording `[T]` to compare with; what is made of it is made once, however many systems it judges.

    >>> tone = torch.sin(torch.arange(22050) / 10)
    >>> Reference(tone, 22050).measure(tone, ["mcd"])
    {'mcd': 0.0}
    """

    def __init__(self, audio: Tensor, sample_rate: int) -> None:
        self._signal = _Signal(audio, sample_rate)

    def measure(self, synthesised: Tensor, names: Iterable[str] | None = None) -> dict[str, float]:
        """Score `synthesised [T]` on the metrics of these names, by default on all of them."""
        pair = _pair(self._signal, _Signal(synthesised, self._signal.sample_rate))
        return {metric.name: metric.between(*pair) for metric in select(names)}


def measure(reference: Tensor, synthesised: Tensor, sample_rate: int) -> dict[str, float]:
    """Every metric of the table on `reference [T]` and `synthesised [T]`."""
    return Reference(reference, sample_rate).measure(synthesised)


def select(names: Iterable[str] | None) -> list[Metric[Any]]:
    """The metrics of these names, in their order; all of them for None."""
    chosen = list(METRICS if names is None else names)
    if unknown := [name for name in chosen if name not in METRICS]:
        raise InvalidInput(f"no metric is called {unknown}; there are {list(METRICS)}")
    return [METRICS[name] for name in chosen]


class _Signal:
    """A checked signal, and what was made of it so far."""

    def __init__(self, audio: Tensor, sample_rate: int) -> None:
        if audio.ndim != 1 or not audio.is_floating_point():
            raise InvalidAudio(
                f"audio is {audio.dtype} {list(audio.shape)}, expected floating-point [samples]"
            )
        if not audio.isfinite().all():
            raise InvalidAudio("audio has a sample that is not finite; such a signal has no score")
        self.audio = audio.detach().cpu().float()
        self.sample_rate = sample_rate
        self._known: dict[Callable[[Tensor, int], Any], Any] = {}

    def known(self, analyse: Callable[[Tensor, int], A | None]) -> A | None:
        if analyse not in self._known:
            self._known[analyse] = analyse(self.audio, self.sample_rate)
        result: A | None = self._known[analyse]
        return result


def _pair(reference: _Signal, synthesised: _Signal) -> tuple[_Signal, _Signal]:
    lengths = len(reference.audio), len(synthesised.audio)
    if lengths[0] != lengths[1]:
        raise InvalidAudio("reference has {} samples, synthesised {}; must be equally long".format(*lengths))
    return reference, synthesised


def library(name: str) -> Any:
    """Import a library that comes with the extra `eval`, or say that it does."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        command = 'pip install "flow-vocoder[eval]"'
        raise ImportError(f"{error.name} is needed to evaluate, and comes with: {command}") from error


def _long_enough(audio: Tensor, _: int) -> Tensor | None:
    return audio if len(audio) > 1024 else None  # half of the longest window is reflected at the ends


def _mstft(reference: Tensor, synthesised: Tensor) -> float:
    """The mean over three resolutions of spectral convergence plus the L1 distance of log magnitudes.

    auraloss.freq.MultiResolutionSTFTLoss as it comes: n_fft 1024, 2048, 512; hop 120, 240, 50; Hann windows
    of 600, 1200, 240 samples, at the rate of the audio. BigVGAN reports the same at 24 kHz.
    """
    distance = library("auraloss.freq").MultiResolutionSTFTLoss()
    return float(distance(synthesised[None, None], reference[None, None]))


def _perceptual(audio: Tensor, sample_rate: int) -> np.ndarray | None:
    samples = resample(audio, sample_rate, PERCEPTUAL_RATE).numpy()
    return samples if len(samples) >= PERCEPTUAL_RATE // 4 else None


def _pesq(reference: np.ndarray, synthesised: np.ndarray) -> float:
    """Wide-band PESQ, the mean over pieces of at most 16 s.

    The code of ITU-T has room for 50 utterances, each at least 0.4 s with its pause, and overruns its memory
    beyond; P.862.3 wants recordings of 8 to 30 s anyway. A piece in which it finds no utterance does not
    count.
    """
    pieces = math.ceil(len(reference) / (16 * PERCEPTUAL_RATE))
    pairs = zip(np.array_split(reference, pieces), np.array_split(synthesised, pieces), strict=True)
    scores = [score for pair in pairs if not math.isnan(score := _pesq_of_piece(*pair))]
    return float(np.mean(scores)) if scores else math.nan


def _pesq_of_piece(reference: np.ndarray, synthesised: np.ndarray) -> float:
    pesq = library("pesq")
    if not (reference.any() and synthesised.any()):
        return math.nan
    try:
        return float(pesq.pesq(PERCEPTUAL_RATE, reference, synthesised, "wb"))
    except (pesq.PesqError, ValueError):  # the latter where a level was too low to be aligned and became NaN
        return math.nan


def _stoi(reference: np.ndarray, synthesised: np.ndarray) -> float:
    """STOI as pystoi computes it, not the extended one; NaN with less than 0.4 s of speech."""
    if not reference.any():
        return math.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        score = float(library("pystoi").stoi(reference, synthesised, PERCEPTUAL_RATE))
    return math.nan if score == 1e-5 else score  # what it returns, with a warning, for too short a signal


CEPSTRA_SPEC = MelSpec()
CEPSTRA = 24


def _cepstra(audio: Tensor, sample_rate: int) -> Tensor | None:
    """Mel-cepstra c₁ … c₂₄ `[24, L]` of log-mel bands x₀ … : c_m = 2/M Σₙ xₙ cos(π m (n + ½) / M).

    At 22 050 Hz (other rates are resampled), with the package's default `MelSpec`: 80 Slaney bands up to 8
    kHz, frames of 1024 every 256 samples. c₀, the level, is left out.
    """
    spec = CEPSTRA_SPEC
    audio = resample(audio, sample_rate, spec.sample_rate)
    if len(audio) <= spec.n_fft // 2:
        return None
    order = torch.arange(1, CEPSTRA + 1)[:, None]
    band = torch.arange(spec.n_mels) + 0.5
    return 2 / spec.n_mels * torch.cos(math.pi / spec.n_mels * order * band) @ LogMel(spec)(audio[None])[0]


def _mcd(reference: Tensor, synthesised: Tensor) -> float:
    """Mean over frames of 10/ln 10 · √(2 Σ (c_m - ĉ_m)²) decibels, m = 1 … 24 (Kubichek, 1993).

    All frames count, silence too, and none is warped, since both signals come from one mel. Published values
    rest on other cepstra (SPTK's or WORLD's) and often on time warping: compare within this table only.
    """
    squares = (reference - synthesised).square().sum(dim=0)  # [24, L] -> [L]
    return float(10 / math.log(10) * (2 * squares).sqrt().mean())


@dataclass(frozen=True)
class _Voicing:
    """What CREPE hears every 10 ms: periodicity within 0 … 1, voiced or not, pitch in steps of 20 cents."""

    periodicity: Tensor
    voiced: Tensor
    step: Tensor


def _voicing(audio: Tensor, sample_rate: int) -> _Voicing | None:
    """CREPE full (torchcrepe) at 16 kHz, as CARGAN and Vocos set it.

    Pitch within 50 … 550 Hz by Viterbi; 1024 samples every 160, none padded; periodicity is 0 where
    A-weighted loudness is below -60 dB, and a frame is voiced from a periodicity of 0.21.
    """
    crepe = library("torchcrepe")
    samples = resample(audio, sample_rate, PERCEPTUAL_RATE)[None]
    if samples.shape[1] < crepe.WINDOW_SIZE:
        return None
    with torch.no_grad():
        batches = crepe.preprocess(samples, PERCEPTUAL_RATE, 160, batch_size=64, pad=False)
        heard = torch.cat([crepe.infer(frames, "full") for frames in batches]).T[None]  # [1, 360, L]
    step, periodicity = crepe.postprocess(heard, 50.0, 550.0, _undithered, return_periodicity=True)
    periodicity = crepe.threshold.Silence(-60)(periodicity, samples, PERCEPTUAL_RATE, 160, pad=False)[0]
    return _Voicing(periodicity, periodicity >= 0.21, step[0])


def _undithered(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Viterbi's path as bins of 20 cents: what torchcrepe makes hertz of is dithered anew on every call."""
    bins = library("torchcrepe").decode.viterbi(probabilities)[0]
    return bins, bins


def _periodicity(reference: _Voicing, synthesised: _Voicing) -> float:
    return float((reference.periodicity - synthesised.periodicity).square().mean().sqrt())


def _vuv_f1(reference: _Voicing, synthesised: _Voicing) -> float:
    """2 TP / (2 TP + FP + FN) with "voiced" as the positive; NaN where neither is voiced anywhere."""
    either = int(reference.voiced.sum() + synthesised.voiced.sum())
    return 2 * int((reference.voiced & synthesised.voiced).sum()) / either if either else math.nan


def _pitch(reference: _Voicing, synthesised: _Voicing) -> float:
    both = reference.voiced & synthesised.voiced
    steps = (reference.step - synthesised.step)[both].double()
    return float(20 * steps.square().mean().sqrt())  # NaN where both are voiced nowhere


METRICS: dict[str, Metric[Any]] = {
    metric.name: metric
    for metric in (
        Metric("pesq", "PESQ-wb", True, _perceptual, _pesq),
        Metric("stoi", "STOI", True, _perceptual, _stoi),
        Metric("mstft", "M-STFT", False, _long_enough, _mstft),
        Metric("mcd", "MCD (dB)", False, _cepstra, _mcd),
        Metric("periodicity", "Periodicity", False, _voicing, _periodicity),
        Metric("vuv_f1", "V/UV F1", True, _voicing, _vuv_f1),
        Metric("pitch", "Pitch (cents)", False, _voicing, _pitch),
    )
}
