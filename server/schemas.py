"""The shapes that `/openapi.json` shows: what a query may hold and what an answer holds."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from server.wire import Layout

if TYPE_CHECKING:
    from vocoder import Vocoder

__all__ = ["FORMATS", "ErrorBody", "Health", "ModelCard", "ModelList", "VocodeQuery", "refusals"]

Format = Literal["wav", "wav_f32", "flac"]

FORMATS: dict[str, tuple[Literal["wav", "flac"], Literal["pcm16", "float32"], str]] = {
    "wav": ("wav", "pcm16", "audio/wav"),
    "wav_f32": ("wav", "float32", "audio/wav"),
    "flac": ("flac", "pcm16", "audio/flac"),
}

Temperature = Annotated[float | None, Field(ge=0, le=2, allow_inf_nan=False)]


class VocodeQuery(BaseModel):
    """What may be asked along with a mel; an unknown name is refused, lest a misspelt wish be overlooked."""

    model_config = ConfigDict(extra="forbid")

    seed: int | None = Field(
        None, ge=0, lt=2**63, description="Of the noise; drawn and reported if not given."
    )
    temperature: Temperature = Field(None, description="Scale of the noise; the voice's own if not given.")
    sigma: Temperature = Field(None, description="WaveGlow's name for temperature.")
    format: Format = Field(
        "wav", description="wav: 16-bit PCM. wav_f32: 32-bit float. flac: 16-bit, lossless."
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


class Health(BaseModel):
    """What a probe reads; the status code says the same."""

    status: Literal["alive", "ready"]


class ModelCard(BaseModel):
    """One voice: OpenAI's four fields, then what a caller has to match or may want to cite."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(0, description="Always 0: a checkpoint carries no date.")
    owned_by: str = "flow-vocoder"
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
    def of(cls, voice: "Vocoder") -> Self:
        """The card of a loaded voice."""
        return cls(
            id=voice.name,
            sample_rate=voice.spec.sample_rate,
            architecture=voice.header.architecture,
            licence=voice.header.licence,
            sha256=voice.header.weights,
            temperature=voice.header.temperature,
            mel=voice.spec.to_dict(),
            mel_digest=voice.spec.digest(),
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
