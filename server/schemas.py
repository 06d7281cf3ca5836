"""The shapes that `/openapi.json` shows: what a query may hold and what an answer holds."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from server.wire import Layout

if TYPE_CHECKING:
    from vocoder.checkpoint import Header

__all__ = [
    "Clip",
    "ClipList",
    "ErrorBody",
    "Health",
    "LiveQuery",
    "ModelCard",
    "ModelList",
    "VocodeQuery",
    "Wishes",
    "refusals",
]

Format = Literal["wav", "wav_f32", "flac", "mp3", "opus", "aac", "pcm"]
LiveFormat = Literal["pcm", "flac", "mp3", "opus", "aac"]

Temperature = Annotated[float | None, Field(ge=0, le=2, allow_inf_nan=False)]
Rate = Annotated[int | None, Field(ge=8000, le=192_000)]
FORMATS = "wav, pcm: 16-bit. wav_f32: 32-bit float. flac: 16-bit, lossless. mp3, opus, aac: lossy."


class Wishes(BaseModel):
    """What may be asked along with a mel; an unknown name is refused, lest a misspelt wish be overlooked."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(
        None, max_length=64, description="One of `/v1/models`; the default one if not given."
    )
    seed: int | None = Field(
        None, ge=0, lt=2**62, description="Of the noise; drawn and reported if not given."
    )
    temperature: Temperature = Field(None, description="Scale of the noise; the voice's own if not given.")
    sigma: Temperature = Field(None, description="WaveGlow's name for temperature.")
    denoise: float = Field(
        0.0, ge=0, le=1, allow_inf_nan=False, description="How much of the voice's tones is taken off."
    )
    sample_rate: Rate = Field(
        None, description="Of the audio; the model's if not given, or for opus the next that it has."
    )
    layout: Layout = Field("ML", description="ML: the array is [bands, frames]. LM: [frames, bands].")

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        if self.temperature is not None and self.sigma is not None:
            raise ValueError("temperature and sigma are one thing: give one of them")
        return self

    @property
    def noise_scale(self) -> float | None:
        """Temperature, under whichever name it came."""
        return self.sigma if self.temperature is None else self.temperature


class VocodeQuery(Wishes):
    """The query of `POST /v1/vocode`."""

    format: Format = Field("wav", description=FORMATS)
    stream: bool = Field(False, description="Send the audio as it is made, the first of it early.")


class LiveQuery(Wishes):
    """The query of the WebSocket, whose audio has no length beforehand."""

    format: LiveFormat = Field("pcm", description=FORMATS)


class Clip(BaseModel):
    """The audio of one mel of several."""

    index: int
    audio: str = Field(description="A file in the format that was asked for, in base64.")
    media_type: str
    seed: int
    samples: int
    duration: float


class ClipList(BaseModel):
    """The audio of several mels, in their order."""

    object: Literal["list"] = "list"
    sample_rate: int
    data: list[Clip]


class Health(BaseModel):
    """What a probe reads; the status code says the same."""

    status: Literal["alive", "ready"]


class ModelCard(BaseModel):
    """One voice: OpenAI's four fields, then what a caller has to match or may want to cite."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(0, description="Always 0: a checkpoint carries no date.")
    owned_by: str = "flow-vocoder"
    loaded: bool = Field(description="Whether it is in memory; if not, the first request waits for it.")
    default: bool = Field(description="Whether it is the one that answers where a request names none.")
    sample_rate: int
    architecture: str
    licence: str = Field(description="Of the weights.")
    sha256: str = Field(description="Over the names, types, shapes and bytes of the weights.")
    temperature: float = Field(description="Scale of the noise where a request names none.")
    mel: dict[str, int | float] = Field(
        description="The mel spec: every number that a mel must be made with."
    )
    mel_digest: str = Field(description="SHA-256 of the mel spec.")

    @classmethod
    def of(cls, name: str, header: "Header", *, loaded: bool, default: bool) -> Self:
        """The card of a voice; what makes no audio has none."""
        assert header.mel
        return cls(
            id=name,
            loaded=loaded,
            default=default,
            sample_rate=header.mel.sample_rate,
            architecture=header.architecture,
            licence=header.licence,
            sha256=header.weights,
            temperature=header.temperature,
            mel=header.mel.to_dict(),
            mel_digest=header.mel.digest(),
        )


class ModelList(BaseModel):
    """OpenAI's list."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class ErrorDetail(BaseModel):
    """What went wrong: in words, for machines, and which parameter it was."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(BaseModel):
    """OpenAI's error envelope; every answer that is not 2xx has it."""

    error: ErrorDetail


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For `responses=`: these statuses come with the error envelope."""
    return {status: {"model": ErrorBody} for status in statuses}
