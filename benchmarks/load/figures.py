"""Numbers and tables: real percentiles, no model of a distribution."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["PERCENTILES", "Limit", "Section", "milliseconds", "percentile", "percentiles", "slope", "table"]

PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class Limit:
    """Something that must hold: what is said of it, what was measured, and whether it does."""

    claim: str
    measured: str
    kept: bool


@dataclass(frozen=True)
class Section:
    """A part of the report: Markdown, the same numbers as data, and what must hold of them."""

    title: str
    text: str
    data: dict[str, Any]
    limits: list[Limit] = field(default_factory=list)


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least `share` percent do not exceed; NaN of nothing.

    >>> percentile([4, 1, 3, 2], 50), percentile([4, 1, 3, 2], 99)
    (2, 4)
    """
    ranked = sorted(values)
    return ranked[max(math.ceil(share / 100 * len(ranked)), 1) - 1] if ranked else math.nan


def percentiles(values: Iterable[float]) -> list[float]:
    """p50, p95 and p99."""
    kept = list(values)
    return [percentile(kept, share) for share in PERCENTILES]


def milliseconds(values: Iterable[float], digits: int = 0) -> str:
    """Seconds, told as `12 / 34 / 56`; a dash for what is not there.

    >>> milliseconds([0.0123, math.nan])
    '12 / –'
    """
    return " / ".join("–" if math.isnan(value) else f"{1000 * value:.{digits}f}" for value in values)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """In Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the line with the least squared distance to the points (x, y).

    >>> slope([(0, 1), (1, 3), (2, 5)])
    2.0
    """
    x_mean = sum(x for x, _ in points) / len(points)
    y_mean = sum(y for _, y in points) / len(points)
    spread = sum((x - x_mean) ** 2 for x, _ in points)
    return sum((x - x_mean) * (y - y_mean) for x, y in points) / spread
