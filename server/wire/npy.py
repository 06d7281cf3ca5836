"""NumPy's `.npy`, the part of it that is a header.

```
\\x93NUMPY │ 1 0     │ length       │ {'descr': '<f4', 'fortran_order': False, 'shape': (80, 344)} │ data
magic     │ version │ 2 or 4 bytes │ checked before any of the data is read                       │ no more
```

Pickled (object) arrays are refused by their dtype; no unpickler is ever called.
"""

import io

from numpy.lib import format as npy

from server.wire.refusals import MalformedNpy, UnsupportedMedia
from server.wire.shape import HEADER_BYTES, Header

__all__ = ["parse"]


def parse(start: bytes) -> Header | None:
    """The header at the start of a file; None if more bytes are needed to tell.

    Raises `UnsupportedMedia` for another kind of file, `MalformedNpy` for a header that cannot be read.
    """
    if not npy.MAGIC_PREFIX.startswith(start[:6]):
        raise UnsupportedMedia("the body does not begin like a .npy file")
    if len(start) < 12:
        return None
    version = (start[6], start[7])
    if version not in ((1, 0), (2, 0)):
        raise MalformedNpy(f".npy version {version[0]}.{version[1]} is not read here; expected 1.0 or 2.0")
    length_bytes = 2 * version[0]
    end = 8 + length_bytes + int.from_bytes(start[8 : 8 + length_bytes], "little")
    if end > HEADER_BYTES:
        raise MalformedNpy(f"the .npy header must end within {HEADER_BYTES} bytes")
    return _interpret(start[:end], version, end) if len(start) >= end else None


def _interpret(start: bytes, version: tuple[int, int], end: int) -> Header:
    stream = io.BytesIO(start)
    npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    try:
        if b"L" in start:  # NumPy would read Python 2's `80L`, with a warning
            raise ValueError("a long integer of Python 2")
        shape, fortran, dtype = read(stream, max_header_size=HEADER_BYTES)
    except Exception as error:  # NumPy evaluates a literal: a hostile one can raise nearly anything
        raise MalformedNpy("the .npy header cannot be read") from error
    return Header(shape, dtype, end, ".npy", MalformedNpy, fortran)
