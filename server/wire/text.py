"""A mel in JSON: a list of lists, or the bytes of an array in base64.

```
{"mel": [[-5.1, …], …]}
{"mel": {"data": "MzOjwA…", "dtype": "float32", "shape": [80, 344]}}
```
"""

import base64
import math
from typing import Any

import numpy as np

from server.wire.cursor import Cursor
from server.wire.refusals import MalformedJson
from server.wire.shape import DTYPES, Array, Header, Limits
from vocoder.errors import InvalidMel

__all__ = ["SCHEMA", "parse"]

_ROWS: dict[str, Any] = {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}
_PACKED: dict[str, Any] = {
    "type": "object",
    "required": ["data", "dtype", "shape"],
    "properties": {
        "data": {"type": "string", "format": "byte", "description": "The array's bytes, little-endian."},
        "dtype": {"enum": list(DTYPES)},
        "shape": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 3},
    },
    "additionalProperties": False,
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["mel"],
    "properties": {"mel": {"anyOf": [_ROWS, {"type": "array", "items": _ROWS}, _PACKED]}},
    "additionalProperties": False,
}

PIECE = 2**18  # characters of base64 at a time, so that other threads have their turn; a multiple of 4


def parse(text: bytes | bytearray, limits: Limits) -> Array:
    """The mel of a body as it came, float64 where it is a list; long work, and not for the event loop.

    Raises `MalformedJson`, `InvalidMel`, `TooManyClips` or `MelTooLong`.
    """
    cursor = Cursor(text)
    cursor.need(b"{")
    (mel,) = (_value(cursor, limits) for _ in cursor.members(["mel"]))
    cursor.end()
    return mel


def _value(cursor: Cursor, limits: Limits) -> Array:
    if cursor.take(b"{"):
        return _packed(cursor, limits)
    cursor.need(b"[")
    mel = _list(cursor, limits, 1)
    limits.check_shape(mel.shape)
    return mel


def _list(cursor: Cursor, limits: Limits, depth: int) -> Array:
    """A list whose `[` has been taken: of numbers, or of lists that are all of one shape."""
    if not cursor.take(b"["):
        return _row(cursor, limits)
    if depth == 3:
        raise InvalidMel(f"mel is nested deeper than {limits.expected}")
    items = [_list(cursor, limits, depth + 1)]
    while cursor.take(b","):
        cursor.need(b"[")
        items.append(_list(cursor, limits, depth + 1))
        if items[-1].shape != items[0].shape:
            raise InvalidMel(f"mel is ragged: its lists are not of one length; expected {limits.expected}")
        _check_many(len(items), items[0].shape, limits)
    cursor.need(b"]")
    return np.stack(items)


def _row(cursor: Cursor, limits: Limits) -> Array:
    if cursor.take(b"]"):
        raise InvalidMel(f"mel holds an empty list; expected {limits.expected} with at least one frame")
    most = limits.max_frames if limits.layout == "ML" else limits.spec.n_mels
    if (row := cursor.numbers(most)) is not None:
        return row
    if limits.layout == "ML":
        raise limits.too_long(f"more than {most} frames")
    raise InvalidMel(f"mel has a list of more than {most} numbers; expected {limits.expected}")


def _check_many(items: int, shape: tuple[int, ...], limits: Limits) -> None:
    """Refuse a list as soon as it has more items than any mel, not when it has come to its end."""
    rows = limits.spec.n_mels if limits.layout == "ML" else limits.max_frames
    if len(shape) == 2 or items > rows:
        limits.check_shape((items, *shape))


def _packed(cursor: Cursor, limits: Limits) -> Array:
    """An array whose `{` has been taken."""
    data, code, shape = None, None, None
    for name in cursor.members(("data", "dtype", "shape")):
        if name == "shape":
            shape = _shape(cursor)
        elif name == "dtype":
            code = cursor.string().decode("latin-1")
        else:
            data = cursor.string()
    if data is None or code is None or shape is None:
        raise cursor.malformed("expected data, dtype and shape")
    if code not in DTYPES:
        raise InvalidMel(f"mel has a dtype that is not accepted; expected {', '.join(DTYPES)}")
    header = Header(shape, DTYPES[code], 0, "JSON", MalformedJson)
    limits.check(header)
    return header.array(_decoded(data, header.promised))


def _shape(cursor: Cursor) -> tuple[int, ...]:
    cursor.need(b"[")
    if cursor.take(b"]"):
        return ()
    axes = cursor.numbers(8)
    if axes is None or not all(axis.is_integer() and axis >= 0 for axis in axes.tolist()):
        raise cursor.malformed("expected a shape of a few whole numbers")
    return tuple(int(axis) for axis in axes)


def _decoded(data: bytes, promised: int) -> bytes:
    if len(data) != 4 * math.ceil(promised / 3):
        came = f"{promised} bytes, and {len(data)} characters of base64 are not as many"
        raise MalformedJson(f"shape and dtype promise {came}")
    pieces = (data[start : start + PIECE] for start in range(0, len(data), PIECE))
    try:
        return b"".join(base64.b64decode(piece, validate=True) for piece in pieces)
    except ValueError:
        raise MalformedJson("data is not base64") from None
