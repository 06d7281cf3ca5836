"""The names of the letters, in symbols; what a letter by itself is said as, whatever front end there is."""

from __future__ import annotations

from vocoder.text.tables import table

__all__ = ["name_of", "possessive"]

_NAMES = table(
    """
    A EY1, B B IY1, C S IY1, D D IY1, E IY1, F EH1 F, G JH IY1, H EY1 CH, I AY1, J JH EY1, K K EY1,
    L EH1 L, M EH1 M, N EH1 N, O OW1, P P IY1, Q K Y UW1, R AA1 R, S EH1 S, T T IY1, U Y UW1, V V
    IY1, W D AH1 B AH0 L Y UW0, X EH1 K S, Y W AY1, Z Z IY1
    """
)


def name_of(token: str) -> list[str] | None:
    """The symbols of a token that is one capital, with or without 's; None of any other.

    >>> name_of("W"), name_of("S's"), name_of("We")
    (['D', 'AH1', 'B', 'AH0', 'L', 'Y', 'UW0'], ['EH1', 'S', 'IH0', 'Z'], None)
    """
    base = token.removesuffix("'s")
    if len(base) != 1 or base not in _NAMES:
        return None
    symbols = _NAMES[base].split()
    return symbols if base == token else possessive(symbols)


def possessive(symbols: list[str]) -> list[str]:
    """A word with 's, after what it sounds like and not how it is written."""
    last = symbols[-1] if symbols else ""
    if last in ("S", "Z", "SH", "ZH", "CH", "JH"):
        return [*symbols, "IH0", "Z"]
    return [*symbols, "S" if last in ("P", "T", "K", "F", "TH") else "Z"]
