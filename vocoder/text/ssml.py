"""The little of SSML that is read: `<speak>`, `<p>`, `<s>`, `<break>` and `<prosody rate>`; the rest is
refused by name.

Text that begins with `<speak` is SSML. It is not parsed as XML: there are no entities but the five of XML
and numbers, no declarations and no comments, so that nothing can grow. (W3C, SSML 1.1, sections 3.2.3 and
3.2.4.)
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from vocoder.errors import InvalidInput
from vocoder.text.clean import MAX_CHARACTERS

__all__ = ["Span", "is_ssml", "spans"]

DEEPEST = 32
_TAG = re.compile(r"<(/?)([A-Za-z][\w:-]*)((?:\s+[\w:-]+\s*=\s*(?:\"[^\"<]*\"|'[^'<]*'))*)\s*(/?)>")
_ATTRIBUTE = re.compile(r"([\w:-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_RATES = {"x-slow": 0.5, "slow": 0.75, "medium": 1.0, "default": 1.0, "fast": 1.25, "x-fast": 1.75}
_STRENGTHS = {"none": 0.0, "x-weak": 0.1, "weak": 0.2, "medium": 0.4, "strong": 0.7, "x-strong": 1.2}
_TIME = re.compile(r"\+?(\d{1,6}(?:\.\d{0,6})?|\.\d{1,6})(ms|s)")
_PERCENT = re.compile(r"\+?(\d{1,4}(?:\.\d{0,4})?)(%?)")
_PLAIN = ("p", "s")


@dataclass(frozen=True)
class Span:
    """Text said at one pace, and the seconds of silence that a break asks for after it (0 for none)."""

    text: str
    pace: float = 1.0
    pause: float = 0.0


def is_ssml(text: str) -> bool:
    """Whether text is SSML: it begins with `<speak`."""
    return isinstance(text, str) and text[:200].lstrip().startswith("<speak")


def spans(text: str) -> list[Span]:
    """The spans of a text; of plain text, itself. `InvalidInput` for SSML that is not read, or not
    well-formed.

    >>> spans('<speak>One<break time="300ms"/><prosody rate="slow">two</prosody></speak>')[1:]
    [Span(text='', pace=1.0, pause=0.3), Span(text='two', pace=0.75, pause=0.0)]
    """
    if not is_ssml(text):
        return [Span(text)]
    if len(text) > MAX_CHARACTERS:
        raise InvalidInput(f"SSML has {len(text)} characters, expected at most {MAX_CHARACTERS}")
    return [span for span in _walk(text.strip()) if span.text or span.pause]


def _walk(text: str) -> Iterator[Span]:
    """Spans from left to right; a stack of (element, pace) says where we are."""
    stack: list[tuple[str, float]] = [("", 1.0)]
    place, speaks = 0, 0
    for found in _TAG.finditer(text):
        if before := _text(text[place : found.start()], stack):
            yield Span(before, stack[-1][1])
        place = found.end()
        closing, name, written, empty = found.groups()
        attributes = {key: double or single for key, double, single in _ATTRIBUTE.findall(written)}
        speaks += name == "speak" and not closing
        if speaks > 1 or (len(stack) == 1 and name != "speak"):
            raise InvalidInput("SSML is one element <speak> with everything in it")
        if pause := _move(stack, name, attributes, closing=bool(closing), empty=bool(empty)):
            yield Span("", stack[-1][1], pause)
    _text(text[place:], stack)
    if len(stack) > 1:
        raise InvalidInput(f"SSML ends within <{stack[-1][0]}>")


def _text(raw: str, stack: list[tuple[str, float]]) -> str:
    """Characters between two tags, with their entities read."""
    if "<" in raw:
        raise InvalidInput(f"SSML has a tag that is not understood: {raw[raw.index('<') :]!r:.60}")
    if raw.strip() and len(stack) == 1:
        raise InvalidInput("SSML has text outside <speak>")
    return html.unescape(raw)


def _move(
    stack: list[tuple[str, float]], name: str, attributes: dict[str, str], *, closing: bool, empty: bool
) -> float:
    """Enter or leave an element; returns the seconds of a break."""
    if name == "break":
        return _seconds(attributes)
    if closing:
        _leave(stack, name)
        return _STRENGTHS["medium"] if name == "p" else 0.0
    if name not in ("speak", "prosody", *_PLAIN):
        raise InvalidInput(f"SSML element <{name:.40}> is not read; speak, p, s, break and prosody are")
    if len(stack) > DEEPEST:
        raise InvalidInput(f"SSML is nested deeper than {DEEPEST}")
    if not empty:
        stack.append((name, stack[-1][1] * (_rate(attributes) if name == "prosody" else 1.0)))
        if not 0.25 <= stack[-1][1] <= 4:
            raise InvalidInput("prosody rate comes to more than 4 times as fast or as slow")
    return 0.0


def _leave(stack: list[tuple[str, float]], name: str) -> None:
    if stack[-1][0] != name:
        raise InvalidInput(f"SSML closes <{name:.40}> within <{stack[-1][0]}>")
    stack.pop()


def _rate(attributes: dict[str, str]) -> float:
    if unread := sorted(set(attributes) - {"rate"}):
        raise InvalidInput(f"prosody {unread[0]!r:.40} is not read; rate is")
    rate = attributes.get("rate", "medium")
    found = _PERCENT.fullmatch(rate)
    if rate not in _RATES and found is None:
        raise InvalidInput(f"prosody rate {rate!r:.40} must be {', '.join(_RATES)}, a factor or a percentage")
    return _RATES[rate] if found is None else float(found[1]) / (100 if found[2] else 1)


def _seconds(attributes: dict[str, str]) -> float:
    if "time" not in attributes:
        strength = attributes.get("strength", "medium")
        if strength not in _STRENGTHS:
            raise InvalidInput(f"break strength {strength!r:.40} must be one of {', '.join(_STRENGTHS)}")
        return _STRENGTHS[strength]
    found = _TIME.fullmatch(attributes["time"].strip())
    seconds = float(found[1]) / (1000 if found[2] == "ms" else 1) if found else -1.0
    if not 0 <= seconds <= 10:
        raise InvalidInput(f"break time {attributes['time']!r:.40} must be 0s to 10s, or in ms")
    return seconds
