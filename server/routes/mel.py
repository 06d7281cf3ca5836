"""`POST /v1/mel`: a recording in, the mel that a model would be given of it out."""

import io
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from server.desk import DeskPart
from server.disconnect import while_connected
from server.parts import EnginePart, SettingsPart
from server.schemas import refusals
from server.sound import DOCUMENTED, check_type, listen, mel_of
from server.wire import Layout, read_bytes
from vocoder import MelSpec

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["mel"])

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_BODY: dict[str, Any] = {"requestBody": {"required": True, "content": dict.fromkeys(DOCUMENTED, _BINARY)}}
_NPY: dict[int | str, dict[str, Any]] = {
    200: {"description": "A float32 .npy file.", "content": {"application/x-npy": _BINARY}}
}


class MelQuery(BaseModel):
    """What may be asked along with a recording."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(
        None, max_length=64, description="Whose mel spec; the default model's if not given."
    )
    layout: Layout = Field("ML", description="ML: the array is [bands, frames]. LM: [frames, bands].")


@router.post(
    "/mel",
    response_class=Response,
    responses=_NPY | refusals(400, 401, 404, 408, 413, 415, 422, 429, 503),
    openapi_extra=_BODY,
)
async def mel(
    request: Request,
    query: Annotated[MelQuery, Query()],
    engine: EnginePart,
    settings: SettingsPart,
    desk: DeskPart,
) -> Response:
    """Compute the log-mel spectrogram of a recording: WAV, FLAC, MP3 or Ogg, of any rate and channels.

    It is resampled to the model's rate, and several channels are averaged. L = 1 + samples // hop frames.
    """
    check_type(request)
    desk.require_place()
    profile = await engine.profile(query.model)
    data = await read_bytes(request, settings.max_body_bytes, settings.body_timeout)
    work = desk.do(_mel_file, data, profile.spec, settings.max_frames, query.layout)
    file, frames = await while_connected(request, work)
    headers = {
        "X-Model": profile.name,
        "X-Mel-Digest": profile.spec.digest(),
        "X-Mel-Frames": str(frames),
        "X-Sample-Rate": str(profile.spec.sample_rate),
    }
    return Response(file, media_type="application/x-npy", headers=headers)


def _mel_file(data: bytearray, spec: MelSpec, max_frames: int, layout: Layout) -> tuple[bytes, int]:
    found = mel_of(listen(data, spec, max_frames), spec).numpy()
    file = io.BytesIO()
    arranged = np.ascontiguousarray(found if layout == "ML" else found.T)
    np.lib.format.write_array(file, arranged, version=(1, 0), allow_pickle=False)
    return file.getvalue(), found.shape[1]
