"""Tables of words, written as text: what a rule knows by heart, one entry after another, in lines that can
be read.
"""

from __future__ import annotations

__all__ = ["rows", "table", "word_set"]


def word_set(text: str) -> frozenset[str]:
    """The words of a text, parted by spaces or lines."""
    return frozenset(text.split())


def table(text: str) -> dict[str, str]:
    """`key words, key words, …` as a dictionary.

    >>> table("vs versus, e.g for example")
    {'vs': 'versus', 'e.g': 'for example'}
    """
    return {key: " ".join(words) for key, *words in map(str.split, text.split(","))}


def rows(text: str) -> dict[str, tuple[str, ...]]:
    """`key one|other, …` as a dictionary of tuples.

    >>> rows("ft foot|feet, kWh kilowatt hour|kilowatt hours")["kWh"]
    ('kilowatt hour', 'kilowatt hours')
    """
    return {key: tuple(value.split("|")) for key, value in table(text).items()}
