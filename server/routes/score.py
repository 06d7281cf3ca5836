"""`POST /v1/score`: a recording and its mel in, the exact log-likelihood out."""

from typing import Annotated, Any, Literal

import torch
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from server.desk import DeskPart
from server.disconnect import while_connected
from server.parts import EnginePart, SettingsPart
from server.schemas import refusals
from server.sound import listen, mel_of
from server.wire import FORM, check_form_type, check_values, parse_mel, read_form
from vocoder import MelSpec, Vocoder

__all__ = ["Score", "router"]

router = APIRouter(prefix="/v1", tags=["score"])

_FILE = {"type": "string", "format": "binary"}
_SCHEMA = {
    "type": "object",
    "required": ["audio"],
    "properties": {"audio": _FILE, "mel": _FILE},
    "additionalProperties": False,
}
_BODY: dict[str, Any] = {"requestBody": {"required": True, "content": {FORM: {"schema": _SCHEMA}}}}


class ScoreQuery(BaseModel):
    """What may be asked along with a recording."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, max_length=64, description="The default one if not given.")
    frames: bool = Field(False, description="Tell the score of every frame as well.")


class Score(BaseModel):
    """How likely a recording is, to a model that is given its mel."""

    model_config = ConfigDict(protected_namespaces=())

    object: Literal["score"] = "score"
    model: str
    nats_per_sample: float = Field(description="ln p(audio | mel) / samples, exact; higher is better.")
    samples: int = Field(description="How many were scored: the whole frames of the recording.")
    frames: list[float] | None = Field(description="Nats per sample of each frame; their mean is the score.")


@router.post(
    "/score",
    responses=refusals(400, 401, 404, 408, 413, 415, 422, 429, 503, 504),
    openapi_extra=_BODY,
)
async def score(
    request: Request,
    query: Annotated[ScoreQuery, Query()],
    engine: EnginePart,
    settings: SettingsPart,
    desk: DeskPart,
) -> Score:
    """Score a recording, in nats per sample, given its mel, or the mel that you send along with it.

    `audio` is an audio file, `mel` a .npy or safetensors file [bands, frames] that fits it.
    """
    check_form_type(request)
    engine.require_room()
    desk.require_place()
    profile = await engine.profile(query.model)
    files = await read_form(
        request, ["audio"], ["mel"], limit=settings.max_body_bytes, seconds=settings.body_timeout
    )
    reading = desk.do(_pair, files, profile.spec, settings.max_frames)
    audio, mel = await while_connected(request, reading)

    def work(voice: Vocoder) -> tuple[float, list[float] | None]:
        if not query.frames:
            return voice.score(audio, mel), None
        frames = voice.score_frames(audio, mel)
        return float(frames.mean()), frames.tolist()

    asked = engine.ask(profile.name, mel.shape[1], work, settings.request_timeout)
    nats, frames = await while_connected(request, asked)
    hop = profile.spec.hop_length
    return Score(model=profile.name, nats_per_sample=nats, samples=len(audio) // hop * hop, frames=frames)


def _pair(files: dict[str, bytes], spec: MelSpec, max_frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`[T]` and `[M, L]`: the recording, and its mel if none came with it."""
    audio = listen(files["audio"], spec, max_frames)
    if "mel" not in files:
        return audio, mel_of(audio, spec)
    came = parse_mel(files["mel"], spec, layout="ML", max_frames=max_frames)
    return audio, torch.from_numpy(check_values(came, spec))
