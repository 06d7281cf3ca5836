"""The header: what a checkpoint says of itself, and its one textual form."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from vocoder.errors import CheckpointError, InvalidConfig
from vocoder.features import MelSpec
from vocoder.models.catalogue import DENSITIES
from vocoder.models.density import DensityModel
from vocoder.models.density_config import DensityConfig
from vocoder.models.glowtts import GlowTTS, GlowTTSConfig
from vocoder.models.waveglow import WaveGlow, WaveGlowConfig

__all__ = ["ARCHITECTURES", "FORMAT", "Header", "Model", "canonical", "parse", "seal", "unseal"]

Config = WaveGlowConfig | GlowTTSConfig | DensityConfig
Model = WaveGlow | GlowTTS | DensityModel

ARCHITECTURES: Mapping[str, tuple[type[Config], Callable[..., Model]]] = {
    "waveglow": (WaveGlowConfig, WaveGlow),
    "glowtts": (GlowTTSConfig, GlowTTS),
    **DENSITIES,
}
FORMAT = 1  # raised when an older reader would misunderstand a newer file


@dataclass(frozen=True)
class Header:
    """What a checkpoint says of itself; `InvalidConfig` for values that it cannot have.

    Attributes:
        architecture, config: which model (see `ARCHITECTURES`), and its configuration.
        mel: the spec of the mels that it reads, or makes; ``None`` for a density, which is shown none.
        name: what the voice is called.
        licence: of the weights.
        temperature: scale of the noise where a caller names none.
        step: how many steps it was trained.
        weights: SHA-256 over the names, dtypes, shapes and bytes of the tensors, as they are stored.
        extra: anything else that JSON can hold.
        format: version of this header.
    """

    architecture: str
    config: Mapping[str, Any]
    mel: MelSpec | None
    name: str
    licence: str
    temperature: float
    step: int
    weights: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    def __post_init__(self) -> None:
        density = self.architecture in list(DENSITIES)  # a list, as what came may not be hashable
        number = isinstance(self.temperature, (int, float)) and not isinstance(self.temperature, bool)
        for name, (holds, rule) in {
            "architecture": (self.architecture in list(ARCHITECTURES), f"one of {list(ARCHITECTURES)}"),
            "config": (isinstance(self.config, Mapping), "a table"),
            "mel": ((self.mel is None) == density, "None" if density else "the spec of the voice's mels"),
            "name": (isinstance(self.name, str) and self.name != "", "a string, and not empty"),
            "licence": (isinstance(self.licence, str) and self.licence != "", "a string, and not empty"),
            "temperature": (number and 0 <= self.temperature <= 2, "a number within 0 … 2"),
            "step": (type(self.step) is int and self.step >= 0, "an integer >= 0"),
            "extra": (isinstance(self.extra, Mapping), "a table"),
        }.items():
            if not holds:
                raise InvalidConfig(f"{name} (={getattr(self, name)!r}) must be {rule}")

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Header":
        """The inverse of `to_dict`; an unknown or a missing field is `InvalidConfig`."""
        names = {item.name for item in fields(cls)}
        if set(values) != names:
            raise InvalidConfig(f"a header has the fields {sorted(names)}, got {sorted(values)}")
        mel = values["mel"]
        if mel is not None:
            mel = MelSpec.from_dict(mel if isinstance(mel, Mapping) else {})
        return cls(**{**values, "mel": mel})


def parse(text: str | bytes) -> dict[str, Any]:
    """JSON that is a table, or `CheckpointError`."""
    try:
        value = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise CheckpointError("is damaged: its header is not JSON") from error
    if not isinstance(value, dict):
        raise CheckpointError("is damaged: its header is not a table")
    return value


def canonical(values: Mapping[str, Any]) -> str:
    """The one way to write these values as JSON; `ValueError` where a number is not finite."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)


def seal(header: Header) -> str:
    """The header as text: canonical JSON, with the digest of itself."""
    try:
        return _sealed(header.to_dict())
    except (TypeError, ValueError) as error:
        raise InvalidConfig(f"extra must be what JSON can hold: {error}") from error


def unseal(text: str) -> Header:
    """The inverse of `seal`; `CheckpointError` or `InvalidConfig` for anything that it did not write."""
    values = parse(text)
    if (found := values.get("format")) != FORMAT:
        raise CheckpointError(f"has a header of format {found!r}; this version reads format {FORMAT}")
    values.pop("digest", None)
    try:
        intact = text == _sealed(values)
    except ValueError:  # 1e999 is JSON, and infinite
        intact = False
    if not intact:
        raise CheckpointError("is damaged: its header is not what its digest was made of")
    return Header.from_dict(values)


def _sealed(values: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(canonical(values).encode()).hexdigest()
    return canonical({**values, "digest": digest})


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is not JSON")
