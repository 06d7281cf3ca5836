"""Pronunciation by the models of gruut (MIT): a lexicon of 127 000 words, a tagger of parts of speech, a
guesser of unknown words.

The lexicon is CMU's dictionary in IPA with heteronyms marked by part of speech; tagger and guesser are
conditional random fields. They are read from the package `gruut-lang-en` directly, with the features that
gruut 2.4 computes, so that neither gruut nor what it needs to normalise text is installed. (Hansen, gruut;
Weide, The CMU Pronouncing Dictionary.)
"""

from __future__ import annotations

import sqlite3
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from string import punctuation
from threading import Lock
from typing import Any

from vocoder.errors import InvalidInput
from vocoder.text.frontend import Spoken
from vocoder.text.heteronyms import choose, in_context
from vocoder.text.letters import name_of, possessive
from vocoder.text.symbols import PUNCTUATION, from_ipa

__all__ = ["Pronouncer", "load"]

Features = list[dict[str, str | bool | float]]
LONGEST_GUESS = 40  # letters of a word that is guessed at once


@cache
def load() -> Spoken:
    """The front end `gruut`; `InvalidInput` with the command that installs it where it is not there."""
    return Spoken("gruut", Pronouncer(_folder()))


class Pronouncer:
    """The symbols of each token of a sentence. Models are shared by threads and asked by one at a time."""

    def __init__(self, folder: Path) -> None:
        self.lexicon = _read_lexicon(folder / "lexicon.db")
        self._tagger, self._guesser = _crf(folder / "pos" / "model.crf"), _crf(folder / "g2p" / "model.crf")
        self._lock = Lock()
        self.entries = lru_cache(16_384)(self._entries)
        self.guess = lru_cache(4096)(self._guess)

    def __call__(self, tokens: Sequence[str]) -> list[list[str]]:
        """Symbols for each token, none for a mark."""
        words = [token for token in tokens if token not in PUNCTUATION]
        tags = iter(self.tags(words))
        spoken = [[] if token in PUNCTUATION else self._word(token, next(tags)) for token in tokens]
        return in_context(tokens, spoken)

    def tags(self, words: Sequence[str]) -> list[str]:
        """The part of speech of each word of a sentence, in the tags of the Penn Treebank."""
        with self._lock:
            found: list[str] = self._tagger.tag(_tag_features(words)) if words else []
        return found

    def _word(self, word: str, tag: str) -> list[str]:
        if name := name_of(word):
            return name
        if entries := self.entries(word.lower()):
            return list(choose(word.lower(), entries, tag))
        if word.lower().endswith(("'s", "s'")):
            base = self._word(word[:-2] if word[-1] != "'" else word[:-1], tag)
            return possessive(base) if word[-1] != "'" else base
        return list(self.guess(word.lower().replace("'", "")))

    def _entries(self, word: str) -> Mapping[str, tuple[str, ...]]:
        """The pronunciations of a word by role ("" for any part of speech), the first of each."""
        entries: dict[str, tuple[str, ...]] = {}
        for row in self.lexicon.get(word, "").splitlines():
            role, _, phones = row.partition("\t")
            entries.setdefault(role.removeprefix("gruut:"), _symbols(phones.split()))
        return entries

    def _guess(self, word: str) -> tuple[str, ...]:
        """An unknown word, letter group by letter group as the model has learned them."""
        parts = [word[start : start + LONGEST_GUESS] for start in range(0, len(word), LONGEST_GUESS)]
        with self._lock:
            coded = [code for part in parts for code in self._guesser.tag(_guess_features(part))]
        phones = [phone for code in coded for phone in b64decode(code).decode().split("|") if phone != "_"]
        return _symbols(phones)


def _read_lexicon(path: Path) -> dict[str, str]:
    """All of the lexicon, a line `role, tab, phonemes` for each pronunciation: its table has no index to ask
    by word.
    """
    lexicon: dict[str, str] = {}
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as file:
        query = "SELECT word, role, phonemes FROM word_phonemes ORDER BY id"
        for word, role, phones in file.execute(query):
            before = f"{lexicon[word]}\n" if word in lexicon else ""
            lexicon[word] = f"{before}{role}\t{phones}"
    return lexicon


def _symbols(phones: Sequence[str]) -> tuple[str, ...]:
    """gruut's phonemes one by one, since two of them that stand together are not one of ours."""
    return tuple(symbol for phone in phones for symbol in from_ipa(phone))


def _tag_features(words: Sequence[str]) -> Features:
    """What gruut's tagger looks at: the word, its ends and its length, and two neighbours on either side."""
    coded = [_local(word) for word in words]
    return [_around(coded, place) for place in range(len(words))]


def _around(coded: Sequence[dict[str, Any]], place: int) -> dict[str, Any]:
    features = dict(coded[place])
    features |= {"BOS": True} if place == 0 else {}
    features |= {"EOS": True} if place == len(coded) - 1 else {}
    for offset in (-1, -2, 1, 2):
        if 0 <= place + offset < len(coded):
            features |= {f"{offset:+d}:{name}": value for name, value in coded[place + offset].items()}
    return features


def _local(word: str) -> dict[str, Any]:
    ends = {f"word[:{n}]": word[:n] for n in (2, 3)} | {f"word[-{n}:]": word[-n:] for n in (2, 3)}
    shape = {"word.ispunctuation": word in punctuation, "word.isdigit()": word.isdigit()}
    return {"bias": 1.0, "word": b64encode(word.encode()).decode(), "len(word)": len(word), **shape, **ends}


def _guess_features(word: str) -> Features:
    """What gruut's guesser looks at: the letter, and three on either side."""
    coded = [b64encode(letter.encode()).decode() for letter in word]
    return [_near(coded, place) for place in range(len(coded))]


def _near(coded: Sequence[str], place: int) -> dict[str, str | bool | float]:
    features: dict[str, str | bool | float] = {"bias": 1.0, "grapheme": coded[place]}
    features |= {"begin": True} if place == 0 else {}
    features |= {"end": True} if place == len(coded) - 1 else {}
    reach = (offset for offset in (-1, -2, -3, 1, 2, 3) if 0 <= place + offset < len(coded))
    return features | {f"grapheme{offset:+d}": coded[place + offset] for offset in reach}


def _crf(path: Path) -> Any:
    from pycrfsuite import Tagger

    tagger = Tagger()
    tagger.open(str(path))
    return tagger


def _folder() -> Path:
    if find_spec("pycrfsuite") is None or (spec := find_spec("gruut_lang_en")) is None or spec.origin is None:
        raise InvalidInput("front end 'gruut' is not installed: pip install 'flow-vocoder[text]'")
    return Path(spec.origin).parent
