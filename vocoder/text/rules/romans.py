"""Roman numerals, where they can be nothing else: behind a ruler's name, behind a word that is numbered,
before a century.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vocoder.text.chunk import Chunk, Reading, core
from vocoder.text.numerals import cardinal, ordinal, roman, year
from vocoder.text.tables import word_set

__all__ = ["roman_numeral"]

_RULERS = word_set(
    """
    Alexander Alfonso Artaxerxes Benedict Boniface Catherine Charles Christian Clement Darius Edward
    Elizabeth Felipe Ferdinand Francis Frederick George Gregory Gustav Haakon Henry Innocent Ivan
    James John Joseph Juan Leo Leopold Louis Mary Mehmed Murad Napoleon Nicholas Otto Paul Peter
    Philip Pius Ptolemy Ramesses Ramses Richard Selim Urban Wilhelm William Xerxes
    """
)
_NUMBERED = word_set(
    """
    vol ch act apollo appendix article book bowl category chapter class division episode figure generation
    grade group level mark olympiad part phase rocky round saturn scene season section stage step
    table title type unit volume war world
    """
)
_ROMAN_ONLY = re.compile(r"[IVX]{2,}('s)?|[IVXLCDM]+('s)?")
_TITLES = frozenset(("King", "Pope", "Emperor", "Tsar", "Queen", "Prince"))
_CENTURIES = frozenset(("century", "centuries", "dynasty"))


def roman_numeral(chunks: Sequence[Chunk], place: int) -> Reading | None:
    """Henry VIII is the eighth, World War II two, the XIX century nineteenth."""
    text, before = core(chunks, place), core(chunks, place - 1)
    found, value = _ROMAN_ONLY.fullmatch(text), roman(text.removesuffix("'s"))
    if found is None or value is None or _is_apart(chunks, place):
        return None
    if core(chunks, place + 1) in _CENTURIES:
        return Reading(ordinal(str(value)))
    if before in _RULERS and text != "I" and set(text) <= set("IVX's"):
        return _possessive(["the", *ordinal(str(value))], text)
    if text == "I" and before in _RULERS and core(chunks, place - 2) in _TITLES:
        return Reading(["the", "first"])
    if len(text) > 3 and 1500 <= value <= 2100:
        return Reading(year(str(value)))
    if before.lower() in _NUMBERED and (before[0].isupper() or len(text) > 1):
        return _possessive(cardinal(str(value)), text)
    return None


def _is_apart(chunks: Sequence[Chunk], place: int) -> bool:
    """Whether a mark stands before it that is not an abbreviation's dot: vol. II."""
    return place > 0 and chunks[place - 1].ends_clause and chunks[place - 1].core.lower() not in ("vol", "ch")


def _possessive(words: list[str], text: str) -> Reading:
    return Reading([*words[:-1], words[-1] + ("'s" if text.endswith("'s") else "")])
