"""What a mel looks like that is not ours: the habits of speech, looked for in every convention.

In a natural-log mel of speech the louder half, from the median to the 95th percentile, spans 2.3 to 4.7 nats
(so in each of 2766 recordings of four people), however loud it is, and its median and maximum lie between a
whisper and full scale. In another convention the same numbers are narrower, wider or elsewhere. A mel that is
not of this kind is suspected to be of the first convention in which its numbers are. Values at the very
least, which is where silence and padding lie, are not counted.

A suspicion is no proof, and where there is doubt there is no suspicion: noise, tones, a short clip pass.

Letters: B batch, M mel bands, L mel frames.
"""

import sys
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vocoder.errors import InvalidMel, MelWarning
from vocoder.features.conventions import CONVENTIONS
from vocoder.features.scales import Decibels, Normalised

if TYPE_CHECKING:
    from vocoder.features.spec import MelSpec

__all__ = ["explain", "suspect", "warn_if_suspect"]

FEWEST = 50  # frames: half a second, in which somebody may just have paused
LONGEST = 1000  # frames looked at
SAMPLED = 32  # of these, for percentiles
FRAMES_AKIN, BANDS_AKIN = 0.7, 0.6  # least correlation of neighbours; speech: 0.8, 0.6; noise: 0.45, 0.35

TOLD_APART = (  # what is left of the named ones has numbers like these, or like ours
    *((name, CONVENTIONS[name]) for name in ("log10", "db", "symmetric", "positive", "unit", "ln_power")),
    ("db", Decibels(reference=20)),
    ("db", Decibels(power=2)),
    ("unit", Normalised(low=0, high=1)),
)

REMEDIES = {
    **{name: f"`MelSpec.convert(mel, {name!r})` makes it one" for name in CONVENTIONS},
    "db": "`MelSpec.convert(mel, Decibels(reference=…))` makes it one",
    "mean_variance": "`MelSpec.convert(mel, MeanVariance(mean, std))` makes it one",
    "linear": "its logarithm has not been taken",
    "negated": "its sign is turned",
}
"""What to do about a mel of each kind that can be suspected."""


def suspect(mel: Tensor, spec: "MelSpec") -> str | None:
    """The convention that a mel `[M, L]` or `[B, M, L]` seems to be of, if not ours: a key of `REMEDIES`.

    None for a mel that is like speech, or like nothing known. `hifigan` has our numbers, and cannot be told.

    >>> from vocoder.features import MelSpec
    >>> suspect(torch.full((80, 200), -5.0), MelSpec()) is None
    True
    """
    clips = mel.detach() if mel.ndim == 3 else mel.detach()[None]
    return next((name for clip in clips if (name := _suspect(clip, spec))), None)


def explain(name: str) -> str:
    """A suspicion in words, with its remedy."""
    return f"it looks like {name}, not like a natural-log mel; {REMEDIES[name]}"


def warn_if_suspect(mel: Tensor, spec: "MelSpec") -> None:
    """Issue a `MelWarning` where `suspect` names a convention; it points to whoever called this package."""
    if name := suspect(mel, spec):
        warnings.warn(f"mel may be of another convention: {explain(name)}", MelWarning, _outside())


def _suspect(mel: Tensor, spec: "MelSpec") -> str | None:
    if mel.shape[1] < FEWEST:
        return None
    mel = mel[:, :LONGEST].cpu().float()
    facts = _percentiles(mel)
    if facts is None or _is_ours(facts) or not _is_spectrogram(mel.clamp(facts[1], facts[3])):
        return None
    if _is_standardised(mel, facts):
        return "mean_variance"
    return next((name for name, natural in _readings(facts, spec) if _is_speech(natural)), None)


def _percentiles(mel: Tensor) -> Tensor | None:
    """Least value, 5th, 50th and 95th percentile, greatest value, `[5]`; None for a mel that is all alike."""
    least, most = torch.aminmax(mel)
    values = mel[:, :: max(1, mel.shape[1] // SAMPLED)].flatten()
    values = values[values > least + 1e-6 * (most - least)].sort().values
    if len(values) < FEWEST:
        return None
    part = torch.tensor([0.05, 0.5, 0.95]) * (len(values) - 1)
    return torch.stack([least, *values[part.round().long()], most])


def _is_ours(facts: Tensor) -> bool:
    """Wider than `_is_speech`: telephone bands, noise and gates are ours too."""
    _, _, middle, high, most = facts.tolist()
    return middle <= -3.9 and 1.7 <= high - middle <= 5.3 and most >= -7


def _is_speech(facts: Tensor) -> bool:
    """Whether these are percentiles of natural logarithms that speech is likely to have."""
    _, low, middle, high, most = facts.tolist()
    louder, softer = high - middle, middle - low
    level = -9.6 <= middle <= -3.2 and -2.8 <= most <= 2.6
    return level and 2.2 <= louder <= 5.2 and 0.5 * softer <= louder <= 2.2 * softer


def _is_spectrogram(mel: Tensor) -> bool:
    """Whether neighbouring frames and bands resemble one another, as they do where windows overlap."""
    frames, bands = mel - mel.mean(1, keepdim=True), mel - mel.mean(0)
    akin = _correlation(frames[:, 1:], frames[:, :-1]), _correlation(bands[1:], bands[:-1])
    return akin[0] >= FRAMES_AKIN and akin[1] >= BANDS_AKIN


def _correlation(x: Tensor, y: Tensor) -> float:
    return float((x * y).sum() / (x.square().sum() * y.square().sum()).sqrt().clamp(min=1e-30))


def _is_standardised(mel: Tensor, facts: Tensor) -> bool:
    """Mean 0, deviation 1, and no band much louder than another, which speech never is by itself."""
    bands = mel.mean(1)
    middling = abs(float(mel.mean())) < 0.8 and abs(float(facts[2])) < 0.8
    return middling and 0.5 < float(mel.std()) < 1.6 and float(bands.std()) < 0.5 and float(facts[0]) < -1


def _readings(facts: Tensor, spec: "MelSpec") -> Iterator[tuple[str, Tensor]]:
    """The percentiles as natural logarithms, for every convention that they can be of."""
    for name, convention in TOLD_APART:
        try:
            yield name, convention.to_ln(facts[None], spec)[0]
        except InvalidMel:  # out of its range
            continue
    if facts[0] >= 0:
        yield "linear", facts.clamp(min=1e-9).log()
    yield "negated", -facts.flip(0)


def _outside() -> int:
    """The stack level of the first caller from elsewhere, as `warnings.warn` counts from its own caller."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("vocoder."):
        frame, level = frame.f_back, level + 1
    return level
