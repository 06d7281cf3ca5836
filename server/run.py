"""`serve`: the service on a socket, until a signal ends it in good order."""

import asyncio
import gc
import logging
import math
import socket
from typing import Any

import uvicorn
from fastapi import FastAPI

from server.app import create_app
from server.engine import Engine
from server.logs import capture_warnings
from server.logs import config as log_config
from server.protocol import patient
from server.settings import Settings, strangers

__all__ = ["configuration", "serve"]

log = logging.getLogger("server.run")

LAST_WORDS = 0.5  # seconds that a refusal at the end has to be sent


class _Service(uvicorn.Server):
    """uvicorn's server with an orderly end.

    ```
    signal ─► not ready ─ drain_notice ─► stop listening ─ drain_seconds ─► waiting requests get 503
           ─ LAST_WORDS ─► connections are cut, those of clients that do not read among them ─► exit
    ```
    """

    def __init__(self, settings: Settings, engine: Engine, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._settings, self._engine = settings, engine
        self._settled = False

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._engine.close()
        if not self._engine.failure:
            await asyncio.sleep(self._settings.drain_notice)
        loop, bound = asyncio.get_running_loop(), self._settings.drain_seconds
        loop.call_later(bound, self._engine.end)
        loop.call_later(bound + LAST_WORDS, self._cut)
        await super().shutdown(sockets)

    def _cut(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    async def look(self) -> None:
        """Called by uvicorn every second: end where a model could not be loaded, settle where all are."""
        self.should_exit = self.should_exit or self._engine.failure is not None
        if not self._settled and all(worker.loaded for worker in self._engine.workers):
            # What is loaded stays: a collection that went through it all would stop every thread.
            gc.collect()
            gc.freeze()
            self._settled = True


def serve(settings: Settings | None = None) -> None:
    """Serve until SIGINT or SIGTERM; raise what kept the voice from being loaded, if that ended it."""
    settings = settings or Settings()
    app = create_app(settings)
    config = configuration(app, log_config(settings.log_level))
    capture_warnings()
    for name in strangers():
        log.warning("%s is set but is no setting of the service", name)
    engine: Engine = app.state.engine
    service = _Service(settings, engine, config)
    config.callback_notify = service.look
    service.run()
    if engine.failure:
        raise engine.failure


def configuration(app: FastAPI, logs: dict[str, Any] | None) -> uvicorn.Config:
    """How uvicorn serves the application by its settings; `logs` is for `logging.config`, or None."""
    settings: Settings = app.state.settings
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=patient(write_timeout=settings.write_timeout, header_timeout=settings.header_timeout),
        ws="websockets-sansio",
        ws_max_size=settings.max_body_bytes,
        ws_per_message_deflate=False,  # what is inflated is not bounded by what came
        lifespan="on",
        log_config=logs,
        access_log=False,  # middleware.RequestLog writes ours
        proxy_headers=False,
        server_header=False,
        limit_concurrency=settings.max_connections,
        timeout_keep_alive=settings.keep_alive,
        timeout_graceful_shutdown=math.ceil(settings.drain_seconds) + 2,  # `_cut` comes first
        timeout_notify=1,
    )
