"""Praat's TextGrid, as the Montreal Forced Aligner writes it: tiers of labelled intervals, in its long or
short form.

    "IntervalTier" "words" 0 1.5 3      0 0.2 ""      0.2 0.9 "hello"      0.9 1.5 "world"

Both forms are the same numbers and quoted strings in the same order; the long one has their names between
them. So everything that is neither is passed over, and what is left is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vocoder.errors import InvalidInput

__all__ = ["Interval", "read_tiers"]

LARGEST, MOST = 4_000_000, 40_000  # characters of a file; intervals of a tier
_TOKEN = re.compile(
    r'"((?:[^"]|"")*)"|(?<![\w.\[])(-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?![\w\]])|<exists>|<absent>'
)


@dataclass(frozen=True)
class Interval:
    """A label, and when it begins and ends, in seconds."""

    start: float
    end: float
    label: str


def read_tiers(text: str) -> dict[str, list[Interval]]:
    """The interval tiers of a TextGrid by name; `InvalidInput` for what is none, or not in order.

    >>> grid = 'File type = "ooTextFile" "TextGrid" 0 1 <exists> 1 "IntervalTier" "phones" 0 1 1 0 1 "AA1"'
    >>> read_tiers(grid)
    {'phones': [Interval(start=0.0, end=1.0, label='AA1')]}
    """
    if len(text) > LARGEST or "ooTextFile" not in text[:200]:
        raise InvalidInput(f"not a TextGrid of at most {LARGEST} characters that begins with ooTextFile")
    tokens = _tokens(text)
    try:
        return _by_name(_tiers(tokens))
    except (StopIteration, RuntimeError, ValueError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput("TextGrid is damaged or cut") from error


def _by_name(tiers: Iterable[tuple[str, list[Interval]]]) -> dict[str, list[Interval]]:
    named: dict[str, list[Interval]] = {}
    for name, intervals in tiers:
        if name in named:
            raise InvalidInput(f"TextGrid has two tiers named {name!r:.40}")
        named[name] = intervals
    return named


def _tokens(text: str) -> Iterator[str | float]:
    for found in _TOKEN.finditer(text):
        if found[0][0] == '"':
            yield found[1].replace('""', '"')
        elif found[2] is not None:
            yield float(found[2])


def _tiers(tokens: Iterator[str | float]) -> Iterator[tuple[str, list[Interval]]]:
    if [next(tokens), next(tokens)] != ["ooTextFile", "TextGrid"]:
        raise InvalidInput("not a TextGrid")
    _number(tokens), _number(tokens)
    for _ in range(_count(tokens)):
        kind, name = next(tokens), str(next(tokens))
        _number(tokens), _number(tokens)
        if kind == "IntervalTier":
            yield name, list(_intervals(name, tokens))
        else:
            for _ in range(2 * _count(tokens)):
                next(tokens)


def _intervals(name: str, tokens: Iterator[str | float]) -> Iterator[Interval]:
    last = 0.0
    for place in range(_count(tokens)):
        interval = Interval(_number(tokens), _number(tokens), str(next(tokens)).strip())
        if not last - 1e-3 <= interval.start <= interval.end:
            raise InvalidInput(f"interval {place} of tier {name!r:.40} is not after the one before it")
        last = interval.end
        yield interval


def _number(tokens: Iterator[str | float]) -> float:
    value = next(tokens)
    if isinstance(value, str):
        raise InvalidInput(f"TextGrid has {value!r:.40} where a number belongs")
    return value


def _count(tokens: Iterator[str | float]) -> int:
    count = _number(tokens)
    if not 0 <= count <= MOST or count != int(count):
        raise InvalidInput(f"TextGrid promises {count:g} things, expected at most {MOST}")
    return int(count)
