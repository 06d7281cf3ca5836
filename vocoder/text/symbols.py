"""The symbols of speech: the one list that front ends write and acoustic models read.

```
^ HH AH0 L OW1 , W ER1 L D . $          "Hello, world."
^ G UH1 D | M AO1 R N IH0 NG ! $        "Good morning!"
```

Phonemes are ARPAbet as in the CMU Pronouncing Dictionary: 24 consonants, and 15 vowels with a stress digit, 0
(none), 1 (primary) or 2 (secondary). Between two words stands one `|`, or a punctuation mark in its place,
which is a pause. `^` begins an utterance and `$` ends it.

The order of `SYMBOLS` is frozen: a symbol's place is its id, and ids are in checkpoints.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from types import MappingProxyType

from vocoder.errors import InvalidInput

__all__ = [
    "BOUNDARY",
    "CONSONANTS",
    "END",
    "PUNCTUATION",
    "START",
    "SYMBOLS",
    "VOWELS",
    "digest",
    "from_ipa",
    "ids",
    "is_phoneme",
    "nearest",
    "stress_of",
]

START, END, BOUNDARY = "^", "$", "|"
PUNCTUATION = (",", ";", ":", ".", "?", "!", "—", "…")
CONSONANTS = (
    *("B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N"),
    *("NG", "P", "R", "S", "SH", "T", "TH", "V", "W", "Y", "Z", "ZH"),
)
VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
STRESSED = tuple(f"{vowel}{stress}" for vowel in VOWELS for stress in (0, 1, 2))
SYMBOLS: tuple[str, ...] = (START, END, BOUNDARY, *PUNCTUATION, *CONSONANTS, *STRESSED)

_IDS = MappingProxyType({symbol: place for place, symbol in enumerate(SYMBOLS)})

# IPA as espeak-ng (en-us; British vowels understood) and gruut write it, without stress and length. What
# has no symbol becomes its nearest: the flap and the glottal stop are T, as in the dictionary, and a syllabic
# consonant gets its vowel back.
_VOWELS_OF_IPA = """
    ɑ AA, ɒ AA, a AA, æ AE, ʌ AH, ə AH, ɐ AH, ɔ AO, aʊ AW, aɪ AY, ɛ EH, ɚ ER, ɝ ER, ɜ ER, ɜɹ ER,
    ɜ˞ ER, əɹ ER, ɚɹ ER, ə˞ ER, eɪ EY, e EY, ɪ IH, ᵻ IH, ɨ IH, i IY, oʊ OW, əʊ OW, o OW, oɹ AO R,
    ɔɪ OY, ʊ UH, u UW, ʉ UW"""
_CONSONANTS_OF_IPA = """
    b B, tʃ CH, ʧ CH, d D, ð DH, f F, ɡ G, g G, h HH, ɦ HH, ç HH, dʒ JH, ʤ JH, k K, x K, l L, ɫ L,
    ɬ L, m M, ɱ M, n N, ɲ N Y, ŋ NG, p P, ɹ R, r R, ɻ R, ʁ R, s S, ʃ SH, t T, ɾ T, ʔ T, θ TH, v V,
    w W, ʍ W, j Y, z Z, ʒ ZH, l\u0329 AH0 L, m\u0329 AH0 M, n\u0329 AH0 N, ɹ\u0329 ER0"""


def _table(text: str) -> dict[str, str]:
    """`ipa symbols, ipa symbols, …` as a dictionary."""
    return {ipa: symbols for ipa, _, symbols in (row.strip().partition(" ") for row in text.split(","))}


_IPA_VOWELS, _IPA_CONSONANTS = _table(_VOWELS_OF_IPA), _table(_CONSONANTS_OF_IPA)
_CONSONANT_SYMBOLS = frozenset(_IPA_CONSONANTS.values())
_STRESS = {"ˈ": "1", "'": "1", "ˌ": "2"}
_MARKS = {"|": ",", "‖": ".", "¡": "", "¿": "", "-": "", "–": "—"} | {mark: mark for mark in PUNCTUATION}
_STAND_INS = {"?": ".!", "!": ".?", "…": ".,—", "—": ",;:", ":": ";,", ";": ",:.", ".": "!?", ",": ";—:"}
_SILENT = frozenset("ːˑ\u0361\u035c\u032f\u032a\u0303\u031a\u0330\u0325\u032c\u0329ʰʷʲ\u200d\u200c\u2060")
_LONGEST = max(map(len, _IPA_VOWELS | _IPA_CONSONANTS))


def ids(symbols: Iterable[str]) -> list[int]:
    """The id of each symbol: its place in `SYMBOLS`. `InvalidInput` names the first that is none of them.

    >>> ids(["HH", "AH0", "!"])
    [17, 41, 8]
    """
    symbols = list(symbols)
    found = [_IDS.get(symbol, -1) for symbol in symbols]
    if -1 in found:
        place = found.index(-1)
        came = symbols[place]
        raise InvalidInput(f"phoneme {place} is {came!r:.40}, no symbol of ours; {_rule(came)}")
    return found


def is_phoneme(symbol: str) -> bool:
    """Whether a symbol is a phoneme: not a boundary, a mark, or an end of the utterance."""
    return _IDS.get(symbol, -1) >= _IDS[CONSONANTS[0]]


def stress_of(symbol: str) -> int | None:
    """0, 1 or 2 of a vowel, None of anything else.

    >>> stress_of("AH2"), stress_of("B")
    (2, None)
    """
    return int(symbol[-1]) if symbol[:-1] in VOWELS else None


def nearest(symbol: str, known: Collection[str]) -> str:
    """The symbol to read instead of one that a voice never heard in training; `known` are those it heard.

    Another stress of the same vowel, or a mark with a pause of its kind. Without a stand-in it stays itself.

    >>> nearest("?", {".", ",", "OY1"}), nearest("OY2", {".", ",", "OY1"}), nearest("B", {"."})
    ('.', 'OY1', 'B')
    """
    others = _STAND_INS.get(symbol, "") if stress_of(symbol) is None else "120"
    candidates = [symbol, *(symbol[:-1] + other for other in others)]
    return next((each for each in candidates if each in known), symbol)


def digest() -> str:
    """SHA-256, in hexadecimal, of the symbols in their order: what a checkpoint's ids mean."""
    return hashlib.sha256("\n".join(SYMBOLS).encode()).hexdigest()


def from_ipa(text: str) -> list[str]:
    """IPA as espeak-ng and gruut write it, as symbols. Spaces part words; stress precedes a vowel or
    syllable.

    Only what the text says: no start and no end is added. `InvalidInput` names the phoneme that is not known.

    >>> from_ipa("həlˈoʊ, wˈɜːld!")
    ['HH', 'AH0', 'L', 'OW1', ',', 'W', 'ER1', 'L', 'D', '!']
    """
    return _single_boundaries(_read(text))


def _read(text: str) -> Iterator[str]:
    """Symbols from left to right, the longest phoneme first; a stress mark waits for its vowel."""
    stress, place = "0", 0
    while place < len(text):
        letter = text[place]
        if letter in _STRESS:
            stress, place = _STRESS[letter], place + 1
        elif letter.isspace():
            stress, place = "0", place + 1
            yield BOUNDARY
        elif letter in _MARKS:
            place += 1
            yield _MARKS[letter] or BOUNDARY
        elif letter in _SILENT:
            place += 1
        else:
            found, place = _phoneme(text, place)
            yield from _stressed(found, stress)
            stress = stress if found in _CONSONANT_SYMBOLS else "0"


def _stressed(found: str, stress: str) -> Iterator[str]:
    for each in found.split():
        yield each + stress if each in VOWELS else each


def _phoneme(text: str, start: int) -> tuple[str, int]:
    """The longest phoneme that begins here, length marks and ties left out, and where it ends."""
    letters, end, best = "", start, None
    while end < len(text) and len(letters) < _LONGEST:
        if text[end] == "\u0329" or text[end] not in _SILENT:
            letters += text[end]
            if found := _IPA_VOWELS.get(letters) or _IPA_CONSONANTS.get(letters):
                best = found, end + 1
        end += 1
    if best is None:
        what = f"phoneme {text[start]!r} (U+{ord(text[start]):04X})"
        raise InvalidInput(f"{what} at character {start} of the IPA is not known in English")
    return best


def _single_boundaries(symbols: Iterable[str]) -> list[str]:
    """One boundary or mark between two words, none before the first; of several marks the last."""
    kept: list[str] = []
    for symbol in symbols:
        if is_phoneme(symbol) or (kept and is_phoneme(kept[-1])):
            kept.append(symbol)
        elif kept and symbol != BOUNDARY:
            kept[-1] = symbol
    return kept[:-1] if kept and kept[-1] == BOUNDARY else kept


def _rule(symbol: object) -> str:
    bare = symbol.upper() if isinstance(symbol, str) else ""
    if bare in VOWELS:
        return f"a vowel has its stress: {bare}0, {bare}1 or {bare}2"
    return "the symbols are ARPAbet in capitals, vowels with a stress digit, and | , ; : . ? ! — … ^ $"
