"""What is wrong between a recording and a mel: the likelihood notices, simple hypotheses explain.

A recording is scored under the mel it came with, and under its own, which the voice's spec makes of it::

    usual     ln p(audio | own mel)             what the voice gives this very recording
    loss      usual - ln p(audio | given mel)   frame by frame; the median frame is what is judged

The median, because a flow that meets a wrong mel may lose 10⁸ nats in a handful of frames: the mean tells how
the worst ones fare, the median whether the mel is of the right kind.

A *hypothesis* says what the given mel might be: a frame late, in decibels, of other filters. Whoever believes
it corrects the mel, and if it is right, nothing is left of the loss::

    left      usual - ln p(audio | corrected mel)

The few hypotheses whose correction comes nearest to the own mel are tried. The one that leaves least is the
cause, if it leaves next to nothing.

Letters: T samples, M mel bands, L mel frames.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from vocoder.arguments import Mel, as_tensor, fitted
from vocoder.audio import at_level
from vocoder.errors import InvalidAudio, InvalidMel
from vocoder.features import CONVENTIONS, LogMel, MelSpec
from vocoder.features.spec import HIGHEST, LOWEST
from vocoder.models.envelope import NOISE_FLOOR
from vocoder.models.likelihood import log_prob_by_frame
from vocoder.noise import noise
from vocoder.synthesis import Vocoder

__all__ = ["TOLERANCE", "Diagnosis", "Reconstruction", "diagnose", "reconstruction"]

TOLERANCE = 0.04  # nats per sample: more than a gain of 1 dB loses, less than a frame's delay does
TRIED = 3
NEXT_TO_NOTHING, SHARE = 0.4, 0.2  # a cause leaves no more nats than that, and no more of the loss
UNUSUAL = 2.0  # nats per sample: recordings of strangers are within one of a voice's own

DECIBELS = 20 / math.log(10)  # in a nat of magnitude
NOTHING_SIMPLE = "no simple cause; is it the mel of this audio, and of this voice's spec?"

SHIFTS = (1, -1, 2, -2, 3, -3)  # frames
UPPER_EDGES, LOWER_EDGES = (7000.0, 7600.0, math.inf), (0.0, 55.0, 80.0, 125.0)  # hertz; inf is Nyquist
RATES = (16000, 22050, 24000, 44100, 48000)  # hertz


@dataclass(frozen=True)
class Diagnosis:
    """How a mel fits a recording, in nats per sample at the level at which likelihoods compare.

    Attributes:
        score: of the recording under the given mel, all frames; -inf where it has no likelihood at all.
        usual: of the recording under its own mel.
        loss: how much less likely the median frame is under the given mel.
        cause: what the mel looks like; None if it fits, or if nothing simple explains it.
        tried: hypotheses, and what each leaves of the loss.
        typical: of the recordings that the voice was validated on, where its checkpoint says so: the negative
            of `nll` in its header's `extra`.
    """

    score: float
    usual: float
    loss: float
    cause: str | None = None
    tried: dict[str, float] = field(default_factory=dict)
    typical: float | None = None

    @property
    def fits(self) -> bool:
        """Whether the loss is within `TOLERANCE`."""
        return self.loss <= TOLERANCE

    @property
    def message(self) -> str:
        """The diagnosis in one line."""
        return self._of_the_mel() + self._of_the_audio()

    def _of_the_mel(self) -> str:
        if self.fits:
            return "the mel fits: this audio is as likely under it as is usual"
        came = f"this audio is {self.loss:.3g} nats per sample less likely under this mel than is usual"
        return f"{came}: {f'the mel looks {self.cause}' if self.cause else NOTHING_SIMPLE}"

    def _of_the_audio(self) -> str:
        below = 0.0 if self.typical is None else self.typical - self.usual
        unusual = f"; the audio is unusual for this voice, {below:.3g} nats per sample below its recordings"
        return unusual if below > UNUSUAL else ""

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON; a number that is not finite is None."""
        told = {"message": self.message, "fits": self.fits, **asdict(self)}
        told["tried"] = {name: _finite(left) for name, left in self.tried.items()}
        return {name: _finite(value) for name, value in told.items()}


@dataclass(frozen=True)
class Reconstruction:
    """How far audio → z → audio ends from where it began, in single precision.

    Attributes:
        max_error: of any sample.
        snr_db: power of the audio over power of the error, in decibels; inf where no bit differs.
    """

    max_error: float
    snr_db: float

    @property
    def message(self) -> str:
        """The error in one line."""
        return f"audio → z → audio: error at most {self.max_error:.2g}, SNR {self.snr_db:.1f} dB"

    def to_dict(self) -> dict[str, float | None]:
        """Plain values, for JSON; an infinite one is None."""
        return {name: _finite(value) for name, value in asdict(self).items()}


def reconstruction(voice: Vocoder, audio: Tensor, mel: Mel) -> Reconstruction:
    """Measure `Vocoder.reconstruct`, whose arguments and errors these are."""
    again = voice.reconstruct(audio, mel).double()
    original = audio[: len(again)].cpu().double()
    error = again - original
    ratio = original.square().sum() / error.square().sum()
    return Reconstruction(float(error.abs().max()), float(10 * ratio.log10()))


def diagnose(voice: Vocoder, audio: Tensor, mel: Mel, *, seed: int = 0) -> Diagnosis:
    """Say whether a log-mel `[M, L]` is what the voice expects of `audio [T]`, and if not, why.

    Lengths fit as for `Vocoder.score`. The mel may hold numbers that a mel cannot, as one in decibels does:
    it is scored clipped to those that it can. Audio and mels are brought to the level of
    `vocoder.audio.at_level`, the mels by adding the logarithm of the gain. Raises what `score` raises, and
    `InvalidAudio` for silence and for audio that is too short for a mel.
    """
    samples, given = fitted(audio, _numbers(mel, voice.spec), voice.spec)
    own = LogMel(voice.spec)(audio[None].cpu().float())[0][:, : given.shape[1]]
    score = _scorer(voice, samples.cpu().float(), seed)
    usual, under = score(own), score(given)
    if not usual.isfinite().all():
        raise InvalidAudio("audio has no likelihood, not even under its own mel")
    found = Diagnosis(
        score=float(under.mean()),
        usual=float(usual.mean()),
        loss=_loss(usual, under),
        typical=_typical(voice),
    )
    if found.fits:
        return found
    corrected = dict(_hypotheses(voice.spec, audio, own, given))
    nearest = sorted(corrected, key=lambda name: _distance(corrected[name], own))[:TRIED]
    tried = {name: _loss(usual, score(corrected[name])) for name in corrected if name in nearest}
    return replace(found, tried=tried, cause=_cause(found.loss, tried))


def _numbers(mel: Mel, spec: MelSpec) -> Tensor:
    """A mel of the spec's shape that may hold any numbers, infinite ones too."""
    given = as_tensor(mel).cpu().float()
    if given.isnan().any():
        raise InvalidMel("mel has a value that is not a number")
    spec.check(given.clamp(LOWEST, HIGHEST))
    return given


def _typical(voice: Vocoder) -> float | None:
    nll = voice.header.extra.get("nll")
    return -float(nll) if isinstance(nll, (int, float)) else None


def _scorer(voice: Vocoder, audio: Tensor, seed: int) -> Callable[[Tensor], Tensor]:
    """What `Vocoder.score_frames` says of the audio at level, under any mel: -inf where that is no number."""
    scaled = at_level(audio)
    gain = float((scaled.norm() / audio.norm()).log())
    noisy = (scaled + NOISE_FLOOR * noise(seed, 0, len(audio)))[None].to(voice.device)

    @torch.inference_mode()
    def score(mel: Tensor) -> Tensor:
        heard = (mel + gain).clamp(LOWEST, HIGHEST)[None].to(voice.device)
        nats = log_prob_by_frame(voice.model, noisy, heard)[0].cpu()
        return nats.nan_to_num(nan=-math.inf, posinf=-math.inf, neginf=-math.inf) / voice.spec.hop_length

    return score


def _loss(usual: Tensor, under: Tensor) -> float:
    return float((usual - under).median())


def _distance(mel: Tensor, own: Tensor) -> float:
    return float((mel - own).abs().nan_to_num(nan=math.inf).mean())


def _cause(loss: float, tried: dict[str, float]) -> str | None:
    """The first hypothesis of those that leave least, to a hundredth of a nat; None if none leaves little."""
    enough = min(SHARE * loss, NEXT_TO_NOTHING)
    good = {name: round(left, 2) for name, left in tried.items() if left <= enough}
    return min(good, key=lambda name: good[name], default=None)


def _hypotheses(spec: MelSpec, audio: Tensor, own: Tensor, given: Tensor) -> Iterator[tuple[str, Tensor]]:
    """What the given mel may look like, and what it would have been without that; the simplest first."""
    if given.min() == given.max():
        return  # the same number everywhere fits anything
    yield from _of_scale(spec, own, given)
    for frames in SHIFTS:
        late = f"{abs(frames)} frame{'s' * (abs(frames) > 1)} {'late' if frames > 0 else 'early'}"
        yield late, _shifted(given, -frames)
    for told, other in _other_filters(spec):
        theirs = LogMel(other)(audio[None].cpu().float())[0][:, : given.shape[1]]
        yield f"made by filters {told}", own + given - theirs
    offsets = (given - own).median(1, keepdim=True).values
    yield "off by a constant in every band, as other filters or an equaliser make it", given - offsets


def _of_scale(spec: MelSpec, own: Tensor, given: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Another level, no logarithm, another convention, or any other line through the own mel's values."""
    offset = float((given - own).median())
    louder = f"{abs(DECIBELS * offset):.1f} dB {'louder' if offset > 0 else 'quieter'}"
    yield f"{louder} than the audio", given - offset
    yield "linear, without a logarithm", given.clamp(min=spec.floor).log()
    cut = given == given.min()  # where it was cut off below, it says no more than that there is less
    for told, natural in _natural(spec, own, given):
        yield told, torch.where(cut, torch.minimum(natural, own), natural)


def _natural(spec: MelSpec, own: Tensor, given: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The given mel as natural logarithms, if it is of one of the conventions, or of some other scale."""
    for name in [name for name in CONVENTIONS if name not in ("ln", "hifigan")]:
        with suppress(InvalidMel):  # it cannot be of that one
            yield f"like {name}, not ln", CONVENTIONS[name].to_ln(given, spec)
    slope, start = _line(own, given)
    if slope > 0.01 and abs(slope - 1) > 0.03:  # no slope is no mel, and one of 1 is a level
        told = "in decibels of some reference" if abs(slope / DECIBELS - 1) < 0.03 else "normalised"
        yield f"{told}, {slope:.3g} times what it should be and {start:+.3g}", (given - start) / slope


def _line(own: Tensor, given: Tensor) -> tuple[float, float]:
    """Slope and start of the given values over the own, by least squares, but for those that are cut."""
    inside = (given > given.min()) & (given < given.max())
    if not inside.any():
        return 0.0, 0.0
    x, y = own[inside].double(), given[inside].double()
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum().clamp(min=1e-12))
    return slope, float(y.mean() - slope * x.mean())


def _shifted(mel: Tensor, frames: int) -> Tensor:
    """A mel so many frames late, its first or last frame repeated."""
    place = torch.arange(mel.shape[1]) - frames
    return mel[:, place.clamp(0, mel.shape[1] - 1)]


def _other_filters(spec: MelSpec) -> Iterator[tuple[str, MelSpec]]:
    """The spec with filters of another range, or those for another sample rate."""
    nyquist = spec.sample_rate / 2
    for edge in sorted({min(edge, nyquist) for edge in UPPER_EDGES} - {spec.f_max}):
        if edge > spec.f_min:
            yield f"up to {edge:g} Hz instead of {spec.f_max:g}", replace(spec, f_max=edge)
    for edge in sorted({*LOWER_EDGES} - {spec.f_min}):
        if edge < spec.f_max:
            yield f"from {edge:g} Hz instead of {spec.f_min:g}", replace(spec, f_min=edge)
    for rate in sorted({*RATES} - {spec.sample_rate}):
        if rate / 2 > spec.f_min:
            other = replace(spec, sample_rate=rate, f_max=min(spec.f_max, rate / 2))
            yield f"for audio of {rate} Hz instead of {spec.sample_rate}", other


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
