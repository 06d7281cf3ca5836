"""What was found in a file, told so that somebody who has no such file can mend what went wrong."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Report"]


@dataclass
class Report:
    """What a file holds, filled in as far as reading and understanding it got.

    Attributes:
        file, bytes, sha256: which file.
        container: what the file is: `zip`, `legacy`, `tar zip` …
        holds: what lies at the top of it, a line each.
        names: functions and classes that its pickle names, and how often; none of them was imported.
        refused: those that no checkpoint needs.
        sources: source code of its classes, where it has them.
        settings: the author's own configuration, where it has one.
        home, prefix, kind: where the weights were, what stood before their names, the network's class.
        attributes: numbers that its objects hold.
        tensors: dtype and shape of every weight, by its name in the file.
        layout, weight_norm: how the weights are spelled, and normalised.
        dropped: names of tensors that are not weights.
        config, mel, parameters: the model that they make.
        temperature, step: what the model would be saved with.
        notes: what was taken for granted, or looked odd.
        problem: why it cannot be imported; None where it can.
    """

    file: str
    bytes: int = 0
    sha256: str = ""
    container: str = "unknown"
    holds: dict[str, str] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] | None = None
    home: str = ""
    prefix: str = ""
    kind: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, dict[str, Any]] = field(default_factory=dict)
    layout: str | None = None
    weight_norm: str | None = None
    dropped: list[str] = field(default_factory=list)
    config: dict[str, Any] | None = None
    mel: dict[str, Any] | None = None
    parameters: int | None = None
    temperature: float | None = None
    step: int = 0
    notes: list[str] = field(default_factory=list)
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        return asdict(self)

    def to_text(self) -> str:
        """Everything, as lines: weights that differ in numbers only as one, without sources."""
        return "\n".join(_printable(line) for line in self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield from _table("", self._head())
        yield from _table("holds", self.holds)
        yield from _table("names", self.names)
        yield from _table("REFUSED", dict.fromkeys(self.refused, "no checkpoint needs it"))
        yield from _table(
            "source code (in --json)", {name: _length(text) for name, text in self.sources.items()}
        )
        yield from _table("its own configuration", _flat(self.settings or {}))
        yield from _table("attributes (all of them in --json)", _alike(self._telling()))
        yield from _table("weights", _alike({name: _word(each) for name, each in self.tensors.items()}))
        yield from _table("dropped", _alike(dict.fromkeys(self.dropped, "")))
        yield from _table("config", self.config or {})
        yield from _table("mel", self.mel or {})
        yield from _table("notes", {str(i): note for i, note in enumerate(self.notes, 1)})
        yield f"PROBLEM: {self.problem}" if self.problem else "can be imported"

    def _head(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "bytes": self.bytes,
            "sha256": self.sha256 or None,
            "container": self.container,
            "weights in": (self.home or "the top of the file") if self.tensors else None,
            "class": self.kind,
            "prefix": self.prefix or None,
            "layout": self.layout,
            "weight norm": self.weight_norm,
            "parameters": self.parameters,
            "temperature": self.temperature,
            "step": self.step or None,
        }

    def _telling(self) -> dict[str, Any]:
        """The attributes that say more than the shapes of the weights do."""
        words = ("dilation", "eps", "n_")
        return {
            name: value
            for name, value in self.attributes.items()
            if name.startswith("upsample.") or name.rpartition(".")[2].startswith(words)
        }


def _table(title: str, rows: Mapping[str, Any]) -> Iterator[str]:
    rows = {name: value for name, value in rows.items() if value is not None}
    width, indent = max((len(name) for name in rows), default=0), "  " if title else ""
    if title and rows:
        yield f"{title}:"
    for name, value in rows.items():
        yield f"{indent}{name:{min(width, 60)}}  {value}".rstrip()


def _alike(rows: Mapping[str, Any]) -> dict[str, str]:
    """Rows whose names differ in numbers only, as one: how many, and the values that they have."""
    kinds: dict[str, dict[str, int]] = {}
    for name, value in rows.items():
        values = kinds.setdefault(re.sub(r"\d+", "*", name), {})
        values[str(value)] = values.get(str(value), 0) + 1
    return {
        kind: "; ".join([f"{value} ×{count}" for value, count in values.items()][:12])
        for kind, values in kinds.items()
    }


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A table of tables as one, with dotted names."""
    rows: dict[str, Any] = {}
    for name, value in table.items():
        inner = isinstance(value, dict) and prefix.count(".") < 6
        rows.update(_flat(value, f"{prefix}{name}.") if inner else {f"{prefix}{name}": str(value)[:200]})
    return rows


def _word(tensor: Mapping[str, Any]) -> str:
    return f"{tensor['dtype']} {tensor['shape']}"


def _length(text: str) -> str:
    return f"{len(text.splitlines())} lines"


def _printable(line: str) -> str:
    """A file's words must not steer a terminal."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)
