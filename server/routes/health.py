"""Probes. Alive: the event loop turns. Ready: orders are taken; not while loading, not while draining."""

from fastapi import APIRouter

from server.parts import EnginePart
from server.schemas import Health, refusals

__all__ = ["router"]

router = APIRouter(prefix="/health", tags=["health"])


@router.head("/live", include_in_schema=False)
@router.get("/live")
async def live() -> Health:
    """200 as long as the event loop turns, however busy the model is."""
    return Health(status="alive")


@router.head("/ready", include_in_schema=False)
@router.get("/ready", responses=refusals(503))
async def ready(engine: EnginePart) -> Health:
    """200 once the voice is loaded and warm; 503 before that, and while the service shuts down."""
    engine.require_ready()
    return Health(status="ready")
