"""Files that say at their start how long they are: `.npy`, safetensors, or whichever of the two it is."""

from collections.abc import Callable
from dataclasses import dataclass

from numpy.lib.format import MAGIC_PREFIX
from starlette.requests import Request

from server.wire import npy, tensors
from server.wire.body import bounded, in_time
from server.wire.refusals import MalformedBody, MalformedNpy, MalformedSafetensors, UnsupportedMedia
from server.wire.shape import HEADER_BYTES, Array, Header, Limits

__all__ = ["BY_MEDIA_TYPE", "EITHER", "FileFormat"]


@dataclass(frozen=True)
class FileFormat:
    """A kind of file: what it is called, how its header is read, and what it is when it is cut off."""

    kind: str
    malformed: type[MalformedBody]
    parse: Callable[[bytes], Header | None]

    async def receive(self, request: Request, limits: Limits, seconds: float) -> Array:
        """The array of a body, refused when it is known to be wrong and not when all of it has come.

        Raises `BodyTooLarge`, `SlowBody`, and what `read` raises.
        """
        body, header = bytearray(), None
        async with in_time(seconds):
            async for chunk in bounded(request, limits.binary_bytes):
                body += chunk
                header = header or self._header(body, limits)
                if header and len(body) > header.promised:
                    raise self._more(header)
        return self._whole(header, body)

    def read(self, body: bytes, limits: Limits) -> Array:
        """The array of a file.

        Raises `UnsupportedMedia` for another kind of file, `MalformedBody` for a damaged one, and what
        `Limits.check` raises.
        """
        header = self._header(body, limits)
        if header and len(body) > header.promised:
            raise self._more(header)
        return self._whole(header, body)

    def _header(self, body: bytes | bytearray, limits: Limits) -> Header | None:
        if header := self.parse(bytes(body[:HEADER_BYTES])):
            limits.check(header)
        return header

    def _whole(self, header: Header | None, body: bytes | bytearray) -> Array:
        if not body:
            raise self.malformed(f"the body is empty; expected a {self.kind} file")
        if header is None:
            raise self.malformed(f"the body ends within its {self.kind} header")
        return header.array(body)

    @staticmethod
    def _more(header: Header) -> MalformedBody:
        return header.malformed(f"the body holds more bytes than its {header.kind} header promises")


def _either(start: bytes) -> Header | None:
    if MAGIC_PREFIX.startswith(start[:6]):
        return npy.parse(start)
    if len(start) < 9:
        return None
    if not tensors.begins(start):
        raise UnsupportedMedia("the body begins neither like a .npy nor like a safetensors file")
    return tensors.parse(start)


EITHER = FileFormat(".npy or safetensors", MalformedBody, _either)
BY_MEDIA_TYPE = {
    "application/x-npy": FileFormat(".npy", MalformedNpy, npy.parse),
    "application/x-safetensors": FileFormat("safetensors", MalformedSafetensors, tensors.parse),
    "application/octet-stream": EITHER,
}
