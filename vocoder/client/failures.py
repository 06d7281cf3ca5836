"""Everything that a call can raise, as one tree.

```
ClientError                 .status .code .param .request_id .retry_after .retriable
├── ConnectionFailed        no answer came: refused, reset, no such host
│   └── TimedOut            nobody answered in time
├── UnexpectedAnswer        an answer came that is none of this service's: a redirect, a proxy's page
├── IncompleteAudio         the answer began and broke off; .received and .expected bytes
├── BadRequest              400 and whatever else of 4xx has no class of its own
│   └── InvalidMelError     the array is no mel of the model's spec
├── Unauthorized            401, 403
├── NotFound                404: no such model, or a route that is switched off
├── TooLarge                413: more frames, clips or bytes than the service takes
├── RateLimited             429: the queue is full, or the key's minute is used up
└── ServerError             5xx
```

A refusal carries the service's own words and, where it gave them, its `code` for machines and the name of the
parameter. What never got as far as the service has neither status nor code.
"""

import email.utils
import json
import math
import time
from collections.abc import Mapping
from typing import Any

import httpx2

__all__ = [
    "REASON_BYTES",
    "BadRequest",
    "ClientError",
    "ConnectionFailed",
    "IncompleteAudio",
    "InvalidMelError",
    "NotFound",
    "RateLimited",
    "ServerError",
    "TimedOut",
    "TooLarge",
    "Unauthorized",
    "UnexpectedAnswer",
    "refusal",
    "unanswered",
]

MESSAGE_CHARACTERS = 500
REASON_BYTES = 65_536  # read of a refusal, whoever sent it; this service keeps to 4 KB
PASSING = frozenset({408, 429, 502, 503, 504})  # of the moment: a second try may fare better


class ClientError(Exception):
    """Root of the tree.

    Attributes:
        status: HTTP status, or None where no answer came.
        code: the service's name for what happened, for machines; None where the answer held none.
        param: the parameter that was refused, if it was one.
        request_id: what the service's log calls this request.
        retry_after: seconds that the service asked to wait.
        retriable: whether the very same request may succeed later.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        param: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        retriable: bool = False,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param
        self.request_id, self.retry_after, self.retriable = request_id, retry_after, retriable


class ConnectionFailed(ClientError):
    """No answer came: refused, reset, or no such host."""


class TimedOut(ConnectionFailed):
    """Nobody answered in time."""


class UnexpectedAnswer(ClientError):
    """An answer came that this service does not give: a redirect, a proxy's page, a header missing."""


class IncompleteAudio(ClientError):
    """The answer began and broke off; `expected` bytes is None where no length had been promised."""

    def __init__(self, message: str, *, received: int = 0, expected: int | None = None, **known: Any) -> None:
        super().__init__(message, **known)
        self.received, self.expected = received, expected


class BadRequest(ClientError):
    """The service refuses the request as it stands."""


class InvalidMelError(BadRequest):
    """Not a mel of the model's spec: rank, bands, dtype, finiteness, range, or another spec declared."""


class Unauthorized(ClientError):
    """The key is missing, unknown, or not enough."""


class NotFound(ClientError):
    """No such model, or a route that this service has switched off."""


class TooLarge(ClientError):
    """More frames, clips or bytes than the service takes."""


class RateLimited(ClientError):
    """The queue is full, or the key's share of requests is used up."""


class ServerError(ClientError):
    """The service, or something before it, failed or is not ready."""


_BY_CODE: dict[str | None, type[ClientError]] = {
    "invalid_mel": InvalidMelError,
    "mel_spec_mismatch": InvalidMelError,
}
_BY_STATUS: dict[int, type[ClientError]] = {
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    413: TooLarge,
    429: RateLimited,
}
_BY_HUNDRED: dict[int, type[ClientError]] = {4: BadRequest, 5: ServerError}


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> ClientError:
    """The exception for an answer that is not 2xx; `headers` has to find names in whatever case.

    >>> refusal(429, {"retry-after": "2"}, b'{"error": {"message": "full", "code": "queue_full"}}')
    RateLimited('full')
    """
    told = _envelope(body)
    kind = _BY_CODE.get(told.get("code")) or _BY_STATUS.get(status) or _BY_HUNDRED.get(status // 100)
    return (kind or UnexpectedAnswer)(
        told.get("message") or f"the answer was HTTP {status}, without an explanation",
        status=status,
        code=told.get("code"),
        param=told.get("param"),
        request_id=headers.get("x-request-id"),
        retry_after=_seconds(headers.get("retry-after")),
        retriable=status in PASSING and headers.get("x-should-retry", "").lower() != "false",
    )


def unanswered(error: Exception) -> ClientError:
    """The exception for a request to which no answer came, with httpx2's own as its cause.

    What broke may be tried again, and what never got through. A request that nobody answered in time may be
    in work still, and a second one would double that.
    """
    slow = isinstance(error, httpx2.TimeoutException)
    hopeless = isinstance(error, (httpx2.LocalProtocolError, httpx2.UnsupportedProtocol, httpx2.InvalidURL))
    retriable = isinstance(error, httpx2.ConnectTimeout) or not (slow or hopeless)
    words = str(error) or type(error).__name__
    ours = (TimedOut if slow else ConnectionFailed)(f"no answer: {words}", retriable=retriable)
    ours.__cause__ = error
    return ours


def _envelope(body: bytes) -> dict[str, str]:
    """The texts in `{"error": {...}}`, or nothing where the body is something else."""
    try:
        found = json.loads(body)["error"].items()
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}
    return {name: text[:MESSAGE_CHARACTERS] for name, text in found if isinstance(text, str)}


def _seconds(text: str | None) -> float | None:
    """`Retry-After`, which is seconds or a date; None where it is neither."""
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        when = email.utils.parsedate_tz(text)
        seconds = email.utils.mktime_tz(when) - time.time() if when else math.nan
    return max(0.0, seconds) if math.isfinite(seconds) else None
