"""Every setting of the service: an environment variable, `VOCODER_` and its name in capitals, or a file."""

import json
import os
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from vocoder.errors import InvalidConfig

__all__ = ["Settings", "strangers"]

KEY = re.compile(r"[!-~]+")  # what can follow "Bearer " in a header
MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^/?#\s]+")


def _items(given: Any) -> Any:
    """A list as an environment variable spells it: JSON, or with commas; else it is pydantic's."""
    if not isinstance(given, str):
        return given
    if given.lstrip().startswith("["):
        return json.loads(given)
    return [item.strip() for item in given.split(",") if item.strip()]


def _pairs(given: Any) -> Any:
    """A mapping as an environment variable spells it: JSON, or `name=value` with commas."""
    if not isinstance(given, str):
        return given
    if given.lstrip().startswith("{"):
        return json.loads(given)
    return dict(_pair(item) for item in _items(given))


def _pair(item: str) -> tuple[str, str]:
    name, equals, value = item.partition("=")
    if not equals:
        raise ValueError("expected name=value pairs with commas between them, or a JSON object")
    return name.strip(), value.strip()


def _joined(given: Any) -> Any:
    return ",".join(map(str, given)) if isinstance(given, list) else given


Items = Annotated[list[str], NoDecode, BeforeValidator(_items)]
Secrets = Annotated[list[SecretStr], NoDecode, BeforeValidator(_items)]
Pairs = Annotated[dict[str, str], NoDecode, BeforeValidator(_pairs)]
Joined = Annotated[str, BeforeValidator(_joined)]


class Settings(BaseSettings):
    """What an operator may set.

    `Settings(port=9000)` wins over `VOCODER_PORT`, which wins over `port` in the TOML file that `config` (or
    `VOCODER_CONFIG`) names, which wins over the default. Lists and mappings are JSON or have commas between
    their items. Raises `ValueError` (pydantic's, or `InvalidConfig` for the file) without repeating a value,
    since some are secret.

    >>> Settings(port=9000).port
    9000
    """

    model_config = SettingsConfigDict(
        env_prefix="VOCODER_",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )

    config: Path | None = Field(None, description="TOML file of settings, under the names of this table.")

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for every interface.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 lets the system choose.")

    voice: str = Field(
        "default", description="The default model: a voice that ships with the package, or a checkpoint file."
    )
    models: Pairs = Field(
        default_factory=dict,
        description="More models, `name=voice`: a voice that ships with the package, or a checkpoint file.",
    )
    models_dir: Path | None = Field(
        None, description="Folder whose every `*.safetensors` is a model, by its name without the ending."
    )
    model_ttl: float | None = Field(
        None,
        gt=0,
        description="Idle seconds until a model is unloaded; unset: never. The default model stays.",
    )
    device: Joined | None = Field(
        None,
        description="Torch devices, a worker for each, as in `cuda:0,cuda:1`; unset: all of CUDA, else CPU.",
    )
    threads: int | None = Field(
        None, ge=1, description="Threads of the model on CPU; unset leaves torch's choice."
    )

    batch_frames: int = Field(
        2048, ge=0, description="Frames rendered together, padding included; 0 renders requests singly."
    )
    batch_delay: float = Field(
        0.0, ge=0, description="Seconds that a request waits for others to share its batch."
    )
    chunk_frames: int = Field(1024, ge=1, description="Frames of a chunk when audio is streamed.")
    first_frames: int = Field(
        32, ge=1, description="Frames of the first chunk, small so that audio begins early."
    )
    oom_limit: int = Field(
        3, ge=1, description="CUDA out-of-memory failures in a row after which the service is not ready."
    )

    max_frames: int = Field(5168, ge=1, description="Longest mel of one request, in frames; 5168 is 60 s.")
    max_clips: int = Field(16, ge=1, description="Clips in one request; their frames add up to `max_frames`.")
    max_stream_frames: int = Field(
        310_080, ge=1, description="Frames of one WebSocket stream; 310080 is an hour."
    )
    max_requests: int = Field(
        64, ge=1, description="Requests admitted at once for each device, waiting or being rendered."
    )
    max_queued_frames: int = Field(
        41_344, ge=1, description="Frames admitted at once for each device, over all requests."
    )
    max_connections: int = Field(
        256, ge=1, description="Open connections; beyond it a bare 503, as a last wall."
    )
    max_body_bytes: int = Field(
        33_554_432,
        ge=1,
        description="Longest request body. JSON may take 2000 bytes for each of `max_frames` (80 bands, 25 "
        "characters a number); the default is thrice that. Raise it with `max_frames`.",
    )

    header_timeout: float = Field(
        10.0, gt=0, description="Seconds a client has to send the head of a request."
    )
    body_timeout: float = Field(10.0, gt=0, description="Seconds a client has to send its request body.")
    write_timeout: float = Field(
        20.0, gt=0, description="Seconds without the client taking a byte after which it is cut off."
    )
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

    api_keys: Secrets = Field(
        default_factory=list, description="Keys that `/v1` asks for as `Authorization: Bearer`; none: open."
    )
    admin_key: SecretStr | None = Field(
        None, description="Key of the routes that load and unload models; unset: there are none."
    )
    rate_limit: int | None = Field(
        None, ge=1, description="Requests a minute under `/v1` for each key or, without keys, each address."
    )
    cors_origins: Items = Field(
        default_factory=list, description="Origins whose pages may call, as in `https://example.org`."
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level logged."
    )
    telemetry: bool = Field(
        False, description="OpenTelemetry traces, configured by its own `OTEL_*` variables; extra `otel`."
    )

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices that are named, in order; none if the choice is left to the service."""
        return tuple(_items(self.device or ""))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # passed by name
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the file; for pydantic-settings."""
        path = init_settings().get("config") or env_settings().get("config")
        file = InitSettingsSource(settings_cls, _read(Path(path)) if path else {})
        return init_settings, env_settings, file

    @field_validator("api_keys", "admin_key")
    @classmethod
    def _keys_can_be_sent(cls, given: list[SecretStr] | SecretStr | None) -> Any:
        keys = given if isinstance(given, list) else [] if given is None else [given]
        if not all(KEY.fullmatch(key.get_secret_value()) for key in keys):
            raise ValueError("a key must be visible ASCII characters, at least one, without spaces")
        return given

    @field_validator("models")
    @classmethod
    def _models_are_named(cls, models: dict[str, str]) -> dict[str, str]:
        if not all(MODEL.fullmatch(name) and voice for name, voice in models.items()):
            raise ValueError("a model's name must be at most 64 of A-Z a-z 0-9 . _ - and its voice not empty")
        return models

    @field_validator("models_dir")
    @classmethod
    def _folder_is_there(cls, folder: Path | None) -> Path | None:
        if folder and not folder.is_dir():
            raise ValueError("it must be a folder that is there")
        return folder

    @field_validator("cors_origins")
    @classmethod
    def _origins_are_origins(cls, origins: list[str]) -> list[str]:
        if not all(ORIGIN.fullmatch(origin) for origin in origins):
            raise ValueError("an origin must be scheme://host[:port] without a path, or *")
        return origins

    @model_validator(mode="after")
    def _longest_request_fits(self) -> Self:
        if self.max_queued_frames < self.max_frames:
            rule = (
                f"must be >= max_frames (={self.max_frames}), or the longest request could never be admitted"
            )
            raise ValueError(f"max_queued_frames (={self.max_queued_frames}) {rule}")
        return self


def _read(path: Path) -> dict[str, Any]:
    try:
        given = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InvalidConfig(f"config {path.name} cannot be read: {error.strerror}") from error
    except ValueError as error:  # neither TOML's nor UTF-8's words repeat a value
        raise InvalidConfig(f"config {path.name} is not a TOML file: {error}") from error
    if unknown := sorted(given.keys() - (Settings.model_fields.keys() - {"config"})):
        raise InvalidConfig(f"config {path.name} has unknown settings: {', '.join(unknown)}")
    return given


def strangers(environ: Iterable[str] | None = None) -> list[str]:
    """Names of variables that look like settings and are none: a misspelt limit is no limit.

    >>> strangers(["VOCODER_PORT", "VOCODER_MAX_FRAME", "HOME"])
    ['VOCODER_MAX_FRAME']
    """
    known = {f"VOCODER_{name.upper()}" for name in Settings.model_fields} | {
        "VOCODER_SPEECH_DIR"
    }  # the tests'
    names = os.environ if environ is None else environ
    return sorted(name for name in names if name.upper().startswith("VOCODER_") and name.upper() not in known)
