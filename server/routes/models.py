"""What this service serves, in the shape of OpenAI's model list; and, for operators, what is in memory."""

import asyncio

from fastapi import APIRouter, Depends

from server.engine import Engine
from server.guard import require_admin
from server.parts import EnginePart
from server.schemas import ModelCard, ModelList, refusals

__all__ = ["operators", "router"]

router = APIRouter(prefix="/v1", tags=["models"])
operators = APIRouter(prefix="/v1", tags=["operators"], dependencies=[Depends(require_admin)])


@router.get("/models", responses=refusals(401, 503))
async def models(engine: EnginePart) -> ModelList:
    """Every model: its mel spec, sample rate, licence and digest, and whether it is in memory."""
    engine.require_ready()
    return ModelList(data=await asyncio.to_thread(_cards, engine))


@router.get("/models/{model}", responses=refusals(401, 404, 503))
async def model(model: str, engine: EnginePart) -> ModelCard:
    """One model."""
    engine.require_ready()
    return await asyncio.to_thread(_card, engine, engine.catalogue.resolve(model))


@operators.post("/models/{model}/load", responses=refusals(401, 404, 503))
async def load(model: str, engine: EnginePart) -> ModelCard:
    """Load a model on every device, if it is not there, and warm it; answered when that is done."""
    name = (await engine.load(model)).name
    return await asyncio.to_thread(_card, engine, name)


@operators.post("/models/{model}/unload", responses=refusals(401, 404, 409, 503))
async def unload(model: str, engine: EnginePart) -> ModelCard:
    """Give a model's memory back. A request for it loads it again; the default model stays."""
    await engine.unload(model)
    return await asyncio.to_thread(_card, engine, engine.catalogue.resolve(model))


def _cards(engine: Engine) -> list[ModelCard]:
    return [_card(engine, name) for name in engine.catalogue.sources if engine.catalogue.speaks(name)]


def _card(engine: Engine, name: str) -> ModelCard:
    """Reads a checkpoint's header, if it has not been read: not for the event loop."""
    catalogue = engine.catalogue
    loaded, default = name in engine.loaded, name == catalogue.default
    voice = engine.workers[0].loaded_voice(name)  # the file may be another by now
    header = voice.header if voice else catalogue.header(name)
    return ModelCard.of(name, header, loaded=loaded, default=default)
