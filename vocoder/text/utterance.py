"""`Utterance`: what front-end output comes to, in symbols and whole frames, ready for an acoustic model.

Durations in seconds become frames by rounding the *edges* between phonemes, so that no rounding adds up: the
frames of all phonemes together are the frames of the whole, exactly. Letters: N symbols, L mel frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from vocoder.errors import InvalidInput
from vocoder.text.schema import MAX_FRAMES, FrontEndOutput, Word
from vocoder.text.symbols import BOUNDARY, END, START, VOWELS, from_ipa, ids

__all__ = ["Utterance", "utterance"]


@dataclass(frozen=True)
class Utterance:
    """Phonemes in our symbols, `^` and `$` included, with what was given of how to say them; None is
    predicted.

    Attributes:
        symbols, ids: `[N]`, and their places in `SYMBOLS`.
        durations: `[N]` whole frames; their sum is the length of the mel.
        f0, energy: `[N]`, or `[L]` where they came for each frame; hertz, 0 is voiceless.
        pace, speaker, seed, pause, text, words: as they came; the spans of words are of `symbols`.
    """

    symbols: tuple[str, ...]
    ids: tuple[int, ...]
    durations: tuple[int, ...] | None = None
    f0: tuple[float, ...] | None = None
    energy: tuple[float, ...] | None = None
    pace: float = 1.0
    speaker: str | None = None
    seed: int | None = None
    pause: float | None = None
    text: str | None = None
    words: tuple[Word, ...] = ()

    @property
    def frames(self) -> int | None:
        """L where durations are given: how long the mel is."""
        return None if self.durations is None else sum(self.durations)


def utterance(output: FrontEndOutput, frame_rate: float) -> Utterance:
    """What front-end output comes to at `frame_rate` mel frames a second.

    A `^` or `$` that did not come is added, with no frames of its own where durations are given. Raises
    `InvalidInput` for a phoneme that is not known, and for a mel, which needs no symbols.

    >>> said = utterance(FrontEndOutput(phonemes=["AY1"], durations=[0.3], unit="seconds"), 22050 / 256)
    >>> said.symbols, said.durations
    (('^', 'AY1', '$'), (0, 26, 0))
    """
    if output.phonemes is None:
        raise InvalidInput("front-end output holds a mel, which has no symbols")
    canonical = [_canonical(phoneme, output.alphabet) for phoneme in output.phonemes]
    ends = _Ends(canonical)
    frames = None if output.durations is None else _frames(output.durations, output.unit, frame_rate)
    symbols, durations = ends.symbols, None if frames is None else _shared(frames, ends)
    return Utterance(
        symbols=symbols,
        ids=tuple(ids(symbols)),
        durations=durations,
        f0=_track("f0", output.f0, ends, durations),
        energy=_track("energy", output.energy, ends, durations),
        pace=output.pace,
        speaker=output.speaker,
        seed=output.seed,
        pause=output.pause,
        text=output.text,
        words=tuple(ends.moved(word) for word in output.words or ()),
    )


class _Ends:
    """The symbols of all phonemes in one row with both ends added, and where each phoneme's own begin."""

    def __init__(self, canonical: Sequence[tuple[str, ...]]) -> None:
        flat = [symbol for symbols in canonical for symbol in symbols]
        self.before = int(flat[:1] != [START])
        after = int(flat[-1:] != [END])
        self.symbols = (*(START,) * self.before, *flat, *(END,) * after)
        self.after = after
        self.counts = [len(symbols) for symbols in canonical]
        self.starts = [self.before, *accumulate(self.counts, initial=self.before)][1:]

    def moved(self, word: Word) -> Word:
        return Word(text=word.text, start=self.starts[word.start], end=self.starts[word.end])

    def spread(self, values: Sequence[float]) -> list[float]:
        """One value for each symbol: a phoneme's value for each of its symbols, 0 for an added end."""
        each = [value for value, count in zip(values, self.counts, strict=True) for _ in range(count)]
        return [0.0] * self.before + each + [0.0] * self.after


def _canonical(phoneme: str, alphabet: str) -> tuple[str, ...]:
    """The symbols of one phoneme as it came: one as a rule, several for what English writes as several."""
    if phoneme in (START, END, BOUNDARY):
        return (phoneme,)
    if alphabet == "ipa":
        return tuple(from_ipa(phoneme)) or (_mark(phoneme),)
    return (f"{phoneme}0",) if phoneme in VOWELS else (phoneme,)


def _mark(phoneme: str) -> str:
    """A space or a mark, which `from_ipa` drops where no phoneme stands before it."""
    return (from_ipa(f"ə{phoneme}ə")[1:-1] or [phoneme])[0]


def _frames(durations: Sequence[float], unit: str, frame_rate: float) -> list[int]:
    scale = 1.0 if unit == "frames" else frame_rate
    edges = [int(time * scale + 0.5) for time in accumulate(durations, initial=0.0)]
    if not 0 < edges[-1] <= MAX_FRAMES:
        raise InvalidInput(f"durations come to {edges[-1]} frames, expected 1 to {MAX_FRAMES}")
    return [end - start for start, end in pairwise(edges)]


def _shared(frames: Iterable[int], ends: _Ends) -> tuple[int, ...]:
    """Frames for each symbol; where a phoneme became several symbols they share its frames, the last the
    most.
    """
    shares = [0] * ends.before
    for count, total in zip(ends.counts, frames, strict=True):
        if not count and total:
            raise InvalidInput("a phoneme that has no symbol of ours has a duration")
        edges = [total * part // count for part in range(count + 1)] if count else [0]
        shares += [end - start for start, end in pairwise(edges)]
    return (*shares, *[0] * ends.after)


def _track(
    name: str, values: Sequence[float] | None, ends: _Ends, durations: Sequence[int] | None
) -> tuple[float, ...] | None:
    """Values for each symbol or for each frame, as they came."""
    if values is None:
        return None
    if len(values) == len(ends.counts):
        return tuple(ends.spread(values))
    frames = sum(durations or ())
    if len(values) != frames:
        raise InvalidInput(
            f"{len(values)} values of {name}; expected {len(ends.counts)} (phonemes) or {frames} (frames)"
        )
    return tuple(values)
