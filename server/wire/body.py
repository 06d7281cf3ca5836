"""Bytes as they come: at most so many, within so long, and none of them inflated."""

from asyncio import timeout
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from server.wire.refusals import BodyTooLarge, SlowBody, UnsupportedMedia

__all__ = ["bounded", "check_encoding", "in_time", "media_type", "read_bytes", "require_length"]


def media_type(request: Request) -> str:
    """The content type, in lower case and without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def check_encoding(request: Request) -> None:
    """Raise `UnsupportedMedia` for a compressed body: nothing is inflated here."""
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise UnsupportedMedia("content-encoding must be identity: the body is read as it comes")


def require_length(request: Request, limit: int) -> None:
    """Raise `BodyTooLarge` where the stated length is beyond the limit; without one, only bytes count."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > limit:
        raise BodyTooLarge(f"content-length must be at most {limit} bytes")


@asynccontextmanager
async def in_time(seconds: float) -> AsyncIterator[None]:
    """Raise `SlowBody` if what is inside takes longer."""
    try:
        async with timeout(seconds):
            yield
    except TimeoutError:
        raise SlowBody(f"the body must come within {seconds:g} s") from None


async def bounded(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    """The body chunk by chunk; `BodyTooLarge` as soon as it holds more bytes than the limit."""
    require_length(request, limit)
    came = 0
    async for chunk in request.stream():
        came += len(chunk)
        if came > limit:
            raise BodyTooLarge(f"the body must hold at most {limit} bytes")
        yield chunk


async def read_bytes(request: Request, limit: int, seconds: float) -> bytearray:
    """The whole body, at most `limit` bytes, within `seconds`; raises `BodyTooLarge` or `SlowBody`."""
    body = bytearray()
    async with in_time(seconds):
        async for chunk in bounded(request, limit):
            body += chunk
    return body
