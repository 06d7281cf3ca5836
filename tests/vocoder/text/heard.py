"""What the front end makes of the committed cases, and which of them come out as they should."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from vocoder.text.frontend import front_end
from vocoder.text.normalise import sentences

FOLDER = Path(__file__).parent / "cases"
MISSES = "misses.tsv"


class Case(NamedTuple):
    """A text of a class, and what is to be said: words, or `word=its phonemes` in the class `pronounced`."""

    kind: str
    text: str
    expected: str


def lines(path: Path) -> list[list[str]]:
    """The rows of a file of columns parted by tabs."""
    return [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n") if line]


def cases() -> list[Case]:
    """Every committed case."""
    files = (path for path in sorted(FOLDER.glob("*.tsv")) if path.name != MISSES)
    return [Case(path.stem, *row) for path in files for row in lines(path)]


def words(text: str) -> str:
    """The words of a text, sentences parted by a bar."""
    return " | ".join(" ".join(each.tokens) for each in sentences(text))


def phonemes(text: str, word: str) -> list[str]:
    """How each occurrence of a word in a text is said."""
    outputs = front_end("gruut")(text)
    spans = [(each.phonemes or (), span) for each in outputs for span in each.words or ()]
    return [" ".join(row[span.start : span.end]) for row, span in spans if span.text == word]


def is_right(case: Case) -> bool:
    """Whether a case comes out as it should; in `pronounced` one occurrence of the word is enough."""
    if case.kind != "pronounced":
        return words(case.text) == case.expected
    word, _, expected = case.expected.partition("=")
    return expected in phonemes(case.text, word)
