"""What no other rule reads: words, numbers and signs, each said by itself."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vocoder.text.chunk import Chunk, Reading
from vocoder.text.numerals import decimal, ordinal
from vocoder.text.symbols import PUNCTUATION
from vocoder.text.tables import table
from vocoder.text.words import is_shouting, said

__all__ = ["anything"]

_PARTS = re.compile(
    r"(?<=\d)'s\b|\d+(?:st|nd|rd|th)\b|[A-Za-z]+(?:'[A-Za-z]+)*'?|\d[\d,]*(?:\.\d+)?|\.\d+|\S"
)
_SIGNS = table(
    """
    & and, % percent, @ at, + plus, = equals, # number, ° degrees, × times, ÷ divided by, ± plus or
    minus, √ square root of, ∞ infinity, § section, ≈ about, ≤ at most, ≥ at least, ≠ is not, $
    dollars, £ pounds, € euros, ¥ yen, ₹ rupees, ¢ cents, ^ to the, < less than, > greater than
    """
)
_NOTES = frozenset(f"{note}#" for note in "ACDFG")


def anything(chunks: Sequence[Chunk], place: int) -> Reading:
    """Read a chunk part by part; the rule that always reads."""
    shouting = is_shouting(chunks, place)
    words: list[str] = []
    if chunks[place].core in _NOTES:
        return Reading([chunks[place].core[0], "sharp"])
    for part in _PARTS.findall(chunks[place].core):
        if part == "'s" and words:
            words[-1] += part
        elif part[0].isalpha():
            words += said(part, chunks, place, shouting=shouting)
        elif part[0].isdigit() and part[-1].isalpha():
            words += ordinal(part[:-2])
        elif part[0].isdigit() or len(part) > 1:
            words += decimal(part.rstrip(","))
        else:
            words += [part] if part in PUNCTUATION else _SIGNS.get(part, "").split()
    return Reading(words)
