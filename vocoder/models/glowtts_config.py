"""Every choice that shapes a `GlowTTS`, and which of them go together."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from vocoder.errors import InvalidConfig
from vocoder.text.symbols import SYMBOLS

__all__ = ["GlowTTSConfig", "alphabet"]


def alphabet(symbols: int) -> str:
    """SHA-256, in hexadecimal, of the first so many symbols in their order: what ids mean to a model."""
    return hashlib.sha256("\n".join(SYMBOLS[:symbols]).encode()).hexdigest()


@dataclass(frozen=True)
class GlowTTSConfig:
    """Every choice that shapes a GlowTTS; `InvalidConfig` where a value is impossible.

    Attributes:
        symbols: how many symbols it knows, the first of `vocoder.text.symbols.SYMBOLS`.
        alphabet: their digest; a list in which one of them has moved is refused.
        width: D, of the text encoder; a multiple of ``heads``.
        layers: of the text encoder.
        heads: of its attention.
        hidden: width inside its convolutions.
        reach: largest distance of two symbols that its attention tells from a larger one.
        predictor: width of the network that predicts durations and pitch.
        dropout, predictor_dropout: in training, of the encoder and of that network.
        flows: steps of ActNorm, 1×1 convolution and coupling.
        channels: C, width of the couplings' networks.
        dilations: of the layers of every coupling network.
        kernel: taps of these layers, odd.
        group: mel frames that are folded together before the first step.
        pitch_channels: of the features that the couplings are shown of the pitch, a frame.
        bound: largest |log-scale| of a coupling, smoothly; ``None`` leaves it free, as the paper does.
    """

    symbols: int = len(SYMBOLS)
    alphabet: str = field(default_factory=lambda: alphabet(len(SYMBOLS)))
    width: int = 128
    layers: int = 4
    heads: int = 2
    hidden: int = 320
    reach: int = 8
    predictor: int = 128
    dropout: float = 0.1
    predictor_dropout: float = 0.2
    flows: int = 8
    channels: int = 128
    dilations: tuple[int, ...] = (1, 2, 4)
    kernel: int = 3
    group: int = 2
    pitch_channels: int = 32
    bound: float | None = 3.0

    def __post_init__(self) -> None:
        if isinstance(self.dilations, list):  # as JSON has it
            object.__setattr__(self, "dilations", tuple(self.dilations))
        for name in _COUNTS:
            self._require(name, _is_count(getattr(self, name)), "be an integer >= 1")
        self._require("symbols", self.symbols <= len(SYMBOLS), f"be at most {len(SYMBOLS)}")
        self._require("alphabet", self.alphabet == alphabet(self.symbols), "be the digest of our symbols")
        self._require("width", self.width % self.heads == 0, f"be a multiple of heads (={self.heads})")
        for name in ("dropout", "predictor_dropout"):
            self._require(name, _is_part(getattr(self, name)), "be within 0 … 1, below 1")
        self._require("dilations", _are_counts(self.dilations), "be positive integers, one at least")
        self._require("kernel", self.kernel % 2 == 1, "be odd, to look as far back as ahead")
        self._require("bound", self.bound is None or _is_scale(self.bound), "be a finite number > 0, or None")

    def _require(self, name: str, condition: bool, rule: str) -> None:
        if not condition:
            raise InvalidConfig(f"GlowTTSConfig.{name} (={getattr(self, name)!r}) must {rule}")

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for a header or JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> GlowTTSConfig:
        """The inverse of `to_dict`; an unknown or a missing key is `InvalidConfig`.

        >>> config = GlowTTSConfig(channels=64)
        >>> GlowTTSConfig.from_dict(config.to_dict()) == config
        True
        """
        names = {each.name for each in fields(cls)}
        if set(values) != names:
            raise InvalidConfig(f"GlowTTSConfig has the fields {sorted(names)}, got {sorted(values)}")
        return cls(**values)


_COUNTS = (
    "symbols", "width", "layers", "heads", "hidden", "reach", "predictor", "flows", "channels", "kernel",
    "group", "pitch_channels",
)  # fmt: skip


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 1


def _are_counts(values: object) -> bool:
    return isinstance(values, tuple) and bool(values) and all(map(_is_count, values))


def _is_part(value: object) -> bool:
    return _is_number(value) and 0 <= value < 1  # type: ignore[operator]  # a number


def _is_scale(value: object) -> bool:
    return _is_number(value) and 0 < value < math.inf  # type: ignore[operator]  # a number


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
