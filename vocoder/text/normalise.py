"""Text → sentences of words as they are said: the rules in their order, and where a sentence ends.

    text ─► clean ─► chunks ─► first rule that reads them ─► words and marks ─► sentences

A rule is handed the chunks and a place, and returns a `Reading` or None; it looks a few chunks ahead at
most, so that the time is linear in the text. What no rule reads is letters, numbers and signs, each said by
itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vocoder.text.chunk import Chunk, Reading, core, pause, split
from vocoder.text.clean import PARAGRAPH, clean
from vocoder.text.language import require_english
from vocoder.text.rules import RULES
from vocoder.text.symbols import PUNCTUATION

__all__ = ["MAX_WORDS", "Sentence", "sentences"]

MAX_WORDS, MANY_WORDS = 60, 30  # of a sentence; where there are many it ends at the next clause's end
MAX_LETTERS = 600  # of a sentence as it is written
FINAL = frozenset(".?!…")


@dataclass(frozen=True)
class Sentence:
    """A sentence as it was written (cleaned), and what is said of it: words, and marks of `PUNCTUATION`."""

    text: str
    tokens: tuple[str, ...]


def sentences(text: str) -> Iterator[Sentence]:
    """The sentences of a text one after another, at most `MAX_WORDS` words each, normalised as they are
    asked for.

    Raises `InvalidInput` for text that is too long, that nothing of can be said, or that is not English.

    >>> [" ".join(each.tokens) for each in sentences("Dr. Who paid $5. Why?")]
    ['Doctor Who paid five dollars .', 'Why ?']
    """
    plain = clean(text)
    require_english(plain)
    return _spoken(plain)


def _spoken(plain: str) -> Iterator[Sentence]:
    for paragraph in plain.split(PARAGRAPH):
        draft = _Draft()
        chunks, place = split(paragraph), 0
        while place < len(chunks):
            reading = _read(chunks, place)
            place += reading.used
            draft.add(chunks[place - reading.used : place], reading)
            if draft.is_done(_end(chunks, place, reading)):
                yield draft.sentence()
                draft = _Draft()
        if draft.words:
            yield draft.sentence()


class _Draft:
    """A sentence as it grows."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.tokens: list[str] = []
        self.words = self.letters = 0

    def add(self, chunks: Sequence[Chunk], reading: Reading) -> None:
        if not (self.words or reading.words):
            return  # marks before the first word are nobody's, however many there are
        written = [chunk.head + chunk.core + chunk.tail for chunk in chunks]
        self.written += written
        self.letters += sum(map(len, written))
        self.mark(pause(chunks[0].head.replace("(", ")").replace("[", "]")))
        for word in reading.words:
            if word in PUNCTUATION:
                self.mark(word)
            else:
                self.tokens.append(word)
                self.words += 1

    def mark(self, mark: str | None) -> None:
        """A mark after a word; of several the stronger."""
        if mark is None or not self.tokens:
            return
        if self.tokens[-1] not in PUNCTUATION:
            self.tokens.append(mark)
        elif mark in FINAL:
            self.tokens[-1] = mark

    def is_done(self, ending: tuple[str | None, bool]) -> bool:
        mark, final = ending
        self.mark(mark)
        many = self.words >= MANY_WORDS and mark is not None
        long = self.words >= MAX_WORDS or self.letters >= MAX_LETTERS
        return bool(self.words) and (final or many or long)

    def sentence(self) -> Sentence:
        self.mark(None if self.tokens[-1] in PUNCTUATION else ".")
        return Sentence(" ".join(self.written), tuple(self.tokens))


def _read(chunks: Sequence[Chunk], place: int) -> Reading:
    return next(reading for rule in RULES if (reading := rule(chunks, place)) is not None)


def _end(chunks: Sequence[Chunk], after: int, reading: Reading) -> tuple[str | None, bool]:
    """The mark behind the chunks just read, and whether the sentence ends with it."""
    last, following = chunks[after - 1], core(chunks, after)
    tail = last.tail.replace(".", "", 1) if reading.dot else last.tail
    mark = pause(tail)
    if after == len(chunks):
        return mark or (pause(last.tail)), True
    if reading.dot and mark is None:
        return (".", True) if "." in last.tail and reading.may_end and _is_start(following) else (None, False)
    if mark not in FINAL or (mark in "?!…" and following[:1].islower()):
        return mark, False
    if mark == "." and following[:1].islower() and _is_short(last.core):
        return None, False
    return mark, True


def _is_start(word: str) -> bool:
    return word[:1].isupper()


def _is_short(word: str) -> bool:
    """Whether a dot behind it is likelier an abbreviation's than a sentence's."""
    return "." in word or not set("aeiouy") & set(word.lower())
