"""A place in a JSON text that is read token by token.

The json module parses a text in one go, and no other thread of Python runs until it is done: the better part
of a second, for tens of megabytes. So it is asked for short runs of numbers only, and other threads have
their turn between.
"""

import json
import re
import time
from collections.abc import Collection, Iterator

import numpy as np

from server.wire.refusals import MalformedJson
from server.wire.shape import Array
from vocoder.errors import InvalidMel

__all__ = ["Cursor"]

SPACE = re.compile(rb"[ \t\r\n]{0,4096}")
NUMERIC = b"+-.0123456789eE, \t\r\n"
LITERALS = b'"tfn{'  # what a value can begin with that is JSON, and no number
RUN_BYTES = 2**16  # of numbers at a time, about a millisecond
TURN_BYTES = 2**14  # between two turns of others, which cost a twentieth of one


class Cursor:
    """Reads objects, plain strings and lists of numbers, strictly: what it cannot read is `MalformedJson`."""

    def __init__(self, text: bytes | bytearray) -> None:
        self._text, self._at, self._turn = text, 0, 0

    def take(self, token: bytes) -> bool:
        """Skip white space, and the token if it comes next."""
        found = SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at
        if not self._text.startswith(token, self._at):
            return False
        self._at += len(token)
        return True

    def need(self, token: bytes) -> None:
        """Take a token that has to come next."""
        if not self.take(token):
            raise self.malformed(f"expected {token.decode()}")

    def members(self, names: Collection[str]) -> Iterator[str]:
        """The keys of an object whose `{` has been taken, each once; whoever asks reads the value.

        A key that is not one of the names, or stands there twice, is `MalformedJson`.
        """
        seen: set[str] = set()
        while not seen or not self.take(b"}"):
            if seen:
                self.need(b",")
            key = self.string().decode("latin-1")
            if key not in names or key in seen:
                raise self.malformed(f"expected each of {', '.join(sorted(names))} once, and no other key")
            self.need(b":")
            seen.add(key)
            yield key

    def string(self) -> bytes:
        r"""What stands between the next two quotation marks; of escapes, only `\/` is understood."""
        self.need(b'"')
        start, self._at = self._at, self._text.find(b'"', self._at) + 1
        if not self._at:
            raise MalformedJson("the JSON body ends within a string")
        token = bytes(self._text[start : self._at - 1])
        return token.replace(b"\\/", b"/") if b"\\" in token else token

    def numbers(self, most: int) -> Array | None:
        """The numbers `[n]`, float64, of a list whose `[` has been taken; None if there are more than `most`.

        What is no number at all (true, null, a string) is `InvalidMel`; 1e999 is infinite.
        """
        start, end = self._at, self._text.find(b"]", self._at)
        if end < 0:
            raise MalformedJson("the JSON body ends within a list")
        if self._text.count(b",", start, end) >= most:
            return None
        runs = [self._run(begin, stop) for begin, stop in self._cut(start, end)]
        self._at = end + 1
        return np.concatenate(runs)

    def end(self) -> None:
        """Nothing but white space may follow."""
        self.take(b"")
        if self._at < len(self._text):
            raise self.malformed("expected the end")

    def malformed(self, rule: str) -> MalformedJson:
        """The refusal of what stands here."""
        return MalformedJson(f"the JSON body cannot be read at byte {self._at}: {rule}")

    def _cut(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Where the runs of a list begin and end, of at most `RUN_BYTES`, cut at commas."""
        while end - start > RUN_BYTES:
            comma = self._text.rfind(b",", start, start + RUN_BYTES)
            if comma < 0:
                raise self.malformed("expected a number of fewer digits")
            yield start, comma
            start = comma + 1
        yield start, end

    def _run(self, start: int, end: int) -> Array:
        if start >= self._turn:
            time.sleep(0)  # others first
            self._turn = start + TURN_BYTES
        self._at, run = start, bytes(self._text[start:end])
        if odd := run.translate(None, NUMERIC):
            raise self._no_number(odd)
        try:
            found = json.loads(b"[%b]" % run, parse_int=float)  # an int can be longer than any float
        except ValueError:
            raise self.malformed("expected numbers") from None
        if not found:
            raise self.malformed("expected a number")
        return np.array(found, np.float64)

    def _no_number(self, odd: bytes) -> Exception:
        if odd[:1] in LITERALS:
            return InvalidMel("mel holds something that is not a number")
        return self.malformed("expected numbers")
