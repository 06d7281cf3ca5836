"""What the configurations of NICE, RealNVP and Glow have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal, TypeVar, get_args

from vocoder.errors import InvalidConfig

__all__ = ["DensityConfig", "Preprocess"]

Preprocess = Literal["none", "centre", "logit"]
Self_ = TypeVar("Self_", bound="DensityConfig")


@dataclass(frozen=True)
class DensityConfig:
    """The data of a density model; `InvalidConfig` where a value is impossible.

    Attributes:
        shape: of one item: ``(C, H, W)`` of an image, ``(D,)`` of a vector.
        levels: grey levels of a pixel, 256 for 8 bits and 2ⁿ for n; ``None`` for data that is continuous.
        preprocess: before the first step, nothing, the data minus ½ (``centre``), or ``logit``.
        dropout: in training, the part of the last hidden features of every network that is dropped; a few
            thousand images are learned by heart without.
    """

    _choices: ClassVar[Mapping[str, Any]] = {"preprocess": Preprocess}
    _least: ClassVar[Mapping[str, int]] = {}

    shape: tuple[int, ...]
    levels: int | None = 256
    preprocess: Preprocess = "none"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.shape, list):  # as JSON has it
            object.__setattr__(self, "shape", tuple(self.shape))
        self._require("shape", _is_shape(self.shape), "be (D,) or (C, H, W), of positive integers")
        self._require(
            "levels", self.levels is None or _is_integer(self.levels, 2), "be an integer >= 2, or None"
        )
        self._require("dropout", _is_part(self.dropout), "be a number within 0 … 1, below 1")
        for name, kind in self._choices.items():
            self._require(name, getattr(self, name) in get_args(kind), f"be one of {get_args(kind)}")
        for name, least in self._least.items():
            self._require(name, _is_integer(getattr(self, name), least), f"be an integer >= {least}")

    def _require(self, name: str, condition: bool, rule: str) -> None:
        if not condition:
            raise InvalidConfig(f"{type(self).__name__}.{name} (={getattr(self, name)!r}) must {rule}")

    def _require_bound(self, bound: object) -> None:
        number = isinstance(bound, (int, float)) and not isinstance(bound, bool) and 0 < bound < float("inf")
        self._require("bound", bound is None or number, "be a finite number > 0, or None")

    def _require_halvings(self, scales: int) -> None:
        """An image that can be squeezed so many times."""
        whole = all(side % 2**scales == 0 for side in self.shape[1:])
        self._require(
            "shape", whole, f"have sides that are multiples of 2^{scales}, to be halved {scales} times"
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for a header or JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls: type[Self_], values: Mapping[str, Any]) -> Self_:
        """The inverse of `to_dict`; an unknown or a missing key is `InvalidConfig`."""
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            raise InvalidConfig(f"{cls.__name__} has the fields {sorted(names)}, got {sorted(values)}")
        return cls(**values)


def _is_part(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1


def _is_integer(value: object, least: int) -> bool:
    return type(value) is int and value >= least


def _is_shape(value: object) -> bool:
    return isinstance(value, tuple) and len(value) in (1, 3) and all(_is_integer(side, 1) for side in value)
