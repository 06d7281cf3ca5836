"""Every choice that shapes a `WaveGlow`, and which of them go together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from vocoder.errors import InvalidConfig

__all__ = ["WaveGlowConfig"]

Conditioning = Literal["transposed", "encoder", "repeat"]
Front = Literal["none", "lapped", "filter", "cholesky"]
Coupling = Literal["affine", "additive"]
Mix = Literal["conv", "swap", "reverse", "shuffle"]
Halves = Literal["first", "alternate"]
Net = Literal["wavenet", "separable"]

_CHOICES = {
    "conditioning": Conditioning,
    "front": Front,
    "coupling": Coupling,
    "mix": Mix,
    "halves": Halves,
    "net": Net,
}
_LATER = frozenset({"coupling", "mix", "halves", "net"})  # fields that a header of version 0.1.0 lacks


@dataclass(frozen=True)
class WaveGlowConfig:
    """Every choice that shapes a WaveGlow; the defaults are the published ``waveglow-256``.

    Raises `InvalidConfig` where a value is impossible, or two contradict one another.

    Attributes:
        group: G, samples squeezed into channels; divides the hop, and is even for the ``lapped`` front.
        flows: number of steps (mixing of the channels, then a coupling).
        early_every: an early output after every so many steps, if others follow; 0 for none.
        early_size: channels of an early output; two at least must be left in the end.
        channels: C, width of the coupling networks.
        dilations: of the layers of every coupling network.
        kernel: taps of the dilated convolutions, odd.
        conditioning: ``transposed`` is the published dense upsampler, ``encoder`` the cheap one at the frame
            rate, ``repeat`` the bare mel, as SqueezeWave has it.
        cond_channels: width of the ``encoder``, at least 1 for it; the ``transposed`` one has bands × G
            channels.
        cond_layers: residual layers of the ``encoder``.
        front: ``none`` (published), or whitening: ``lapped`` (spectral blocks of a group), ``filter`` (blocks
            of a hop, back in time) or ``cholesky`` (groups of samples).
        bound: largest |log-scale| of a coupling, smoothly; ``None`` (published) leaves it free.
        coupling: ``affine`` (RealNVP, WaveGlow) or ``additive`` (NICE), which keeps volume: a diagonal
            scaling is learned behind the last step instead.
        mix: before every coupling, a 1×1 ``conv`` (Glow, WaveGlow), or ``swap`` of the two parts, ``reverse``
            or ``shuffle`` of all channels.
        halves: which part of the channels feeds the networks: the ``first``, or in odd steps the last
            (``alternate``, as in NVIDIA's first code).
        net: ``wavenet`` (published) or ``separable`` (SqueezeWave).
    """

    group: int = 8
    flows: int = 12
    early_every: int = 4
    early_size: int = 2
    channels: int = 256
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128)
    kernel: int = 3
    conditioning: Conditioning = "transposed"
    cond_channels: int = 0
    cond_layers: int = 0
    front: Front = "none"
    bound: float | None = None
    coupling: Coupling = "affine"
    mix: Mix = "conv"
    halves: Halves = "first"
    net: Net = "wavenet"

    def __post_init__(self) -> None:
        if isinstance(self.dilations, list):  # as JSON has it
            object.__setattr__(self, "dilations", tuple(self.dilations))
        for name, kind in _CHOICES.items():
            self._require(name, getattr(self, name) in get_args(kind), f"be one of {get_args(kind)}")
        for name, least in self._least().items():
            self._require(name, _is_integer(getattr(self, name), least), f"be an integer >= {least}")
        self._require("dilations", _are_positive(self.dilations), "be positive integers, one at least")
        self._require("kernel", self.kernel % 2 == 1, "be odd, to look as far back as ahead")
        self._require("group", self.front != "lapped" or self.group % 2 == 0, "be even for the lapped front")
        self._require("bound", self.bound is None or _is_scale(self.bound), "be a finite number > 0, or None")
        additive = self.coupling == "additive"
        self._require("bound", self.bound is None or not additive, "be None for additive couplings")
        left = self.group - self._early_outputs * self.early_size
        self._require("early_size", left >= 2, f"leave at least 2 channels of group (={self.group})")

    def _least(self) -> dict[str, int]:
        """The least that every integer may be, those first on which others depend."""
        least = {"group": 2, "flows": 1, "channels": 1, "kernel": 1, "early_every": 0, "cond_layers": 0}
        encoder, early = self.conditioning == "encoder", self.early_every != 0
        return {**least, "early_size": int(early), "cond_channels": int(encoder)}

    @property
    def _early_outputs(self) -> int:
        return (self.flows - 1) // self.early_every if self.early_every else 0

    def _require(self, name: str, condition: bool, rule: str) -> None:
        if not condition:
            raise InvalidConfig(f"WaveGlowConfig.{name} (={getattr(self, name)!r}) must {rule}")

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for a header or JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> WaveGlowConfig:
        """The inverse of `to_dict`; an unknown or a missing key is `InvalidConfig`.

        What version 0.1.0 did not know yet may be missing, and is what it was then: the default.

        >>> config = WaveGlowConfig(channels=64)
        >>> WaveGlowConfig.from_dict(config.to_dict()) == config
        True
        """
        names = {field.name for field in fields(cls)}
        if not names - _LATER <= set(values) <= names:
            raise InvalidConfig(f"WaveGlowConfig has the fields {sorted(names)}, got {sorted(values)}")
        return cls(**values)


def _is_integer(value: object, least: int) -> bool:
    return type(value) is int and value >= least


def _are_positive(values: object) -> bool:
    return isinstance(values, tuple) and bool(values) and all(_is_integer(value, 1) for value in values)


def _is_scale(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf
