"""The rules of normalisation, one class of things a file, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vocoder.text.chunk import Chunk, Reading
from vocoder.text.rules import address, amount, number, plain, romans, short, when

__all__ = ["RULES"]

Rule = Callable[[Sequence[Chunk], int], Reading | None]

RULES: tuple[Rule, ...] = (
    address.address,
    address.tag,
    short.dotted,
    romans.roman_numeral,
    when.month_first,
    short.initial,
    short.abbreviation,
    when.clock,
    when.date,
    when.year_alone,
    amount.money,
    amount.height,
    number.telephone,
    number.version,
    number.fraction,
    number.ordinal_number,
    amount.measure,
    number.times_by,
    number.range_of,
    number.ratio,
    number.signed,
    plain.anything,
)
