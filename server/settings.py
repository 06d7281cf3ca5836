"""Every setting of the service, with its environment variable: `VOCODER_` and the name in capitals."""

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["Settings", "strangers"]


class Settings(BaseSettings):
    """What an operator may set; `Settings(port=9000)` wins over `VOCODER_PORT`, which wins over the default.

    >>> Settings(port=9000).port
    9000
    """

    model_config = SettingsConfigDict(env_prefix="VOCODER_", frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for every interface.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 lets the system choose.")
    voice: str = Field(
        "default", description="Name of a voice that ships with the package, or a checkpoint file."
    )
    device: str | None = Field(None, description="Torch device, as in `cuda:0`; unset lets the voice choose.")
    threads: int | None = Field(
        None, ge=1, description="Threads of the model on CPU; unset leaves torch's choice."
    )

    max_frames: int = Field(5168, ge=1, description="Longest mel of one request, in frames; 5168 is 60 s.")
    max_requests: int = Field(64, ge=1, description="Requests admitted at once, waiting or being rendered.")
    max_queued_frames: int = Field(41_344, ge=1, description="Frames admitted at once, over all requests.")
    max_connections: int = Field(
        256, ge=1, description="Open connections; beyond it a bare 503, as a last wall."
    )

    body_timeout: float = Field(10.0, gt=0, description="Seconds a client has to send its request body.")
    request_timeout: float = Field(
        60.0, gt=0, description="Seconds from admission to audio; beyond it a 504."
    )
    keep_alive: int = Field(
        65, ge=1, description="Seconds an idle connection stays open; keep it above the proxy's."
    )
    drain_notice: float = Field(
        0.0, ge=0, description='Seconds of "not ready" before the service stops listening.'
    )
    drain_seconds: float = Field(
        20.0, gt=0, description="Seconds that admitted requests have to finish at the end."
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level logged."
    )

    @model_validator(mode="after")
    def _longest_request_fits(self) -> Self:
        if self.max_queued_frames < self.max_frames:
            rule = (
                f"must be >= max_frames (={self.max_frames}), or the longest request could never be admitted"
            )
            raise ValueError(f"max_queued_frames (={self.max_queued_frames}) {rule}")
        return self


def strangers(environ: Iterable[str]) -> list[str]:
    """Names of variables that look like settings and are none: a misspelt limit is no limit.

    >>> strangers(["VOCODER_PORT", "VOCODER_MAX_FRAME", "HOME"])
    ['VOCODER_MAX_FRAME']
    """
    known = {f"VOCODER_{name.upper()}" for name in Settings.model_fields} | {
        "VOCODER_SPEECH_DIR"
    }  # the tests'
    return sorted(
        name for name in environ if name.upper().startswith("VOCODER_") and name.upper() not in known
    )
