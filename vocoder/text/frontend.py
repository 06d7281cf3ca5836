"""`FrontEnd`: text in, front-end output out, a sentence each; and the front ends by name.

A front end of this package is the normaliser and a *pronouncer*, which turns the words of one sentence into
symbols. Each needs an extra, and is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Protocol, runtime_checkable

from vocoder.errors import InvalidInput
from vocoder.text.normalise import Sentence, sentences
from vocoder.text.schema import MAX_PHONEMES, FrontEndOutput, Word
from vocoder.text.ssml import spans
from vocoder.text.symbols import BOUNDARY, END, PUNCTUATION, START

__all__ = ["FRONT_ENDS", "FrontEnd", "Pronounce", "Spoken", "front_end"]

Pronounce = Callable[
    [Sequence[str]], Sequence[Sequence[str]]
]  # the tokens of a sentence → the symbols of each


@runtime_checkable
class FrontEnd(Protocol):
    """What turns text into front-end output. `InvalidInput` for text that it cannot say."""

    name: str

    def __call__(self, text: str) -> list[FrontEndOutput]:
        """The whole text, a sentence each."""
        ...

    def stream(self, text: str) -> Iterator[FrontEndOutput]:
        """The same one after another, each made when it is asked for: the first of a long text is there at
        once.
        """
        ...


class Spoken:
    """A front end made of the normaliser and a pronouncer."""

    def __init__(self, name: str, pronounce: Pronounce) -> None:
        self.name, self.pronounce = name, pronounce

    def __call__(self, text: str) -> list[FrontEndOutput]:
        """The whole text, a sentence each; `InvalidInput` where nothing in it can be said."""
        return list(self.stream(text))

    def stream(self, text: str) -> Iterator[FrontEndOutput]:
        """The sentences one after another; text that begins with `<speak` is read as SSML."""
        held: FrontEndOutput | None = None
        for span in spans(text):
            for sentence in sentences(span.text):
                if held is not None:
                    yield held
                held = self._output(sentence, span.pace)
            if held is not None and span.pause:
                held = held.model_copy(update={"pause": min(10.0, (held.pause or 0.0) + span.pause)})
        if held is None:
            raise InvalidInput("text has nothing in it that can be said")
        yield held

    def _output(self, sentence: Sentence, pace: float) -> FrontEndOutput:
        phonemes, words = _joined(sentence.tokens, self.pronounce(sentence.tokens))
        return FrontEndOutput(text=sentence.text, phonemes=tuple(phonemes), words=tuple(words), pace=pace)


FRONT_ENDS = {"gruut": "vocoder.text.gruut", "espeak": "vocoder.text.espeak"}


def front_end(name: str = "gruut") -> FrontEnd:
    """The front end of a name; `InvalidInput` for one that there is not, or whose extra is not installed."""
    if name not in FRONT_ENDS:
        raise InvalidInput(f"front end {name!r:.40} is not one of {', '.join(FRONT_ENDS)}")
    made: FrontEnd = import_module(FRONT_ENDS[name]).load()
    return made


def _joined(tokens: Sequence[str], spoken: Sequence[Sequence[str]]) -> tuple[list[str], list[Word]]:
    """The symbols of an utterance, a boundary or a mark between two words, and the span of each word."""
    phonemes, words = [START], list[Word]()
    for token, symbols in zip(tokens, spoken, strict=True):
        if token in PUNCTUATION:
            phonemes.append(token)
            continue
        if symbols and phonemes[-1] not in PUNCTUATION and len(phonemes) > 1:
            phonemes.append(BOUNDARY)
        words.append(Word(text=token, start=len(phonemes), end=len(phonemes) + len(symbols)))
        phonemes += symbols
    if len(phonemes) >= MAX_PHONEMES:
        raise InvalidInput(f"a sentence comes to {len(phonemes)} phonemes, expected at most {MAX_PHONEMES}")
    return [*phonemes, END], words
