"""What this service serves, in the shape of OpenAI's model list, with what a caller has to match."""

from fastapi import APIRouter

from server.parts import EnginePart
from server.schemas import ModelCard, ModelList, refusals

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["models"])


@router.get("/models", responses=refusals(503))
async def models(engine: EnginePart) -> ModelList:
    """The loaded voice: its mel spec, sample rate, licence and digest."""
    return ModelList(data=[ModelCard.of(engine.voice)])
