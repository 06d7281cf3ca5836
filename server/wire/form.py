"""A form of files: `multipart/form-data`, whose parts are known by name and kept in memory, never on disk."""

from collections.abc import Collection
from contextlib import aclosing

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from server.wire.body import bounded, check_encoding, in_time, media_type
from server.wire.refusals import MalformedForm, UnsupportedMedia

__all__ = ["FORM", "check_form_type", "read_form"]

FORM = "multipart/form-data"


def check_form_type(request: Request) -> None:
    """Raise `UnsupportedMedia` unless the body is a form, and nothing is compressed."""
    check_encoding(request)
    if media_type(request) != FORM:
        raise UnsupportedMedia(f"content-type must be {FORM}")


async def read_form(
    request: Request, needed: Collection[str], others: Collection[str], *, limit: int, seconds: float
) -> dict[str, bytes]:
    """The files of the form by the names of their fields: each of `needed`, and of `others` those that came.

    Raises `MalformedForm` for any other field, one that comes twice or is no file, or a form that cannot be
    read or does not end; `BodyTooLarge` beyond `limit` bytes in all, `SlowBody` after `seconds`.
    """
    names = [*needed, *others]
    files = _Files(names)
    _, options = parse_options_header(request.headers.get("content-type"))
    if not (boundary := options.get(b"boundary")):
        raise _malformed(names)
    try:
        parser = MultipartParser(boundary, files.callbacks())  # type: ignore[arg-type]  # a plain dict
        async with in_time(seconds), aclosing(bounded(request, limit)) as stream:
            async for chunk in stream:
                parser.write(chunk)
    except FormParserError as error:
        raise _malformed(names) from error
    if not files.ended or not set(needed) <= set(files.found):
        raise _malformed(names)
    return {name: bytes(data) for name, data in files.found.items()}


class _Files:
    """What the parser finds: a part that is not wanted ends it."""

    def __init__(self, names: list[str]) -> None:
        self.found: dict[str, bytearray] = {}
        self.ended = False
        self._names = names
        self._header, self._value, self._about = bytearray(), bytearray(), b""
        self._part = bytearray()

    def callbacks(self) -> dict[str, object]:
        """For the parser: the methods by the names it knows."""
        names = ("header_field", "header_value", "header_end", "headers_finished", "part_data", "end")
        return {f"on_{name}": getattr(self, name) for name in names}

    def header_field(self, data: bytes, start: int, end: int) -> None:
        """A piece of a header's name."""
        self._header += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        """A piece of what it says."""
        self._value += data[start:end]

    def header_end(self) -> None:
        """A header is whole: one of them has the name of the part."""
        if self._header.lower() == b"content-disposition":
            self._about = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def headers_finished(self) -> None:
        """A part begins."""
        _, options = parse_options_header(self._about)
        name = options.get(b"name", b"").decode("latin-1")
        if name not in self._names or name in self.found or b"filename" not in options:
            raise _malformed(self._names)
        self._part = self.found[name] = bytearray()
        self._about = b""

    def part_data(self, data: bytes, start: int, end: int) -> None:
        """A piece of it."""
        self._part += data[start:end]

    def end(self) -> None:
        """The last boundary has come."""
        self.ended = True


def _malformed(names: list[str]) -> MalformedForm:
    return MalformedForm(f"the body must be a form of files, each once and none other: {', '.join(names)}")
