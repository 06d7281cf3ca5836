"""E-mail and web addresses, names of files, tags: what is before a dot is said, and the dot too."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vocoder.text.chunk import Chunk, Reading, core
from vocoder.text.numerals import cardinal, digits
from vocoder.text.tables import table, word_set
from vocoder.text.words import said

__all__ = ["address", "tag"]

_MAIL = re.compile(r"[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+", re.ASCII)
_WEB = re.compile(r"(?:https?://|ftp://|www\.)\S+", re.IGNORECASE)
_DOMAINS = word_set(
    """
    com org net edu gov mil int info biz dev app ai io co uk us ca de fr eu tv me ly gg html htm php
    pdf txt md py js json xml csv zip exe jpg jpeg png gif mp3 mp4 wav doc docx xls xlsx ppt pptx
    ini cfg log yaml toml sh exe rs go java cpp
    """
)
_SPOKEN = word_set(
    """
    app biz com dev doc edu go gov info java log mil net org zip
    """
)
_HOST = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*\.(?:{'|'.join(_DOMAINS)})(?:[/:?#]\S*)?")
_TAG = re.compile(r"([@#])([A-Za-z_]\w*)", re.ASCII)
_PIECES = re.compile(r"[A-Za-z]+|\d+|.")
_MARKS = table(
    """
    . dot, @ at, / slash, - dash, _ underscore, : colon, ? question mark, = equals, & and, # hash, +
    plus, % percent, ~ tilde
    """
)


def address(chunks: Sequence[Chunk], place: int) -> Reading | None:
    """An address or a file's name; the scheme of a URL is left out."""
    text = core(chunks, place)
    if "." not in text or not (_MAIL.fullmatch(text) or _WEB.fullmatch(text) or _HOST.fullmatch(text)):
        return None
    if text[0].isupper() and text.count(".") == 1 and text.split(".")[1] in ("me", "us", "go", "int", "info"):
        return None  # likelier two sentences without a space
    bare = re.sub(r"^[a-z]+://", "", text, flags=re.IGNORECASE)
    return Reading(_spelled(bare.rstrip("/")))


def tag(chunks: Sequence[Chunk], place: int) -> Reading | None:
    """@name and #topic."""
    found = _TAG.fullmatch(core(chunks, place))
    return found and Reading([{"@": "at", "#": "hashtag"}[found[1]], *_spelled(found[2])])


def _spelled(text: str) -> list[str]:
    words: list[str] = []
    pieces = _PIECES.findall(text)
    for place, piece in enumerate(pieces):
        if piece.isdigit():
            words += cardinal(piece) if len(piece) <= 4 and piece[0] != "0" else digits(piece)
        elif piece.isalpha() and piece.isascii():
            words += _piece(piece, is_ending=place > 0 and pieces[place - 1] == ".")
        else:
            words += _MARKS.get(piece, "").split()
    return words


def _piece(piece: str, *, is_ending: bool) -> list[str]:
    lower = piece.lower()
    lettered = not set("aeiouy") & set(lower) or (is_ending and lower in _DOMAINS and len(lower) <= 3)
    if len(lower) == 1 or (lettered and lower not in _SPOKEN):
        return [letter.upper() for letter in lower]
    return said(piece) if not piece.isupper() else [lower]
