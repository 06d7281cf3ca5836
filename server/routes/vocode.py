"""`POST /v1/vocode`: a mel in, audio out, samples = frames × hop exactly."""

import asyncio
import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

import vocoder
from server.disconnect import while_connected
from server.parts import EnginePart, SettingsPart
from server.queue import Order, Rendering
from server.schemas import FORMATS, VocodeQuery, refusals
from server.wire import MEDIA_TYPES, check_type, check_values, read_mel

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["vocode"])

_BODY = {"schema": {"type": "string", "format": "binary"}}
_DOCUMENTED: dict[str, Any] = {
    "requestBody": {"required": True, "content": dict.fromkeys(MEDIA_TYPES, _BODY)},
}
_AUDIO: dict[int | str, dict[str, Any]] = {
    200: {"description": "Audio, mono.", "content": {media: _BODY for _, _, media in FORMATS.values()}}
}


@router.post(
    "/vocode",
    response_class=Response,
    responses=_AUDIO | refusals(400, 408, 413, 415, 422, 429, 503, 504),
    openapi_extra=_DOCUMENTED,
)
async def vocode(
    request: Request, query: Annotated[VocodeQuery, Query()], engine: EnginePart, settings: SettingsPart
) -> Response:
    """Turn a log-mel spectrogram, sent as a NumPy `.npy` file of shape [bands, frames], into speech.

    The mel must be of the model's spec (see `/v1/models`): natural logarithm, finite, floating point.
    """
    check_type(request)
    voice = engine.voice
    engine.queue.admit()
    mel = await read_mel(
        request,
        voice.spec,
        max_frames=settings.max_frames,
        layout=query.layout,
        seconds=settings.body_timeout,
    )
    seed = secrets.randbits(32) if query.seed is None else query.seed
    temperature = voice.header.temperature if query.noise_scale is None else query.noise_scale
    order = Order(await asyncio.to_thread(check_values, mel, voice.spec), seed, temperature)
    rendering = await while_connected(request, engine.render(order, settings.request_timeout))
    return await _respond(order, rendering, voice.spec.sample_rate, query.format)


async def _respond(order: Order, rendering: Rendering, rate: int, name: str) -> Response:
    container, subtype, media = FORMATS[name]
    body = await asyncio.to_thread(vocoder.audio.encode, rendering.audio, rate, container, subtype)
    headers = {
        "X-Seed": str(order.seed),
        "X-Temperature": str(order.temperature),
        "X-Sample-Rate": str(rate),
        "X-Audio-Duration": f"{rendering.audio.shape[-1] / rate:.6f}",
        "X-Queue-Time": f"{rendering.queued:.6f}",
        "X-Inference-Time": f"{rendering.rendered:.6f}",
    }
    return Response(body, media_type=media, headers=headers)
