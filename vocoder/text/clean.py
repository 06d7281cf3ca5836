"""Text as it came, made plain: what is dropped, what is folded, and what is refused.

In this order, each in time linear in the text:

1. at most `MAX_CHARACTERS` come in, and not much more after folding (one code point can fold to eighteen);
2. compatibility forms fold (NFKC: ﬁ, ２, ½, ㎏, ™), quotes and dashes become those of ASCII and `—`, every
   kind of space a space; a line end is a space, and an empty line ends a paragraph;
3. accents are taken off Latin letters (café, Müller, Łódź), Greek letters become their names (π is pi);
4. controls, emoji, other pictures and what Unicode has not assigned are dropped, as if a space stood there;
5. letters of other scripts are dropped where they are few, and refused where they are not.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from vocoder.errors import InvalidInput

__all__ = ["MAX_CHARACTERS", "clean"]

MAX_CHARACTERS = 200_000
FOREIGN_SHARE = 0.2  # of the letters may be of other scripts, and is dropped
PARAGRAPH = "\x1e"  # what `clean` writes for an empty line

_FOLDED = {
    character: plain
    for characters, plain in (
        *(("‘’ʼ‛`´＇", "'"), ("“”„‟«»‹›〝〞″", '"'), ("‐‑‒⁃−", "-"), ("–", "–"), ("—―⸺⸻", "—"), ("…", "…")),
        *(
            ("⁄∕", "/"),
            ("·", " "),
            ("•‣▪●", " • "),
            ("′", "'"),
            ("µ", "μ"),
            ("×", "×"),
            ("÷", "÷"),
            ("→", " to "),
        ),
        *(
            ("©®™℠", " "),
            ("№", " No. "),
            ("‰", " per mille "),
            ("ß", "ss"),
            ("ø", "o"),
            ("Ø", "O"),
            ("æ", "ae"),
        ),
        *(
            ("Æ", "Ae"),
            ("œ", "oe"),
            ("Œ", "Oe"),
            ("ł", "l"),
            ("Ł", "L"),
            ("đð", "d"),
            ("ĐÐ", "D"),
            ("þ", "th"),
        ),
        *(("Þ", "Th"), ("ı", "i"), ("ħ", "h")),
    )
    for character in characters
}
_KEPT = frozenset("$£€¥¢₹%&@#*+=/\\<>~^_|°×÷±√∞§–—…'\"()[]{}.,;:!?-•≈≤≥≠" + PARAGRAPH)
_PARAGRAPHS = re.compile(r"[^\S\n]*\n[^\S\n]*\n\s*")
_SPACES = re.compile(r"[^\S\x1e]+")


def clean(text: str) -> str:
    """Text of Latin letters, digits and plain marks, spaces single; paragraphs are parted by U+001E.

    Raises `InvalidInput` for what is no text, too long, of another script, or not decoded (lone surrogates).

    >>> clean("Caf\\u00e9 \\U0001f600\\x07 \\u201cna\\u00efve\\u201d")
    'Cafe "naive"'
    """
    _require_text(text)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2029", "\n\n").replace("\u2028", "\n")
    marked = _PARAGRAPHS.sub(PARAGRAPH, lines.replace(PARAGRAPH, " ").replace("\f", "\n\n"))
    plain = "".join(map(_plain, marked))
    _require_english_letters(marked)
    if len(plain) > 2 * MAX_CHARACTERS:
        raise InvalidInput(f"text folds to {len(plain)} characters, expected at most {2 * MAX_CHARACTERS}")
    return _SPACES.sub(" ", plain).strip(" " + PARAGRAPH)


def _require_text(text: str) -> None:
    if not isinstance(text, str):
        raise InvalidInput(f"text is a {type(text).__name__}, expected a string")
    if len(text) > MAX_CHARACTERS:
        raise InvalidInput(
            f"text has {len(text)} characters, expected at most {MAX_CHARACTERS}; say it in parts"
        )


@lru_cache(maxsize=4096)
def _plain(character: str) -> str:
    """What one character is read as: itself, others, or a space where it is dropped."""
    if character.isascii():
        return character if character.isprintable() or character == PARAGRAPH else " "
    if character in _FOLDED:
        return _FOLDED[character]
    folded = unicodedata.normalize("NFKD", character)
    if "\u2044" in folded:  # a fraction in one character: 1½ is 1 1/2
        return f" {folded.replace(chr(0x2044), '/')}"
    return "".join(map(_letter, folded)) if folded != character else _letter(character)


def _letter(character: str) -> str:
    if character.isascii() or character in _KEPT:
        return character
    if character in _FOLDED:
        return _FOLDED[character]
    if unicodedata.combining(character):
        return ""
    name = unicodedata.name(character, "")
    if name.startswith("GREEK") and unicodedata.category(character)[0] == "L":
        return f" {_greek(name)} "
    if character in "\u200d\u200c\u2060\ufeff\u00ad\ufe0f\ufe0e":
        return ""
    digit = unicodedata.digit(character, None)
    return " " if digit is None else str(digit)


def _greek(name: str) -> str:
    """pi of GREEK SMALL LETTER PI WITH …."""
    words = name.split()
    return words[words.index("LETTER") + 1].lower().replace("lamda", "lambda") if "LETTER" in words else ""


def _require_english_letters(text: str) -> None:
    """Refuse text a large share of whose letters are of scripts that are neither Latin nor Greek."""
    foreign = [script for letter in text if not letter.isascii() and (script := _script(letter))]
    latin = sum(map(str.isalpha, text)) - len(foreign)
    if len(foreign) > FOREIGN_SHARE * (latin + len(foreign)):
        common = max(set(foreign), key=foreign.count)
        raise InvalidInput(f"text is largely in {common.title()} letters; only English can be spoken")


@lru_cache(maxsize=4096)
def _script(character: str) -> str:
    """The script of a letter that is neither Latin nor Greek, by its Unicode name; else nothing."""
    if not character.isalpha():
        return ""
    first = unicodedata.name(character, "UNKNOWN").replace("-", " ").split()[0]
    return (
        ""
        if first
        in {"LATIN", "GREEK", "FULLWIDTH", "MODIFIER", "MATHEMATICAL", "MICRO", "FEMININE", "MASCULINE"}
        else first
    )
