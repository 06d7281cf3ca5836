"""`create_app`: the one place where the parts of the service are put together."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI

from server import failures
from server.engine import Engine
from server.middleware import RequestLog
from server.queue import Queue
from server.routes import docs, health, models, vocode
from server.settings import Settings
from vocoder import Vocoder, __version__

__all__ = ["create_app"]

STOP_SECONDS = 5.0  # for the request that is being rendered when everything else has ended


def create_app(settings: Settings | None = None, *, load: Callable[[], Vocoder] | None = None) -> FastAPI:
    """The service as an ASGI application.

    It answers at once; the voice is loaded and warmed in the engine's thread, and `/health/ready` says when
    that is done. `load` builds the voice, by default the one that the settings name.
    """
    settings = settings or Settings()
    queue = Queue(max_requests=settings.max_requests, max_frames=settings.max_queued_frames)
    load = load or partial(Vocoder.load, settings.voice, device=settings.device)
    engine = Engine(load, queue, threads=settings.threads)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        engine.start()
        try:
            yield
        finally:
            await asyncio.to_thread(engine.stop, STOP_SECONDS)

    app = FastAPI(
        title="flow-vocoder",
        version=__version__,
        description="Log-mel spectrograms in, speech out.",
        lifespan=lifespan,
        docs_url=None,  # ours, in routes/docs, loads nothing from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.settings, app.state.engine = settings, engine
    app.add_middleware(RequestLog)
    failures.install(app)
    for routes in (vocode, models, health, docs):
        app.include_router(routes.router)
    return app
