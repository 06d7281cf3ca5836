"""safetensors with exactly one tensor, the part of it that is a header.

```
length  │ {"mel": {"dtype": "F32", "shape": [80, 344], "data_offsets": [0, 110080]}} │ data
8 bytes │ checked before any of the data is read                                     │ no more
```

The tensor may have any name, and the file metadata of its own, which is not looked at.
"""

import json
import math
from typing import Any

from server.wire.refusals import MalformedSafetensors
from server.wire.shape import DTYPES, HEADER_BYTES, Header
from vocoder.errors import InvalidMel

__all__ = ["begins", "parse"]

CODES = {"F16": DTYPES["float16"], "F32": DTYPES["float32"], "F64": DTYPES["float64"]}
FIELDS = {"dtype", "shape", "data_offsets"}


def begins(start: bytes) -> bool:
    """Whether at least nine bytes look like the start of such a file: a short header, which is an object."""
    return _size(start) <= HEADER_BYTES - 8 and start[8:9] == b"{"


def parse(start: bytes) -> Header | None:
    """The header at the start of a file; None if more bytes are needed to tell.

    Raises `MalformedSafetensors` for a header that cannot be read or is not of one tensor, `InvalidMel` for a
    dtype that is no float of NumPy's.
    """
    if len(start) < 8:
        return None
    end = 8 + _size(start)
    if end > HEADER_BYTES:
        raise MalformedSafetensors(f"the safetensors header must end within {HEADER_BYTES} bytes")
    return _interpret(start[8:end], end) if len(start) >= end else None


def _size(start: bytes) -> int:
    return int.from_bytes(start[:8], "little")


def _interpret(text: bytes, end: int) -> Header:
    try:
        found = json.loads(text.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise MalformedSafetensors("the safetensors header cannot be read") from error
    tensor = _only_tensor(found)
    code, shape = tensor["dtype"], tensor["shape"]
    if not _whole_numbers(shape) or not isinstance(code, str):
        raise MalformedSafetensors("the safetensors header states no shape and dtype")
    if code not in CODES:
        raise InvalidMel(f"mel has dtype {code[:8]}, expected F16, F32 or F64")
    header = Header(tuple(shape), CODES[code], end, "safetensors", MalformedSafetensors)
    if tensor["data_offsets"] != [0, header.promised - end]:
        raise MalformedSafetensors(
            f"data_offsets must be [0, n], where n is the {math.prod(shape)} numbers of the shape times "
            f"{header.dtype.itemsize} bytes"
        )
    return header


def _only_tensor(found: Any) -> dict[str, Any]:
    named = found if type(found) is dict else {}
    tensors = [value for name, value in named.items() if name != "__metadata__"]
    if len(tensors) != 1 or type(tensors[0]) is not dict or set(tensors[0]) != FIELDS:
        raise MalformedSafetensors("the safetensors header must describe exactly one tensor")
    return dict(tensors[0])


def _whole_numbers(shape: Any) -> bool:
    return type(shape) is list and all(type(axis) is int and axis >= 0 for axis in shape)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, unless a key stands in it twice: readers disagree on which of them counts."""
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a key stands there twice")
    return found
