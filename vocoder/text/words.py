"""Words as they are written to words as they are said: acronyms, initials, letters, words joined by case or
hyphen.

A word that comes out is letters and apostrophes. One capital alone, "B" or "B's", is said as the name of
that letter; the article at the head of a sentence is therefore written "a".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vocoder.text.chunk import Chunk, core
from vocoder.text.language import is_common
from vocoder.text.tables import word_set

__all__ = ["LETTER_NOUNS", "is_shouting", "letters", "said"]

# Acronyms said as words. Others of up to five capitals are spelled.
_WORDS = word_set(
    """
    AIDS ASAP ASCII AWOL BASIC BIOS CAPTCHA CERN COBOL COVID DARPA DOS FEMA FIFA GIF GUI HAMAS HIPAA
    IKEA ISIS JPEG LAN LASER LEGO MERS NAFTA NASA NASDAQ NATO NIMBY NOAA NOVA OPEC OSHA PETA PIN
    POTUS RADAR RAID RAM ROM SARS SCOTUS SCUBA SIM SONAR SWAT TASER TESLA UNESCO UNICEF VISA WAN
    WASP WYSIWYG YOLO ZIP
    """
)
_SPELLED = word_set(
    """
    ADHD AI AM AR ATM CEO DIY EU FAQ HR ID IT MRI OK PC PM PR TV UFO UK UN US USA VIP VR
    """
)
LETTER_NOUNS = word_set(
    """
    appendix block building channel class exhibit form gate grade group hepatitis letter level model
    option part plan player point route row schedule section side team type unit vitamin
    """
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})")
_PLURAL = re.compile(r"([A-Z]{2,5})('?s)\Z")
_APOSTROPHES = re.compile(r"'+")


def letters(word: str) -> list[str]:
    """A word letter by letter, each by its name; what is no letter is passed over.

    >>> letters("FBI's")
    ['F', 'B', "I's"]
    """
    base, possessive = (word[:-2], "'s") if word.lower().endswith("'s") else (word, "")
    names = [letter.upper() for letter in base if letter.isalpha()]
    return [*names[:-1], names[-1] + possessive] if names else []


def said(word: str, chunks: Sequence[Chunk] = (), place: int = 0, *, shouting: bool = False) -> list[str]:
    """How one written word (letters and apostrophes) is said, where `chunks[place]` holds it.

    >>> said("NASA"), said("CDs"), said("iPhone"), said("I'm")
    (['NASA'], ['C', "D's"], ['I', 'Phone'], ["I'm"])
    """
    word = _APOSTROPHES.sub("'", word).strip("'")
    if len(word) <= 1:
        return _single(word, chunks, place)
    if word in ("PhD", "PhDs", "PhD's"):
        return ["P", "H", "D" if word == "PhD" else "D's"]
    if found := _PLURAL.match(word):
        return [found[1] + "'s"] if found[1] in _WORDS else letters(found[1] + "'s")
    bare = word.removesuffix("'S").replace("'", "")
    if bare.isupper():
        return _capitals(word, bare, shouting)
    if word.startswith(("Mc", "Mac", "O'", "D'", "De", "La", "Le")) or _CAMEL.search(word) is None:
        return [word]
    return [each for part in _CAMEL.split(word) for each in said(part)]


def is_shouting(chunks: Sequence[Chunk], place: int) -> bool:
    """Whether the words around are in capitals too, so that capitals mean nothing here."""
    near = [
        chunk.core
        for chunk in chunks[max(0, place - 3) : place + 4]
        if len(chunk.core) > 1 and chunk.core[0].isalpha()
    ]
    telling = [each for each in near if each.isupper() and (len(each) > 4 or is_common(each.lower()))]
    return len(near) > 2 and len(telling) > 1 and sum(map(str.isupper, near)) * 4 >= 3 * len(near)


def _single(word: str, chunks: Sequence[Chunk], place: int) -> list[str]:
    if word in ("a", "A"):
        before, following = core(chunks, place - 1), core(chunks, place + 1)
        if any(
            len(each) == 1 and each.isupper()
            for each in (before.replace("I", ""), following.replace("I", ""))
        ):
            return ["A"] if word == "A" else ["a"]
        if following == "to" and len(last_letter := core(chunks, place + 2)) == 1 and last_letter.isupper():
            return ["A"]
        before = before.lower()
        last = place + 1 >= len(chunks) or (place < len(chunks) and chunks[place].ends_clause)
        return ["A"] if before in LETTER_NOUNS or (word == "A" and last and len(chunks) > 1) else ["a"]
    if word == "n" and place < len(chunks) and chunks[place].head.endswith("'"):
        return ["and"]  # rock 'n' roll
    return [word.upper()] if word else []


def _capitals(word: str, bare: str, shouting: bool) -> list[str]:
    """A word in capitals: an acronym by its letters, or a word for emphasis."""
    if bare in _WORDS:
        return [word.removesuffix("'S") + "'s" if word.endswith("'S") else word]
    if bare in _SPELLED and not (shouting and is_common(bare.lower())):
        return letters(word)
    if shouting or "'" in word.removesuffix("'S") or is_common(bare.lower()) or len(bare) > 5:
        return [word.lower()]
    return letters(word)
