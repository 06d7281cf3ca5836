"""`Client`: calls that block. Threads may share one."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
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

__all__ = ["AudioStream", "Client"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class AudioStream(Heading):
    """Audio on its way: iterate over it once, and take its bytes as they come."""

    _response: httpx2.Response = field(repr=False)
    _promised: int | None = field(repr=False)

    def __iter__(self) -> Iterator[bytes]:
        """Pieces of the file, of any size. Raises `IncompleteAudio` if less comes than was promised."""
        with whole(self._response, self._promised):
            yield from self._response.iter_bytes()

    def read(self) -> bytes:
        """All of it."""
        return b"".join(self)


class Client:
    """A service of this project, over HTTP. Close it, or use it in a `with` statement.

    Args:
        base_url: where the service is, as in `http://127.0.0.1:8000`; a path in front of `/v1` is kept.
        api_key: sent as a bearer token, and shown nowhere.
        timeout: seconds, or an `httpx2.Timeout`; 5 s to connect and 90 s between bytes if not given.
        max_retries: how often to try again what the service may take later (429, 502, 503, 504, 408) and what
            broke before an answer came. `Retry-After` is honoured.
        longest_wait: seconds; a service that asks for a longer wait is not tried again.
        http: a client of httpx2's to send with, for proxies or certificates of one's own; it is left open.

    Raises:
        ValueError: from the constructor, for an address or a key that cannot be one.
        ClientError: from every call; `vocoder.client.failures` draws the tree.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout: Timeout = DEFAULT_TIMEOUT,
        max_retries: int = 2,
        longest_wait: float = 60.0,
        http: httpx2.Client | None = None,
    ) -> None:
        self._to = Destination(base_url, api_key, timeout)
        self._retries = Retries(max_retries, longest_wait)
        self._http, self._owned = http or httpx2.Client(), http is None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._to.base_url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._owned:
            self._http.close()

    def vocode(self, mel: Any, **wishes: Unpack[Wishes]) -> Audio:
        """A mel `[M, L]` of the model's spec → its audio, whole. `Wishes` says what may be asked."""
        return self._ask(calls.vocode(mel, **wishes))

    def vocode_batch(self, mels: Any, **wishes: Unpack[Wishes]) -> list[Audio]:
        """Mels of one shape, a list of `[M, L]` or an array `[B, M, L]` → audio for each, in their order.

        Clip i is what `vocode` makes of it with `seed + i`.
        """
        return self._ask(calls.vocode_batch(mels, **wishes))

    @contextmanager
    def stream(self, mel: Any, **wishes: Unpack[Wishes]) -> Iterator[AudioStream]:
        """The same audio as `vocode` gives, as it is made: `with client.stream(mel) as audio: ...`.

        What fails before the first byte is tried again as ever; after it, nothing is. Leaving the `with`
        early ends the work at the service.
        """
        call = calls.vocode_stream(mel, **wishes)
        with closing(self._send(call, self._retries)) as response:
            known = vars(Heading.of(response, call.format))
            yield AudioStream(**known, _response=response, _promised=call.promised(response))

    def mel(self, audio: AudioFile, *, model: str | None = None, layout: Layout = "ML") -> Samples:
        """The mel `[M, L]`, float32, of a recording: the bytes of its file, its path, or an `Audio`."""
        return self._ask(calls.measure(audio, model=model, layout=layout))

    def score(
        self, audio: AudioFile, mel: Any = None, *, model: str | None = None, frames: bool = False
    ) -> Score:
        """The exact log-likelihood of a recording given a mel `[M, L]`, its own if none is given."""
        return self._ask(calls.score(audio, mel, model=model, frames=frames))

    def models(self) -> list[Model]:
        """The models that the service has."""
        return self._ask(calls.list_models())

    def ready(self) -> bool:
        """Whether the service takes requests now; False also where nobody answers. Not tried again."""
        try:
            self._send(calls.probe(), NEVER).close()
        except (ConnectionFailed, ServerError):
            return False
        return True

    def _ask(self, call: Call[T]) -> T:
        with closing(self._send(call, self._retries)) as response:
            with whole(response, call.promised(response)):
                response.read()
            return call.parse(response)

    def _send(self, call: Call[Any], retries: Retries) -> httpx2.Response:
        """The first answer that is no refusal, its body unread."""
        tried = 0
        while True:
            tried += 1
            try:
                response = self._http.send(self._to.request(self._http, call), stream=True)
            except httpx2.TransportError as cause:
                error = unanswered(cause)
            else:
                if response.is_success:
                    return response
                error = self._refused(response)
            time.sleep(retries.pause(tried, error))

    def _refused(self, response: httpx2.Response) -> ClientError:
        body = b""
        with closing(response), suppress(httpx2.HTTPError):
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > REASON_BYTES:
                    break
        return refusal(response.status_code, response.headers, body)
