"""Pronunciation by espeak-ng through phonemizer. Both are GPL: they are the extra `espeak`, and only this
file imports them.

A sentence is normalised by us and said by espeak-ng (en-us) clause by clause, since it reads a word in its
context. Words that it joins ("of the") stay joined: the first of them has the symbols of all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from itertools import groupby
from threading import Lock
from typing import Any

from vocoder.errors import InvalidInput
from vocoder.text.frontend import Spoken
from vocoder.text.letters import name_of
from vocoder.text.symbols import PUNCTUATION, from_ipa, is_phoneme

__all__ = ["Pronouncer", "load"]

JOINED = 4  # words that espeak-ng makes one of, at most
_FLAGS = re.compile(r"\([a-z-]+\)")  # where it changes to the rules of another language


@cache
def load() -> Spoken:
    """The front end `espeak`; `InvalidInput` with the command that installs it where it is not there."""
    if find_spec("phonemizer") is None or find_spec("espeakng_loader") is None:
        raise InvalidInput("front end 'espeak' is not installed: pip install 'flow-vocoder[espeak]' (GPL)")
    return Spoken("espeak", Pronouncer())


class Pronouncer:
    """The symbols of each token of a sentence; espeak-ng keeps one state, so one thread asks at a time."""

    def __init__(self) -> None:
        import espeakng_loader
        from phonemizer import separator
        from phonemizer.backend.espeak import espeak, wrapper

        wrapper.EspeakWrapper.set_library(espeakng_loader.get_library_path())
        wrapper.EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
        self._parted: Any = separator.Separator(phone="", word=" ")
        self._espeak: Any = espeak.EspeakBackend("en-us", with_stress=True)
        self._lock = Lock()

    def __call__(self, tokens: Sequence[str]) -> list[list[str]]:
        """Symbols for each token, none for a mark."""
        spoken: list[list[str]] = []
        for is_clause, run in groupby(tokens, key=_is_word):
            words = list(run)
            spoken += self._clause(words) if is_clause else [name_of(token) or [] for token in words]
        return spoken

    def _clause(self, words: list[str]) -> list[list[str]]:
        said = self._ipa([" ".join(words)])[0].split()
        if len(said) != len(words):
            said = _shared(said, [len(alone) for alone in self._ipa(words)])
        return [[symbol for symbol in from_ipa(ipa) if is_phoneme(symbol)] for ipa in said]

    def _ipa(self, texts: list[str]) -> list[str]:
        with self._lock:
            lines: list[str] = self._espeak.phonemize(texts, separator=self._parted, strip=True)
        return [_FLAGS.sub("", line) for line in lines]


def _is_word(token: str) -> bool:
    return token not in PUNCTUATION and (token == "I" or name_of(token) is None)


def _shared(said: Sequence[str], lengths: Sequence[int]) -> list[str]:
    """What was said, for each word: the joint that fits best with how long each word is by itself."""
    best: dict[tuple[int, int], tuple[int, tuple[int, ...]]] = {(0, 0): (0, ())}
    for place, item in enumerate(said):
        for (done, words), (cost, counts) in list(best.items()):
            if done != place:
                continue
            for count in range(1, JOINED + 1):
                state = (place + 1, words + count)
                tried = (cost + abs(len(item) - sum(lengths[words : words + count])), (*counts, count))
                if state[1] <= len(lengths) and tried < best.get(state, (1 << 30, ())):
                    best[state] = tried
    if (len(said), len(lengths)) not in best:
        return ["".join(f"{item} " for item in said), *[""] * (len(lengths) - 1)]
    counts = best[len(said), len(lengths)][1]
    return [part for item, count in zip(said, counts, strict=True) for part in (item, *[""] * (count - 1))]
