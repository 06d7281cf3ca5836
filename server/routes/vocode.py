"""`POST /v1/vocode`: a mel in, audio out, samples = frames × hop exactly; whole, or as it is made."""

import asyncio
import base64
import time
import traceback
from collections.abc import AsyncGenerator
from typing import Annotated, Any

import numpy as np
import torch
from fastapi import APIRouter, Query, Request, Response

import vocoder
from server.delivery import AudioStream, Delivery, Order
from server.disconnect import while_connected
from server.engine import within
from server.parts import EnginePart, MetricsPart, SettingsPart
from server.schemas import Clip, ClipList, VocodeQuery, refusals
from server.settings import Settings
from server.wire import CONTENT, check_spec, check_type, check_values, read_mel
from vocoder import MelSpec, warn_if_suspect

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["vocode"])

BLOCK = 3 * 2**18  # bytes of a file that are put into base64 at once; of threes, so that blocks can be joined
_NO_AUDIO = b'"audio":""'

_BODY = {"schema": {"type": "string", "format": "binary"}}
_DOCUMENTED: dict[str, Any] = {
    "requestBody": {"required": True, "content": CONTENT},
}
_MEDIA = {form.media_type(22050).partition(";")[0]: _BODY for form in vocoder.audio.FORMATS.values()}
_LIST: dict[str, Any] = {"application/json": {"schema": ClipList.model_json_schema()}}
_AUDIO: dict[int | str, dict[str, Any]] = {
    200: {"description": "Audio, mono; of a batch of mels, a list.", "content": _MEDIA | _LIST}
}


@router.post(
    "/vocode",
    response_class=Response,
    responses=_AUDIO | refusals(400, 401, 404, 408, 413, 415, 422, 429, 503, 504),
    openapi_extra=_DOCUMENTED,
)
async def vocode(
    request: Request,
    query: Annotated[VocodeQuery, Query()],
    engine: EnginePart,
    settings: SettingsPart,
    metrics: MetricsPart,
) -> Response:
    """Turn a log-mel spectrogram of shape [bands, frames] into speech.

    The mel must be of the model's spec (see `/v1/models`): natural logarithm, finite, floating point. Several
    of one length, [clips, bands, frames], are answered with a list.
    """
    request.state.format = query.format
    check_type(request)
    engine.require_room()
    profile = await engine.profile(query.model)
    check_spec(request.headers, profile.spec)
    order = Order.of(profile, query, query.format)
    order.encoder().close()  # an impossible wish is refused before a body is read
    mel = await _mel(request, order, query, settings)
    clips = [
        Delivery(
            engine,
            order,
            clip,
            order.encoder(clip.shape[-1]),
            settings.chunk_frames,
            settings.request_timeout,
            settings.first_frames if query.stream else None,
            index,
        )
        for index, clip in enumerate(mel if mel.ndim == 3 else mel[None])
    ]
    make = _listed if mel.ndim == 3 else _streamed if query.stream else _whole
    response = await while_connected(request, make(clips))
    seconds = time.perf_counter() - request.state.started
    metrics.first_audio(profile.name, seconds)
    response.headers.update(_headers(clips[0]) | {"X-Total-Time": f"{seconds:.6f}"})
    return response


async def _mel(
    request: Request, order: Order, query: VocodeQuery, settings: Settings
) -> np.ndarray:
    mel = await read_mel(
        request,
        order.profile.spec,
        layout=query.layout,
        max_frames=settings.max_frames,
        max_clips=None if query.stream else settings.max_clips,
        seconds=settings.body_timeout,
    )
    return await asyncio.to_thread(_checked, mel, order.profile.spec)


def _checked(mel: np.ndarray, spec: MelSpec) -> np.ndarray:
    """The mel in single precision, or a refusal; and a line of log where it looks like another convention."""
    single = check_values(mel, spec)
    for clip in single if single.ndim == 3 else single[None]:
        warn_if_suspect(torch.from_numpy(clip), spec)
    return single


async def _whole(clips: list[Delivery]) -> Response:
    (delivery,) = clips
    async with within(delivery.seconds):
        with delivery.engine.admit(delivery.frames) as seat:
            body = b"".join([piece async for piece in delivery.pieces(seat)])
    return Response(body, media_type=delivery.encoder.media_type)


async def _streamed(clips: list[Delivery]) -> Response:
    """Answered once the first piece is there: until then, whatever goes wrong has a status."""
    (delivery,) = clips
    pieces = _seated(delivery)
    try:
        first = await anext(pieces)
    except BaseException:
        await pieces.aclose()
        raise
    response = AudioStream(_from(first, pieces), media_type=delivery.encoder.media_type)
    if delivery.encoder.total_bytes is not None:
        response.headers["Content-Length"] = str(delivery.encoder.total_bytes)
    return response


async def _listed(clips: list[Delivery]) -> Response:
    async with within(clips[0].seconds):
        with clips[0].engine.admit(sum(clip.frames for clip in clips)) as seat:

            async def file(clip: Delivery) -> bytes:
                return b"".join([piece async for piece in clip.pieces(seat)])

            files = await _together([asyncio.ensure_future(file(clip)) for clip in clips])
    return Response(await asyncio.to_thread(_list, clips, files), media_type="application/json")


async def _seated(delivery: Delivery) -> AsyncGenerator[bytes]:
    with delivery.engine.metrics.streaming(), delivery.engine.admit(delivery.frames) as seat:
        pieces = delivery.pieces(seat)
        try:
            async for piece in pieces:
                seat.place.sending = True
                yield piece
        finally:
            await pieces.aclose()


async def _from(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    try:
        yield first
        async for piece in rest:
            yield piece
    except BaseException as error:  # a cancelled task lives on in a cycle: it shall not keep the audio
        traceback.clear_frames(error.__traceback__)
        raise
    finally:
        await rest.aclose()


async def _together(works: list[asyncio.Future[bytes]]) -> list[bytes]:
    """What they come to; if one fails, the others are given up."""
    try:
        return await asyncio.gather(*works)
    finally:
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)


def _list(clips: list[Delivery], files: list[bytes]) -> bytes:
    """A `ClipList` in JSON; the files go in block by block, lest other threads wait for 60 MB in one go."""
    listed = ClipList(sample_rate=clips[0].encoder.sample_rate, data=[_clip(clip) for clip in clips])
    first, *others = listed.model_dump_json().encode().split(_NO_AUDIO)
    pieces = [first]
    for file, other in zip(files, others, strict=True):
        blocks = range(0, len(file), BLOCK)
        pieces += [_NO_AUDIO[:-1], *(base64.b64encode(file[at : at + BLOCK]) for at in blocks), b'"', other]
    return b"".join(pieces)


def _clip(clip: Delivery) -> Clip:
    """All about it but the audio itself."""
    samples = clip.encoder.samples or 0
    return Clip(
        index=clip.clip,
        audio="",
        media_type=clip.encoder.media_type,
        seed=clip.order.seed + clip.clip,
        samples=samples,
        duration=samples / clip.encoder.sample_rate,
    )


def _headers(delivery: Delivery) -> dict[str, str]:
    order, encoder = delivery.order, delivery.encoder
    samples = encoder.samples or 0
    return {
        "X-Model": order.profile.name,
        "X-Seed": str(order.seed),
        "X-Temperature": str(order.temperature),
        "X-Sample-Rate": str(encoder.sample_rate),
        "X-Audio-Samples": str(samples),
        "X-Audio-Duration": f"{samples / encoder.sample_rate:.6f}",
        "X-Queue-Time": f"{delivery.tally.queued or 0:.6f}",
        "X-Inference-Time": f"{delivery.tally.rendered:.6f}",
    }
