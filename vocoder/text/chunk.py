"""Chunks: what stands between two spaces, with the marks around it taken off.

```
  ("$3.50),"        head '("'   core '$3.50'   tail '),"'
```

A rule of the normaliser looks at a chunk and its neighbours and never at characters beyond, and a core is at
most `LONGEST` characters, so that the whole is linear in the text whatever comes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Chunk", "Reading", "core", "pause", "split"]

LONGEST = 120  # characters of a core; more are cut in parts
_SHAPE = re.compile(
    r"""(?P<head>["'(\[{<*_~—…,;:!?|•\\-]*)(?P<core>.*?)(?P<tail>["')\]}>*_,;:.?!…—|\\-]*)\Z""", re.DOTALL
)
_PREFIXED = re.compile(r"(\b(?:mid|pre|post|late|early|non))-(?='?\d)", re.IGNORECASE)
_INNER = re.compile(r"(—|…|\.{2,}|-{2,})")


@dataclass(frozen=True)
class Chunk:
    """A piece of text without spaces: the marks before it, itself, and the marks after it."""

    head: str
    core: str
    tail: str

    @property
    def ends_clause(self) -> bool:
        """Whether a mark after it parts it from what follows."""
        return pause(self.tail) is not None


@dataclass(frozen=True)
class Reading:
    """What a rule makes of chunks: words to say, how many chunks they stand for, and whether the last one's
    dot is theirs.

    A word in capitals of one letter is said as that letter's name. Marks may stand among the words.
    """

    words: Sequence[str]
    used: int = 1
    dot: bool = False
    may_end: bool = False  # a sentence, though the last dot is an abbreviation's


def split(paragraph: str) -> list[Chunk]:
    """The chunks of a paragraph; dashes and dots between two words part them as a space does."""
    paragraph = _PREFIXED.sub(r"\1 ", paragraph)
    pieces = (part for piece in paragraph.split(" ") for part in _INNER.sub(r"\1 ", piece).split(" ") if part)
    return [
        _chunk(piece[start : start + LONGEST]) for piece in pieces for start in range(0, len(piece), LONGEST)
    ]


def core(chunks: Sequence[Chunk], place: int) -> str:
    """The core at a place, or nothing beyond the ends."""
    return chunks[place].core if 0 <= place < len(chunks) else ""


def pause(marks: str) -> str | None:
    """The mark that a run of marks comes to, the strongest of them; None where it is no pause."""
    for strong, sign in (("?", "?"), ("!", "!"), ("…", "…"), ("..", "…"), (".", ".")):
        if strong in marks:
            return sign
    for weak, sign in (
        (":", ":"),
        (";", ";"),
        ("—", "—"),
        ("--", "—"),
        (",", ","),
        (")", ","),
        ("]", ","),
        ("|", ","),
        ("•", ","),
    ):
        if weak in marks:
            return sign
    return "—" if marks == "-" else None


def _chunk(piece: str) -> Chunk:
    """Marks off both ends; an apostrophe or sign that belongs to a number or a word stays with it."""
    found = _SHAPE.match(piece)
    assert found is not None  # every part of the shape may be empty
    head, body, tail = found["head"], found["core"], found["tail"]
    if piece in ("<", ">", "*", "|", "~"):
        return Chunk("", piece, "")
    if not body or body == "-":
        return Chunk("", "", piece)
    if body[:1].isdigit() and head[-1:] in ("-", "'", "~", "<") and head:
        head, body = head[:-1], head[-1] + body
    if body[:1] in "$£€¥." and head[-1:] == "-":
        head, body = head[:-1], "-" + body
    return Chunk(head, body, tail)
