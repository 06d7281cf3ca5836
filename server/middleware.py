"""Around every request: an id, one line of log, and an answer even for what nobody foresaw."""

import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server import failures

__all__ = ["RequestLog"]

log = logging.getLogger("server.access")

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
PATH_CHARACTERS = 200


class RequestLog:
    """Gives each request an id (the caller's `X-Request-Id` where it is a plain one) and logs how it ended.

    An exception that no handler took is logged with its traceback and answered with a 500. Neither bodies,
    nor queries, nor headers are logged.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        request_id = _request_id(scope)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        started, status = time.perf_counter(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            log.exception("unforeseen", extra={"fields": {"request_id": request_id}})
            if not status:
                await failures.respond(scope, error)(scope, receive, send_with_id)
        finally:
            log.info("request", extra={"fields": _line(scope, status, time.perf_counter() - started)})


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id", "")
    return given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _line(scope: Scope, status: int, seconds: float) -> dict[str, object]:
    return {
        "request_id": scope["state"]["request_id"],
        "method": scope["method"][:16],
        "path": scope["path"][:PATH_CHARACTERS],
        "status": status,
        "ms": round(1000 * seconds, 2),
        "error": scope["state"].get("error_code"),
    }
