"""Abbreviations, initials, and acronyms written with dots."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vocoder.text.chunk import Chunk, Reading, core
from vocoder.text.numerals import roman
from vocoder.text.tables import table, word_set
from vocoder.text.words import LETTER_NOUNS

__all__ = ["abbreviation", "dotted", "initial"]

# As written → as said. Those of the second table may end a sentence, those of the third need a number behind.
_TITLES = table(
    """
    Mr Mister, Mrs Missus, Ms Miz, Prof Professor, Rev Reverend, Gen General, Col Colonel, Capt
    Captain, Lt Lieutenant, Sgt Sergeant, Maj Major, Cmdr Commander, Gov Governor, Sen Senator, Rep
    Representative, Pres President, Hon Honorable, Drs Doctors, Messrs Messers, Fr Father, vs
    versus, cf compare, approx approximately, incl including, viz namely, ca circa
    """
)
_ENDINGS = table(
    """
    Jr Junior, Sr Senior, Inc Incorporated, Corp Corporation, Co Company, Ltd Limited, Bros
    Brothers, Dept Department, dept department, Ave Avenue, Blvd Boulevard, Rd Road, Ln Lane, Hwy
    Highway, Pkwy Parkway, Sq Square, Assn Association, Univ University, etc et cetera, est
    established, min minimum, max maximum, misc miscellaneous, govt government, intl international,
    Esq Esquire, al al, Apt Apartment, Feb February, Aug August, Sept September, Oct October, Nov
    November, Dec December, Jan January, Tues Tuesday, Thurs Thursday, Wed Wednesday, Ariz Arizona,
    Calif California, Mass Massachusetts, Penn Pennsylvania, Conn Connecticut, Fla Florida, Tex
    Texas, Wash Washington
    """
)
_NUMBERED = table(
    """
    no number, nos numbers, p page, pp pages, vol volume, ch chapter, fig figure, figs figures, sec
    section, eq equation, ex example, art article, par paragraph, ext extension, apt apartment
    """
)
_DAYS = table("Mon Monday, Tue Tuesday, Wed Wednesday, Thu Thursday, Fri Friday, Sat Saturday, Sun Sunday")
_HILLS = frozenset(("Mount", "Fort", "Port", "Lake", "Cape", "Sault"))
_PLACES = {"Mt": "Mount", "Ft": "Fort", "Pt": "Point"}
_LATIN = table(
    """
    e.g for example, i.e that is, a.k.a also known as, p.s P S, n.b N B, w.r.t with respect to
    """
)
_SLASHED = table(
    """
    w/o without, w/ with, b/c because, c/o care of, n/a not applicable, a/c A C
    """
)
_BARE = word_set(
    """
    Blvd Capt Corp Dept Gov Inc Jr Lt Ltd Mr Mrs Ms Prof Sgt Sr etc vs
    """
)
_DOTTED = re.compile(r"(?:[A-Za-z]\.)+[A-Za-z](\.?'?s)?|Ph\.D|[A-Z]\.[A-Z]\.")


def abbreviation(chunks: Sequence[Chunk], place: int) -> Reading | None:
    """An abbreviation by the word that it stands for; its dot is no sentence's end, unless a sentence may
    end there.
    """
    chunk, following = chunks[place], core(chunks, place + 1)
    text, dot = chunk.core, chunk.tail.startswith(".") and not chunk.tail.startswith("..")
    if text.lower() in _SLASHED:
        return Reading(_SLASHED[text.lower()].split())
    if text in ("St", "Dr"):
        word = _street_or_title(text, chunks, place)
        return Reading([word], dot=dot, may_end=word in ("Street", "Drive"))
    if (
        dot
        and text.lower() in _NUMBERED
        and (following[:1].isdigit() or (len(following) > 1 and roman(following)))
    ):
        return Reading([_cased(text, _NUMBERED[text.lower()])], dot=True)
    if dot and text in _PLACES and following[:1].isupper():
        return Reading([_PLACES[text]], dot=True)
    if text in _DAYS and (
        chunk.tail.startswith(".,") or (dot and (following[:1].isdigit() or following in _DAYS))
    ):
        return Reading([_DAYS[text]], dot=True)
    if dot or text in _BARE:
        return _listed(text, dot=dot)
    return None


def _listed(text: str, *, dot: bool) -> Reading | None:
    if text in _TITLES:
        return Reading(_TITLES[text].split(), dot=dot)
    if text in _ENDINGS and (dot or text in _BARE):
        return Reading(_ENDINGS[text].split(), dot=dot, may_end=True)
    return None


def _street_or_title(text: str, chunks: Sequence[Chunk], place: int) -> str:
    """A street's name stands before it, and a saint's or doctor's behind it."""
    before, following = core(chunks, place - 1), core(chunks, place + 1)
    named = before[:1].isupper() or (before[:1].isdigit() and before[-2:] in ("st", "nd", "rd", "th"))
    inside = place > 1 and not chunks[place - 1].ends_clause and not chunks[place - 2].tail.endswith(".")
    sure = (
        not following[:1].isupper()
        or chunks[place].tail.startswith(".,")
        or (text == "St" and before not in _HILLS)
    )
    street = named and inside and sure
    return {"St": ("Saint", "Street"), "Dr": ("Doctor", "Drive")}[text][street]


def dotted(chunks: Sequence[Chunk], place: int) -> Reading | None:
    """U.S., Ph.D., a.m., e.g.: Latin by its meaning, the rest letter by letter."""
    text = core(chunks, place)
    dot = chunks[place].tail.startswith(".")
    if text.lower() in _LATIN and (dot or text.count(".") > 1):
        return Reading(_LATIN[text.lower()].split(), dot=dot)
    if not _DOTTED.fullmatch(text):
        return None
    plural = text.endswith(("'s", ".s"))
    names = [letter.upper() for letter in (text[:-1] if plural else text) if letter.isalpha()]
    names[-1] += "'s" if plural else ""
    return Reading(names, dot=dot, may_end=True)


def initial(chunks: Sequence[Chunk], place: int) -> Reading | None:
    """J. in J. Smith: a capital with a dot, before a name or another initial."""
    following = chunks[place + 1] if place + 1 < len(chunks) else None
    if not _is_initial(chunks[place]) or following is None or not following.core[:1].isalpha():
        return None
    if following.core[0].islower():
        return (
            Reading([chunks[place].core], dot=True) if place == 0 or chunks[place - 1].ends_clause else None
        )
    neighbours = _is_initial(following) or (place > 0 and _is_initial(chunks[place - 1]))
    if chunks[place].core == "I" and not neighbours:
        return None
    before = core(chunks, place - 1)
    if not neighbours and (before.lower() in LETTER_NOUNS or (len(before) == 1 and before.isupper())):
        return None
    return Reading([chunks[place].core], dot=True)


def _is_initial(chunk: Chunk) -> bool:
    return len(chunk.core) == 1 and chunk.core.isupper() and chunk.tail == "."


def _cased(written: str, word: str) -> str:
    return word.capitalize() if written[0].isupper() else word
