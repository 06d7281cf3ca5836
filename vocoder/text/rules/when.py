"""Dates, years, decades and times of day, as they are written in the United States (month before day)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vocoder.text.chunk import Chunk, Reading, core
from vocoder.text.numerals import cardinal, ordinal, plural, year
from vocoder.text.tables import word_set

__all__ = ["clock", "date", "month_first", "year_alone"]

_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_SHORT = {name[:3]: name for name in _MONTHS} | {"Sept": "September"} | {name: name for name in _MONTHS}
_DAY = re.compile(r"(\d{1,2})(?:st|nd|rd|th)?")
_YEAR = re.compile(r"(1[0-9]|20)\d\d")
_ISO = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})")
_SLASHED = re.compile(r"(\d{1,2})[/-](\d{1,2})[/-](\d{4}|\d\d)")
_DECADE = re.compile(r"(?:(\d\d)(\d0)|'?(\d0))'?s")
_SHORT_YEAR = re.compile(r"'(\d\d)")
_SPAN = re.compile(r"((?:1[1-9]|20)\d\d)[-–]((?:1[1-9]|20)\d\d|\d\d)")
_CLOCK = re.compile(r"(\d{1,2})(?::(\d\d))?(?::(\d\d))?([ap]\.?m\.?)?", re.IGNORECASE)
_CLOCKS = re.compile(
    r"([01]?\d|2[0-3]):([0-5]\d)([ap]m)?[-–]([01]?\d|2[0-3])(?::([0-5]\d))?([ap]m)?", re.IGNORECASE
)
_HALF = re.compile(r"[ap]\.?m\.?", re.IGNORECASE)
_BEFORE_YEAR = word_set(
    """
    after and apr april around aug august autumn before between by circa class copyright dec
    december during early fall feb february from in jan january jul july jun june late mar march may
    mid nov november oct october of sep sept september since spring summer through till to until
    winter year
    """
)
_COUNTED = word_set(
    """
    billion children feet fish hundred men million people percent sheep thousand women
    """
)
_NOT_COUNTED = word_set(
    """
    as census does goes has his is its this us was was's yes
    """
)


def month_first(chunks: Sequence[Chunk], place: int) -> Reading | None:
    """May 5, 2024 · May 5th · Jan. 5 · May 2024."""
    month, following = _month(chunks, place), core(chunks, place + 1)
    if month is None or (chunks[place].tail and chunks[place].tail != "."):
        return None
    if _YEAR.fullmatch(following):
        return Reading([month, *year(following)], used=2)
    day = _day(following)
    return None if day is None else _with_year([month, *ordinal(day)], chunks, place + 2, used=2)


def date(chunks: Sequence[Chunk], place: int) -> Reading | None:
    """5 May 2024 · 2024-05-05 · 5/5/2024."""
    text = core(chunks, place)
    if found := _ISO.fullmatch(text):
        return _numbers(found[2], found[3], found[1])
    if found := _SLASHED.fullmatch(text):
        month, day = (found[1], found[2]) if int(found[1]) <= 12 else (found[2], found[1])
        return _numbers(month, day, found[3])
    day, named = _day(text), _month(chunks, place + 1)
    if day is None or named is None or chunks[place].tail:
        return None
    article = [] if core(chunks, place - 1).lower() == "the" else ["the"]
    dated = _with_year([], chunks, place + 2, used=2)
    words = [*article, *ordinal(day), "of", named, *dated.words[1:]]
    return Reading(words, used=dated.used) if not article or text.isdigit() else None


def _numbers(month: str, day: str, written: str) -> Reading | None:
    if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
        return None
    named = year(written) if len(written) == 4 else _two_digits(written)
    return Reading([_MONTHS[int(month) - 1], *ordinal(str(int(day))), ",", *named])


def _with_year(words: list[str], chunks: Sequence[Chunk], place: int, used: int) -> Reading:
    """The same with the year, where one stands behind, with a comma or without."""
    near = chunks[place - 1].tail in ("", ",") if place - 1 < len(chunks) else False
    if near and _YEAR.fullmatch(core(chunks, place)):
        return Reading([*words, ",", *year(core(chunks, place))], used=used + 1)
    return Reading(words, used=used)


def year_alone(chunks: Sequence[Chunk], place: int) -> Reading | None:
    """1999 · the 1980s · '90s · '99 · 1914-18."""
    text = core(chunks, place)
    if found := _DECADE.fullmatch(text):
        if (
            text[0] != "'"
            and found[3]
            and core(chunks, place - 1).lower()
            not in ("the", "early", "late", "mid", "my", "his", "her", "their")
        ):
            return None
        return Reading(plural(year(found[1] + found[2]) if found[1] else cardinal(found[3])))
    if found := _SHORT_YEAR.fullmatch(text):
        return Reading(_two_digits(found[1]))
    if found := _SPAN.fullmatch(text):
        return Reading(
            [*year(found[1]), "to", *(year(found[2]) if len(found[2]) == 4 else cardinal(found[2]))]
        )
    return Reading(year(text)) if _YEAR.fullmatch(text) and _is_year(chunks, place) else None


def _is_year(chunks: Sequence[Chunk], place: int) -> bool:
    """Four digits are a year unless something is counted: a plural follows, and no word before asks for a
    year.
    """
    before, following = core(chunks, place - 1).lower(), core(chunks, place + 1)
    if chunks[place].core < "1100":
        return before in _BEFORE_YEAR
    counted = (
        following.islower()
        and following.isalpha()
        and (following in _COUNTED or (following[-1] == "s" and len(following) > 3))
    )
    return chunks[place].ends_clause or not counted or following in _NOT_COUNTED


def _two_digits(digits: str) -> list[str]:
    return ["oh", *cardinal(digits[1])] if digits[0] == "0" and digits != "00" else cardinal(str(int(digits)))


def clock(chunks: Sequence[Chunk], place: int) -> Reading | None:
    """3:30 · 3pm · 12:05 a.m. · 15:00 · 3 PM."""
    if found := _CLOCKS.fullmatch(core(chunks, place)):
        ends = [_hands(found[at], found[at + 1], None, half=bool(found[at + 2])) for at in (1, 4)]
        return Reading([*ends[0], *(found[3] or "").upper(), "to", *ends[1], *(found[6] or "").upper()])
    found = _CLOCK.fullmatch(core(chunks, place))
    if found is None or not (int(found[1]) <= 24 and int(found[2] or 0) < 60 and int(found[3] or 0) < 60):
        return None
    half, used = found[4] or "", 1
    if (
        not half
        and _HALF.fullmatch(core(chunks, place + 1))
        and not chunks[place].tail
        and 1 <= int(found[1]) <= 12
    ):
        half, used = core(chunks, place + 1), 2
    if not half and found[2] is None:
        return None
    dot = "." in half and chunks[place + used - 1].tail.startswith(".")
    letters = [letter.upper() for letter in half if letter.isalpha()]
    return Reading(
        _hands(found[1], found[2], found[3], half=bool(half)) + letters, used=used, dot=dot, may_end=True
    )


def _hands(hours: str, minutes: str | None, seconds: str | None, *, half: bool) -> list[str]:
    words = cardinal(str(int(hours)))
    if seconds is not None:
        words += [*_minutes(minutes or "00"), "and", *cardinal(str(int(seconds))), "seconds"]
    elif minutes not in (None, "00"):
        words += _minutes(minutes or "")
    elif not half:
        words += ["o'clock"] if 1 <= int(hours) <= 12 else ["hundred"]
    return words


def _minutes(minutes: str) -> list[str]:
    return _two_digits(minutes) if minutes != "00" else []


def _month(chunks: Sequence[Chunk], place: int) -> str | None:
    return _SHORT.get(core(chunks, place))


def _day(text: str) -> str | None:
    found = _DAY.fullmatch(text)
    return found[1].lstrip("0") if found and 1 <= int(found[1]) <= 31 else None
