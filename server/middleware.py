"""Around every request: an id, a line of log, its counters, a bound on its body, and an answer in any case.

```
RequestLog ─► (CORS) ─► LastResort ─► BodyLimit ─► routes
```
"""

import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server import failures
from server.metrics import UNKNOWN_ROUTE, Metrics
from server.wire import BodyTooLarge

__all__ = ["BodyLimit", "LastResort", "RequestLog"]

log = logging.getLogger("server.access")

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
PATH_CHARACTERS = 200
REFUSALS = (401, 429, 503, 1013)  # which the metrics count by reason
STARTS = ("http.response.start", "websocket.accept", "websocket.http.response.start")
GONE, ACCEPTED, LOST, BROKEN = 499, 101, 1006, 1011


class RequestLog:
    """Gives each request an id (the caller's `X-Request-Id` if it is a plain one), logs and counts its end.

    Routes find the id and the time of arrival (`time.perf_counter`) in `request.state` as `request_id` and
    `started`, and leave there `format`, if they make audio. Of a WebSocket the status is its close code.
    Neither bodies, nor queries, nor headers are logged.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        exchange = _Exchange(scope, receive, send)
        with self._metrics.requests_in_flight.track_inprogress():
            try:
                await self._app(scope, exchange.receive, exchange.send)
            finally:
                self._record(exchange)

    def _record(self, exchange: "_Exchange") -> None:
        scope, state = exchange.scope, exchange.scope["state"]
        seconds = time.perf_counter() - state["started"]
        if exchange.status == ACCEPTED:  # a WebSocket that ended without a word
            exchange.status = LOST
        self._metrics.finished(_route(scope), state.get("format", ""), exchange.status, seconds)
        if exchange.status in REFUSALS and "error_code" in state:
            self._metrics.rejected(state["error_code"])
        log.info("request", extra={"fields": _line(scope, exchange.status, seconds)})


class _Exchange:
    """One request: what it was given, and what came of it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self._receive, self._send = scope, receive, send
        self.request_id = _request_id(scope)
        self.status = GONE
        scope.setdefault("state", {}).update(request_id=self.request_id, started=time.perf_counter())

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "websocket.disconnect" and self.status in (GONE, ACCEPTED):
            self.status = message.get("code", 1005)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] in STARTS:
            self.status = message.get("status", ACCEPTED)
            message.setdefault("headers", [])
            MutableHeaders(scope=message)["X-Request-Id"] = self.request_id
        elif message["type"] == "websocket.close":  # before the handshake's end it is a refusal
            self.status = message.get("code", 1000) if self.status == ACCEPTED else 403
        await self._send(message)


class LastResort:
    """An exception that no handler took is logged and, unless an answer has begun, answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] in STARTS
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if "state" not in scope:  # the service itself is starting or ending
                raise
            _report(scope, error)
            if not started:
                await failures.respond(scope, error)(scope, receive, send)
            elif scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": BROKEN})


def _report(scope: Scope, error: Exception) -> None:
    """A traceback of what nobody foresaw; a line for what has a name, but came after its answer had begun."""
    cause = error.__cause__  # Starlette wraps what has a handler, where it is too late to call it
    error = cause if isinstance(cause, Exception) else error
    failure, _ = failures.explain(scope, error)
    fields = {"request_id": scope["state"]["request_id"], "error": failure.code}
    if failure.status == 500:
        log.error("unforeseen", extra={"fields": fields}, exc_info=error)
    else:
        log.warning("broken off", extra={"fields": fields})


class BodyLimit:
    """Refuses a body of more than `most` bytes with `BodyTooLarge`: by its promise, or as it comes."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self._most:
            return await failures.respond(scope, self._refusal())(scope, receive, send)
        return await self._app(scope, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        came = 0

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > self._most:
                raise self._refusal()
            return message

        return counted

    def _refusal(self) -> BodyTooLarge:
        return BodyTooLarge(f"the body must hold at most {self._most} bytes")


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id", "")
    return given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _route(scope: Scope) -> str:
    return getattr(scope.get("route"), "path_format", None) or UNKNOWN_ROUTE


def _line(scope: Scope, status: int, seconds: float) -> dict[str, object]:
    return {
        "request_id": scope["state"]["request_id"],
        "method": scope.get("method", "WEBSOCKET")[:16],
        "path": scope["path"][:PATH_CHARACTERS],
        "status": status,
        "ms": round(1000 * seconds, 2),
        "error": scope["state"].get("error_code"),
    }
