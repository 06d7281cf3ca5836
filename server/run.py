"""`serve`: the service on a socket, until a signal ends it in good order."""

import asyncio
import logging
import math
import os
import socket

import uvicorn

from server.app import create_app
from server.engine import Engine
from server.logs import capture_warnings
from server.logs import config as log_config
from server.settings import Settings, strangers

__all__ = ["serve"]

log = logging.getLogger("server.run")


class _Service(uvicorn.Server):
    """uvicorn's server with an orderly end.

    ```
    signal ─► not ready ─ drain_notice ─► stop listening ─ drain_seconds ─► waiting requests get 503 ─► exit
    ```
    """

    def __init__(self, settings: Settings, engine: Engine, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._settings, self._engine = settings, engine

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._engine.queue.close()
        if not self._engine.failure:
            await asyncio.sleep(self._settings.drain_notice)
        asyncio.get_running_loop().call_later(self._settings.drain_seconds, self._engine.queue.abandon)
        await super().shutdown(sockets)

    async def exit_if_failed(self) -> None:
        """Called by uvicorn every second: a service whose voice cannot be loaded must not linger."""
        self.should_exit = self.should_exit or self._engine.failure is not None


def serve(settings: Settings | None = None) -> None:
    """Serve until SIGINT or SIGTERM; raise what kept the voice from being loaded, if that ended it."""
    settings = settings or Settings()
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http="h11",
        ws="none",
        lifespan="on",
        log_config=log_config(settings.log_level),
        access_log=False,  # middleware.RequestLog writes ours
        proxy_headers=False,
        server_header=False,
        limit_concurrency=settings.max_connections,
        timeout_keep_alive=settings.keep_alive,
        timeout_graceful_shutdown=math.ceil(settings.drain_seconds) + 1,
        timeout_notify=1,
    )
    capture_warnings()
    for name in strangers(os.environ):
        log.warning("%s is set but is no setting of the service", name)
    engine: Engine = app.state.engine
    service = _Service(settings, engine, config)
    config.callback_notify = service.exit_if_failed
    service.run()
    if engine.failure:
        raise engine.failure
