"""Numbers that count nothing written: ordinals, fractions, ranges, telephones, versions, dimensions."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vocoder.text.chunk import Chunk, Reading, core
from vocoder.text.numerals import cardinal, decimal, digits, ordinal, plural
from vocoder.text.tables import table

__all__ = ["fraction", "ordinal_number", "range_of", "ratio", "signed", "telephone", "times_by", "version"]

_ORDINAL = re.compile(r"(\d[\d,]*)(?:st|nd|rd|th|ST|ND|RD|TH)")
_FRACTION = re.compile(r"(\d{1,3})/(\d{1,3})")
_RANGE = re.compile(r"([+]?\d[\d,]*(?:\.\d+)?)[-–](\d[\d,]*(?:\.\d+)?)")
_TELEPHONE = re.compile(r"(?:\+?\d{1,3}[-.])?(?:\d{3}[-.])?\d{3}[-.]\d{4}|\d{3}-\d{2}-\d{4}|\+\d{8,15}")
_VERSION = re.compile(r"([vV])?(\d{1,6}(?:\.\d{1,6}){2,5})")
_BY = re.compile(r"(\d[\d,]*(?:\.\d+)?)[xX×](\d[\d,]*(?:\.\d+)?)")
_FOLD = re.compile(r"(\d[\d,]*(?:\.\d+)?)[xX×]")
_SIGNED = re.compile(r"([#~<>≈≤≥±+-])(\d[\d,]*(?:\.\d+)?|\.\d+)")
_SIGNS = table(
    """
    # number, ~ about, ≈ about, < less than, > more than, ≤ at most, ≥ at least, ± plus or minus, +
    plus, - minus
    """
)
_PARTS = {2: ("half", "halves"), 4: ("quarter", "quarters"), 100: ("hundredth", "hundredths")}
_COLON = re.compile(r"(\d{1,4}):(\d{1,4})")
_IDIOMS = table(
    """
    24/7 twenty four seven, 9/11 nine eleven, 50/50 fifty fifty, 911 nine one one
    """
)


def ordinal_number(chunks: Sequence[Chunk], place: int) -> Reading | None:
    """1st · 22nd · 1,000th."""
    found = _ORDINAL.fullmatch(core(chunks, place))
    return found and Reading(ordinal(found[1]))


def fraction(chunks: Sequence[Chunk], place: int) -> Reading | None:
    """1/2 · 3/4 · 2/3, alone or behind a whole number: 1 1/2."""
    text, following = core(chunks, place), core(chunks, place + 1)
    if text in _IDIOMS:
        return Reading(_IDIOMS[text].split())
    if found := _FRACTION.fullmatch(text):
        words = _fraction(found[1], found[2])
        return Reading(words) if words else None
    if not text.isdigit() or chunks[place].tail or not (found := _FRACTION.fullmatch(following)):
        return None
    part = _fraction(found[1], found[2])
    return (
        Reading([*cardinal(text), "and", *(["a", *part[1:]] if part[0] == "one" else part)], used=2)
        if part
        else None
    )


def _fraction(over: str, under: str) -> list[str] | None:
    if not 0 < int(over) < int(under) <= 100:
        return [*cardinal(over), "over", *cardinal(under)] if int(under) else None
    part = _PARTS[int(under)][:1] if int(under) in _PARTS else ordinal(under)
    return [
        *cardinal(over),
        *(part if over == "1" else plural(list(part)) if int(under) != 2 else ["halves"]),
    ]


def ratio(chunks: Sequence[Chunk], place: int) -> Reading | None:
    """3:1 is three to one; 25:30, which is no time of day, minutes and seconds."""
    found = _COLON.fullmatch(core(chunks, place))
    if found is None:
        return None
    between = [] if len(found[2]) == 2 else ["to"]
    return Reading([*cardinal(found[1]), *between, *cardinal(found[2])])


def range_of(chunks: Sequence[Chunk], place: int) -> Reading | None:
    """5-10 · 3–2: from the one to the other."""
    found = _RANGE.fullmatch(core(chunks, place))
    return found and Reading([*decimal(found[1]), "to", *decimal(found[2])])


def telephone(chunks: Sequence[Chunk], place: int) -> Reading | None:
    """555-1234 · 800-555-1234 · (555) 123-4567: digit by digit, a pause between groups."""
    text, following, used = core(chunks, place), core(chunks, place + 1), 1
    if (
        re.fullmatch(r"\d{3}", text)
        and chunks[place].head.endswith("(")
        and re.fullmatch(r"\d{3}-\d{4}", following)
    ):
        text, used = f"{text}-{following}", 2
    if not _TELEPHONE.fullmatch(text):
        return None
    groups = [digits(group) for group in re.split(r"[-.]", text) if group]
    plus = ["plus"] if text[0] == "+" else []
    return Reading([*plus, *(word for group in groups for word in (*group, ","))][:-1], used=used)


def version(chunks: Sequence[Chunk], place: int) -> Reading | None:
    """3.11.2 · v1.0.1 · 192.168.0.1, with its dots."""
    found = _VERSION.fullmatch(core(chunks, place))
    if found is None:
        return None
    groups = [word for number in found[2].split(".") for word in ("point", *cardinal(number))][1:]
    said = ["dot" if word == "point" else word for word in groups] if found[2].count(".") == 3 else groups
    return Reading([*(["version"] if found[1] else []), *said])


def times_by(chunks: Sequence[Chunk], place: int) -> Reading | None:
    """1920x1080 · 3×4."""
    if (
        core(chunks, place + 1) in ("x", "X", "×")
        and core(chunks, place).isdigit()
        and core(chunks, place + 2).isdigit()
    ):
        return Reading([*cardinal(core(chunks, place)), "by", *cardinal(core(chunks, place + 2))], used=3)
    if found := _FOLD.fullmatch(core(chunks, place)):
        return Reading([*decimal(found[1]), "times"])
    found = _BY.fullmatch(core(chunks, place))
    return found and Reading([*decimal(found[1]), "by", *decimal(found[2])])


def signed(chunks: Sequence[Chunk], place: int) -> Reading | None:
    """#5 · ~20 · <5 · -3 · +4."""
    found = _SIGNED.fullmatch(core(chunks, place))
    return found and Reading([*_SIGNS[found[1]].split(), *decimal(found[2])])
