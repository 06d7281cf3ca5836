"""One spelling, several pronunciations: by part of speech, by a few words' own rules, and by what follows.

The lexicon marks heteronyms with a role (NN, VB, VBD, JJ, …). A tag of the Penn Treebank that has no entry
of its own takes that of its kind: a plural noun is a noun, a participle a past tense where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vocoder.text.symbols import PUNCTUATION, stress_of
from vocoder.text.tables import rows

__all__ = ["choose", "in_context"]

_KINDS = rows(
    """
    VBP VB, VBZ VB, VBG VB, VBN VBD|JJ|VB, VBD VBD|VB, NNS NN, NNP NN, NNPS NN, JJR JJ, JJS JJ, RBR
    RB, RBS RB, RB RB|JJ, MD VB
    """
)
_VOWEL_FORMS = {"the": ("DH", "IY0"), "to": ("T", "UW0")}  # before a vowel
_USED_TO, _USED = ("Y", "UW1", "S", "T"), ("Y", "UW1", "Z", "D")


def choose(word: str, entries: Mapping[str, tuple[str, ...]], tag: str) -> tuple[str, ...]:
    """The pronunciation of a word for its part of speech, from entries by role in the lexicon's order."""
    if word == "used":
        return _USED
    if word == "lead" and tag.startswith("VB"):  # its past tense is another word, whatever the tagger says
        return entries["VB"]
    for role in (tag, *_KINDS.get(tag, ()), ""):
        if role in entries:
            return entries[role]
    return next(iter(entries.values()))


def in_context(tokens: Sequence[str], spoken: list[list[str]]) -> list[list[str]]:
    """What the next word decides: "the" and "to" before a vowel, "used to"."""
    for place, token in enumerate(tokens[:-1]):
        following, word = tokens[place + 1], token.lower()
        if following in PUNCTUATION or not spoken[place + 1]:
            continue
        if word in _VOWEL_FORMS and stress_of(spoken[place + 1][0]) is not None:
            spoken[place] = list(_VOWEL_FORMS[word])
        elif word == "used" and following == "to":
            spoken[place] = list(_USED_TO)
    return spoken
