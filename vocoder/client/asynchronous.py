"""`AsyncClient`: the calls of `Client`, awaited, under asyncio."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar, Unpack

import httpx2

from vocoder.client import calls
from vocoder.client.answers import Audio, Heading, Model, Score, whole
from vocoder.client.calls import AudioFile, Call, Layout, Wishes
from vocoder.client.destination import DEFAULT_TIMEOUT, Destination, Timeout
from vocoder.client.failures import (
    REASON_BYTES,
    ClientError,
    ConnectionFailed,
    ServerError,
    refusal,
    unanswered,
)
from vocoder.client.retries import NEVER, Retries
from vocoder.client.samples import Samples

__all__ = ["AsyncAudioStream", "AsyncClient"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class AsyncAudioStream(Heading):
    """Audio on its way: iterate over it once, and take its bytes as they come."""

    _response: httpx2.Response = field(repr=False)
    _promised: int | None = field(repr=False)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Pieces of the file, of any size. Raises `IncompleteAudio` if less comes than was promised."""
        with whole(self._response, self._promised):
            async for chunk in self._response.aiter_bytes():
                yield chunk

    async def read(self) -> bytes:
        """All of it."""
        return b"".join([chunk async for chunk in self])


class AsyncClient:
    """As `Client`, in an `async with` statement, with an `httpx2.AsyncClient` for `http`."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout: Timeout = DEFAULT_TIMEOUT,
        max_retries: int = 2,
        longest_wait: float = 60.0,
        http: httpx2.AsyncClient | None = None,
    ) -> None:
        self._to = Destination(base_url, api_key, timeout)
        self._retries = Retries(max_retries, longest_wait)
        self._http, self._owned = http or httpx2.AsyncClient(), http is None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._to.base_url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._owned:
            await self._http.aclose()

    async def vocode(self, mel: Any, **wishes: Unpack[Wishes]) -> Audio:
        """A mel `[M, L]` of the model's spec → its audio, whole."""
        return await self._ask(calls.vocode(mel, **wishes))

    async def vocode_batch(self, mels: Any, **wishes: Unpack[Wishes]) -> list[Audio]:
        """Mels of one shape, a list of `[M, L]` or an array `[B, M, L]` → audio for each, in their order."""
        return await self._ask(calls.vocode_batch(mels, **wishes))

    @asynccontextmanager
    async def stream(self, mel: Any, **wishes: Unpack[Wishes]) -> AsyncIterator[AsyncAudioStream]:
        """The same audio as `vocode` gives, as it is made: `async with client.stream(mel) as audio: ...`."""
        call = calls.vocode_stream(mel, **wishes)
        async with aclosing(await self._send(call, self._retries)) as response:
            known = vars(Heading.of(response, call.format))
            yield AsyncAudioStream(**known, _response=response, _promised=call.promised(response))

    async def mel(self, audio: AudioFile, *, model: str | None = None, layout: Layout = "ML") -> Samples:
        """The mel `[M, L]`, float32, of a recording: the bytes of its file, its path, or an `Audio`."""
        return await self._ask(await asyncio.to_thread(calls.measure, audio, model=model, layout=layout))

    async def score(
        self, audio: AudioFile, mel: Any = None, *, model: str | None = None, frames: bool = False
    ) -> Score:
        """The exact log-likelihood of a recording given a mel `[M, L]`, its own if none is given."""
        return await self._ask(await asyncio.to_thread(calls.score, audio, mel, model=model, frames=frames))

    async def models(self) -> list[Model]:
        """The models that the service has."""
        return await self._ask(calls.list_models())

    async def ready(self) -> bool:
        """Whether the service takes requests now; False also where nobody answers. Not tried again."""
        try:
            response = await self._send(calls.probe(), NEVER)
            await response.aclose()
        except (ConnectionFailed, ServerError):
            return False
        return True

    async def _ask(self, call: Call[T]) -> T:
        async with aclosing(await self._send(call, self._retries)) as response:
            with whole(response, call.promised(response)):
                await response.aread()
            return call.parse(response)

    async def _send(self, call: Call[Any], retries: Retries) -> httpx2.Response:
        """The first answer that is no refusal, its body unread."""
        tried = 0
        while True:
            tried += 1
            try:
                response = await self._http.send(self._to.request(self._http, call), stream=True)
            except httpx2.TransportError as cause:
                error = unanswered(cause)
            else:
                if response.is_success:
                    return response
                error = await self._refused(response)
            await asyncio.sleep(retries.pause(tried, error))

    async def _refused(self, response: httpx2.Response) -> ClientError:
        body = b""
        async with aclosing(response):
            with suppress(httpx2.HTTPError):
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > REASON_BYTES:
                        break
        return refusal(response.status_code, response.headers, body)
