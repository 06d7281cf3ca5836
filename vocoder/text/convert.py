"""Other front ends' output as ours: espeak-ng's IPA, gruut's sentences, an aligner's TextGrid, FastPitch's
arrays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from vocoder.errors import InvalidInput
from vocoder.text.schema import FrontEndOutput, Word, read_output
from vocoder.text.symbols import BOUNDARY, END, PUNCTUATION, START, VOWELS, from_ipa
from vocoder.text.tables import table
from vocoder.text.textgrid import Interval, read_tiers

__all__ = ["GruutWord", "from_arrays", "from_espeak", "from_gruut", "from_textgrid"]

_FLAGS = re.compile(r"\([a-z-]+\)")
_SILENCES = frozenset(("", "sil", "sp", "<eps>", "SIL", "SP", "pau"))
_UNKNOWN = frozenset(("spn", "<unk>", "<unkn>", "laughter"))
_ALIGNERS = table(
    "aj aɪ, aw aʊ, ej eɪ, ow oʊ, ɔj ɔɪ, c k, ɟ ɡ, ʋ v, ʎ lj, ɫ̩ l̩"
)  # what MFA's English writes of its own


class GruutWord(Protocol):
    """What is read of a word of gruut's sentence."""

    @property
    def text(self) -> str: ...
    @property
    def phonemes(self) -> Sequence[str] | None: ...
    @property
    def is_major_break(self) -> bool: ...
    @property
    def is_minor_break(self) -> bool: ...


def from_espeak(ipa: str) -> FrontEndOutput:
    """What `espeak-ng --ipa -v en-us` prints, a sentence: words parted by spaces, clauses by lines or marks.

    >>> from_espeak("həlˈoʊ wˈɜːld").phonemes
    ('HH', 'AH0', 'L', 'OW1', '|', 'W', 'ER1', 'L', 'D')
    """
    lines = [line for line in _FLAGS.sub("", ipa).replace("_", "").splitlines() if line.strip()]
    return _output(phonemes=tuple(from_ipa(", ".join(lines))))


def from_gruut(sentence: Iterable[GruutWord]) -> FrontEndOutput:
    """A sentence of gruut 2 (`gruut.sentences(text)` yields them): its words with their phonemes, its breaks
    as marks.
    """
    phonemes, words = list[str](), list[Word]()
    for word in sentence:
        if word.is_major_break or word.is_minor_break:
            mark = word.text if word.text in PUNCTUATION else "." if word.is_major_break else ","
            phonemes += [mark] if phonemes and phonemes[-1] not in PUNCTUATION else []
        elif word.phonemes:
            phonemes += [BOUNDARY] if phonemes and phonemes[-1] not in PUNCTUATION else []
            start = len(phonemes)
            phonemes += [symbol for phone in word.phonemes for symbol in from_ipa(phone)]
            words.append(Word(text=word.text, start=start, end=len(phonemes)))
    return _output(phonemes=tuple(phonemes), words=tuple(words))


def from_textgrid(text: str) -> FrontEndOutput:
    """An alignment of the Montreal Forced Aligner, one speaker's: phones in ARPAbet or IPA, with their
    durations.

    Silence at the ends is that of `^` and `$`, silence between words that of a `,`; words without silence
    between them have a boundary of no length. A phone that the aligner does not know (`spn`) is refused:
    there is nothing to say.
    """
    tiers = read_tiers(text)
    phones, words = _tier(tiers, "phones"), _tier(tiers, "words", needed=False)
    starts = {round(each.start, 4) for each in words if each.label not in _SILENCES}
    phonemes, durations = [START], [0.0]
    for phone in phones:
        length = phone.end - phone.start
        if phone.label in _SILENCES:
            _add_silence(phonemes, durations, length)
            continue
        if round(phone.start, 4) in starts and phonemes[-1] not in (START, ",", BOUNDARY):
            phonemes.append(BOUNDARY)
            durations.append(0.0)
        symbols = _phone(phone)
        phonemes += symbols
        durations += [length / len(symbols)] * len(symbols)
    return _output(phonemes=_closed(phonemes, durations), durations=tuple(durations), unit="seconds")


def from_arrays(
    symbols: str | Sequence[str],
    durations: Iterable[Any] | None = None,
    pitch: Iterable[Any] | None = None,
    energy: Iterable[Any] | None = None,
    *,
    pitch_mean: float = 0.0,
    pitch_std: float = 1.0,
    **others: Any,
) -> FrontEndOutput:
    """FastPitch's arrays: symbols (or its text with `{HH AH0 L OW1}` in braces), frames, pitch and energy of
    each.

    FastPitch standardises pitch, 0 for voiceless: give the mean and deviation that it was trained with, and
    it becomes hertz again. `others` are fields of `FrontEndOutput` (pace, speaker, seed, …). Arrays of NumPy
    are taken too.
    """
    row = (
        _braced(symbols)
        if isinstance(symbols, str)
        else [BOUNDARY if each == " " else each for each in symbols]
    )
    plain = {name: [float(each) for each in values] for name, values in _given(durations, pitch, energy)}
    if "f0" in plain:
        plain["f0"] = [each and each * pitch_std + pitch_mean for each in plain["f0"]]
    return read_output({"phonemes": row, **plain, **others})


def _given(
    durations: Iterable[Any] | None, pitch: Iterable[Any] | None, energy: Iterable[Any] | None
) -> list[tuple[str, Iterable[Any]]]:
    named = (("durations", durations), ("f0", pitch), ("energy", energy))
    return [(name, values) for name, values in named if values is not None]


def _braced(text: str) -> list[str]:
    """The symbols of `{HH AH0 L OW1} {W ER1 L D}.`: what stands in braces, boundaries and marks between
    them.
    """
    symbols: list[str] = []
    for word, marks in re.findall(r"\{([^{}]*)\}|([^{}]+)", text):
        if word:
            symbols += word.split()
        elif letters := re.sub(r"[\s,;:.?!—…]", "", marks):
            raise InvalidInput(
                f"text has {letters!r:.40} outside of braces; only phonemes can be taken as they are"
            )
        else:
            symbols += [mark for mark in marks if mark in PUNCTUATION][:1] or [BOUNDARY] * bool(symbols)
    return symbols[:-1] if symbols[-1:] == [BOUNDARY] else symbols


def _tier(tiers: dict[str, list[Interval]], name: str, *, needed: bool = True) -> list[Interval]:
    found = [tier for key, tier in tiers.items() if key == name or key.endswith(f" - {name}")]
    if len(found) > 1 or (needed and not found):
        raise InvalidInput(
            f"TextGrid has {len(found)} tiers of {name}, expected one; it has {sorted(tiers)!s:.200}"
        )
    return found[0] if found else []


def _add_silence(phonemes: list[str], durations: list[float], length: float) -> None:
    """Silence to what it belongs to: the start, or a pause after a word."""
    if phonemes[-1] not in (START, ","):
        phonemes.append(",")
        durations.append(0.0)
    durations[-1] += length


def _closed(phonemes: list[str], durations: list[float]) -> tuple[str, ...]:
    """The end has the silence behind the last word, if there is any."""
    if phonemes[-1] == ",":
        return (*phonemes[:-1], END)
    durations.append(0.0)
    return (*phonemes, END)


def _phone(phone: Interval) -> list[str]:
    label = phone.label
    if label in _UNKNOWN:
        raise InvalidInput(f"phone {label!r:.40} at {phone.start:g} s is one the aligner did not know")
    if (label.isascii() and label.isupper()) or label[:-1] in VOWELS:
        return [f"{label}0" if label in VOWELS else label]
    plain = label.replace("ː", "").replace("ʲ", "").replace("ʷ", "").replace("ʰ", "").replace("\u032a", "")
    return from_ipa(_ALIGNERS.get(plain, plain))


def _output(**fields: Any) -> FrontEndOutput:
    return read_output(fields)
