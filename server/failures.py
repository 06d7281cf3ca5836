"""What a caller is told when something goes wrong: one table, exception class → status, type, code.

The body is OpenAI's envelope, `{"error": {"message", "type", "param", "code"}}`, and stays under 4 KB. It
never repeats the request, and never holds a path or a traceback: what is not in the table is an
"internal_error", and its request id finds the rest in the log.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import torch
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket

from server import catalogue, desk, engine, guard, queue, wire, worker
from vocoder import errors

__all__ = ["FAILURES", "Failure", "explain", "install", "respond"]

MESSAGE_CHARACTERS, PARAM_CHARACTERS = 500, 64


@dataclass(frozen=True)
class Failure:
    """One row; `message` replaces the exception's own words where those are not for callers."""

    status: int
    type: str
    code: str
    param: str | None = None
    message: str | None = None


_CALLER, _SERVER = "invalid_request_error", "server_error"

FAILURES: dict[type[Exception], Failure] = {
    wire.UnsupportedMedia: Failure(415, _CALLER, "unsupported_media_type"),
    wire.MalformedBody: Failure(400, _CALLER, "malformed_body"),
    wire.MalformedNpy: Failure(400, _CALLER, "malformed_npy"),
    wire.MalformedSafetensors: Failure(400, _CALLER, "malformed_safetensors"),
    wire.MalformedJson: Failure(400, _CALLER, "malformed_json"),
    wire.MalformedForm: Failure(400, _CALLER, "malformed_form"),
    wire.BodyTooLarge: Failure(413, _CALLER, "body_too_large"),
    wire.MelTooLong: Failure(413, _CALLER, "mel_too_long", param="mel"),
    wire.TooManyClips: Failure(413, _CALLER, "too_many_clips", param="mel"),
    wire.MelSpecMismatch: Failure(422, _CALLER, "mel_spec_mismatch", param="mel"),
    wire.SlowBody: Failure(408, _CALLER, "body_timeout"),
    ClientDisconnect: Failure(499, _CALLER, "client_disconnected", message="The client went away."),
    errors.InvalidMel: Failure(422, _CALLER, "invalid_mel", param="mel"),
    errors.InvalidAudio: Failure(422, _CALLER, "invalid_audio"),
    errors.InvalidInput: Failure(422, _CALLER, "invalid_input"),
    errors.SynthesisError: Failure(
        422, _CALLER, "synthesis_error", "mel", "This mel gives samples that are not finite."
    ),
    guard.Unauthorized: Failure(401, "authentication_error", "invalid_api_key"),
    guard.RateLimited: Failure(429, "rate_limit_error", "rate_limited"),
    desk.Busy: Failure(429, "rate_limit_error", "busy"),
    queue.QueueFull: Failure(429, "rate_limit_error", "queue_full"),
    queue.NotReady: Failure(503, _SERVER, "not_ready"),
    catalogue.UnknownModel: Failure(404, _CALLER, "model_not_found", param="model"),
    engine.ModelInUse: Failure(409, _CALLER, "model_in_use", param="model"),
    errors.CheckpointError: Failure(
        503, _SERVER, "model_unavailable", "model", "This model cannot be loaded; the service's log says why."
    ),
    torch.AcceleratorError: Failure(503, _SERVER, "device_failed", message="The device failed; try another."),
    worker.OutOfMemory: Failure(503, _SERVER, "out_of_memory"),
    engine.DeadlineExceeded: Failure(504, _SERVER, "deadline_exceeded"),
    Exception: Failure(
        500, _SERVER, "internal_error", None, "Something went wrong here; quote the request id."
    ),
}


def install(app: FastAPI) -> None:
    """Answer every exception of the table, every refused parameter and every HTTP error with the envelope."""
    for kind in {*FAILURES, HTTPException, RequestValidationError} - {Exception}:
        app.add_exception_handler(kind, _handle)


async def _handle(connection: Request | WebSocket, error: Exception) -> JSONResponse:
    response = respond(connection.scope, error)
    if isinstance(connection, WebSocket):  # whose handshake is refused; what comes later, its route answers
        await connection.send_denial_response(response)
    return response


def respond(scope: Mapping[str, Any], error: Exception) -> JSONResponse:
    """The response for any exception."""
    failure, body = explain(scope, error)
    return JSONResponse(body, failure.status, _headers(error))


def explain(scope: Mapping[str, Any], error: Exception) -> tuple[Failure, dict[str, Any]]:
    """The row for an exception, and the envelope; the code is left in the scope for the access log."""
    failure = _describe(error)
    scope["state"]["error_code"] = failure.code
    body = {
        "message": (failure.message or str(error))[:MESSAGE_CHARACTERS],
        "type": failure.type,
        "param": failure.param and failure.param[:PARAM_CHARACTERS],
        "code": failure.code,
    }
    return failure, {"error": body}


def _describe(error: Exception) -> Failure:
    if isinstance(error, RequestValidationError):
        return _refused_parameter([{**each, "loc": each["loc"][1:]} for each in error.errors()])
    if isinstance(error, ValidationError):
        return _refused_parameter([dict(each) for each in error.errors()])
    if isinstance(error, HTTPException):
        return _http(error)
    return next(FAILURES[kind] for kind in type(error).__mro__ if kind in FAILURES)


def _refused_parameter(refusals: list[dict[str, Any]]) -> Failure:
    """The first refusal in pydantic's words, without the value that came: it may be megabytes, or no JSON."""
    first, *more = refusals
    param = ".".join(str(part) for part in first["loc"])[:PARAM_CHARACTERS] or None
    words, others = first["msg"].removeprefix("Value error, "), f" (and {len(more)} more)" if more else ""
    return Failure(422, _CALLER, "invalid_parameter", param, f"{param or 'query'}: {words}{others}")


def _http(error: HTTPException) -> Failure:
    status = HTTPStatus(error.status_code)
    return Failure(
        status, _CALLER if status < 500 else _SERVER, status.name.lower(), message=f"{status.phrase}."
    )


def _headers(error: Exception) -> dict[str, str]:
    headers = dict(getattr(error, "headers", None) or {})
    if retry_after := getattr(error, "retry_after", None):
        headers["Retry-After"] = str(retry_after)
    if isinstance(error, (errors.SynthesisError, errors.CheckpointError)):
        headers["X-Should-Retry"] = "false"  # the same mel, or the same file, would fail again
    return headers
