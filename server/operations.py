"""What an operator relies on, around an application: log, counters, limits, keys, CORS."""

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from server.guard import Guard
from server.metrics import Metrics
from server.middleware import BodyLimit, LastResort, RequestLog
from server.settings import Settings

__all__ = ["install"]

METHODS = ("GET", "POST")
READABLE = (  # by a page of another origin
    "Content-Disposition",
    "Content-Length",
    "Retry-After",
    "X-Audio-Duration",
    "X-Audio-Samples",
    "X-Inference-Time",
    "X-Model",
    "X-Queue-Time",
    "X-Request-Id",
    "X-Sample-Rate",
    "X-Seed",
    "X-Should-Retry",
    "X-Temperature",
    "X-Total-Time",
)


def install(app: FastAPI, settings: Settings, metrics: Metrics) -> None:
    """Put everything of `server.middleware` around the application, and its guard into `app.state`."""
    app.state.guard = Guard(settings)
    app.add_middleware(BodyLimit, most=settings.max_body_bytes)
    app.add_middleware(LastResort)
    if settings.cors_origins:  # no cookies are used here, so credentials stay off
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=METHODS,
            allow_headers=["*"],
            expose_headers=READABLE,
        )
    app.add_middleware(RequestLog, metrics=metrics)  # outermost: added last
