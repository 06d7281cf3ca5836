"""`create_app`: the one place where the parts of the service are put together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import torch
from fastapi import Depends, FastAPI

from server import failures, operations, telemetry
from server.catalogue import Catalogue
from server.engine import Engine
from server.guard import require_key
from server.metrics import Metrics
from server.queue import Queue
from server.routes import docs, health, mel, metrics, models, page, score, stream, vocode
from server.settings import Settings
from server.worker import Load, Worker
from vocoder import Vocoder, __version__

__all__ = ["create_app"]

STOP_SECONDS = 5.0  # for what is being rendered when everything else has ended


def create_app(settings: Settings | None = None, *, load: Load | None = None) -> FastAPI:
    """The service as an ASGI application.

    It answers at once; models are loaded and warmed in the workers' threads, and `/health/ready` says when
    that is done. `load` makes the voice of a model's name on a device, by default of the settings' files.
    Raises `CheckpointError` where the default voice is none.
    """
    settings = settings or Settings()
    counters = Metrics()
    engine = _engine(settings, counters, load)

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
        telemetry=telemetry.options(settings),
    )
    app.state.settings, app.state.engine, app.state.metrics = settings, engine, counters
    operations.install(app, settings, counters)
    failures.install(app)
    for work in (vocode, stream, mel, score, models):
        app.include_router(work.router, dependencies=[Depends(require_key)])
    for public in (models.operators, health.router, metrics.router, docs.router, page.router):
        app.include_router(public)
    return app


def _engine(settings: Settings, counters: Metrics, load: Load | None) -> Engine:
    catalogue = Catalogue(settings)

    def shelf(name: str, device: str | None) -> Vocoder:
        return Vocoder.load(catalogue.source(name), device=device)

    workers = [_worker(device, settings, counters, catalogue, load or shelf) for device in _devices(settings)]
    engine = Engine(catalogue, workers, counters, patience=settings.request_timeout)
    counters.watch_queue(lambda: engine.requests, lambda: engine.frames)
    counters.watch_models(lambda: len(engine.loaded))
    return engine


def _worker(
    device: str | None, settings: Settings, counters: Metrics, catalogue: Catalogue, load: Load
) -> Worker:
    queue = Queue(
        max_requests=settings.max_requests,
        max_frames=settings.max_queued_frames,
        batch_frames=settings.batch_frames,
        batch_delay=settings.batch_delay,
    )
    if device and device.startswith("cuda"):
        counters.watch_memory(
            device,
            lambda: torch.cuda.memory_allocated(device),
            lambda: torch.cuda.memory_reserved(device),
        )
    return Worker(
        device,
        load,
        queue,
        counters,
        names=catalogue.named,
        threads=settings.threads,
        ttl=settings.model_ttl,
        oom_limit=settings.oom_limit,
    )


def _devices(settings: Settings) -> list[str | None]:
    """A worker for each device that is named, or for each CUDA device; one that chooses if there is none."""
    every = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return [*settings.devices] or [*every] or [None]
