"""From the value of a pickle to a flat table of tensors, and to what else it says about them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from vocoder.errors import CheckpointError
from vocoder.importer.inert import Inert, shown
from vocoder.importer.machine import Limits
from vocoder.importer.rules import FOREIGN
from vocoder.importer.tensors import StoredTensor

__all__ = ["State", "find_state", "summary"]

HOMES = ("model", "state_dict", "generator", "waveglow")  # where the weights of a checkpoint are, by author
ANCHOR = "convinv.0.conv.weight"  # a weight that every WaveGlow has; what stands before it is a wrapper's
DEEPEST = 16


@dataclass(frozen=True)
class State:
    """The weights of a network by their authors' names, without the prefix that wrappers put before them.

    Attributes:
        home: where in the file they were: `model`, `state_dict`, …, or empty.
        prefix: what stood before every name.
        kind: class of the network, where the file has it as an object.
        tensors: by name.
        attributes: numbers and sizes that the file's objects hold, by name: `upsample.stride`, `n_group` …
        others: names that did not have the prefix.
    """

    home: str
    prefix: str
    kind: str | None
    tensors: Mapping[str, StoredTensor]
    attributes: Mapping[str, object]
    others: tuple[str, ...] = field(default=())


def find_state(root: object, limits: Limits) -> State:
    """The state of the network in the value of a pickle; `CheckpointError` where there is none."""
    home, found = _home(root)
    tensors, attributes = _Walk(limits).collect(found)
    if not tensors:
        raise CheckpointError(f"holds no tensors where weights are kept; it holds {_listed(summary(root))}")
    anchors = [name for name in tensors if name == ANCHOR or name.endswith(f".{ANCHOR}")]
    if len(anchors) > 1:
        raise CheckpointError(
            f"holds {len(anchors)} networks like a WaveGlow, at {', '.join(map(shown, anchors[:4]))}"
        )
    prefix = anchors[0].removesuffix(ANCHOR) if anchors else ""
    inside = {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
    return State(
        home=home,
        prefix=prefix,
        kind=_kind(found),
        tensors=inside,
        attributes={
            name.removeprefix(prefix): value for name, value in attributes.items() if name.startswith(prefix)
        },
        others=tuple(name for name in tensors if not name.startswith(prefix)),
    )


def summary(root: object) -> dict[str, str]:
    """What the value of a pickle holds, a line an item."""
    if isinstance(root, dict):
        return {_name(key): _word(value) for key, value in list(root.items())[:200]}
    return {} if root is None else {"": _word(root)}


def _home(root: object) -> tuple[str, object]:
    if isinstance(root, dict):
        for name in HOMES:
            if isinstance(root.get(name), (dict, Inert)):
                return name, root[name]
    return "", root


def _kind(found: object) -> str | None:
    """The class of the network; a wrapper's `module` is looked into."""
    for _ in range(DEEPEST):
        if not isinstance(found, Inert):
            break
        modules = found.attribute("_modules")
        inner = modules.get("module") if isinstance(modules, dict) else None
        if found.kind.name in FOREIGN or inner is None:
            return str(found.kind)
        found = inner
    return None


class _Walk:
    """Through modules and tables, to bounded depth and in bounded time, as a file may refer to itself."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.visited = limits, 0
        self.tensors: dict[str, StoredTensor] = {}
        self.attributes: dict[str, object] = {}

    def collect(self, found: object) -> tuple[dict[str, StoredTensor], dict[str, object]]:
        if isinstance(found, dict):
            self._take("", found)
        else:
            self._module("", found, 0)
        return self.tensors, self.attributes

    def _visit(self, depth: int) -> None:
        self.visited += 1
        if depth > DEEPEST or self.visited > self.limits.tensors:
            raise CheckpointError(f"holds modules {depth} deep, or more than {self.limits.tensors}")

    def _module(self, prefix: str, found: object, depth: int) -> None:
        self._visit(depth)
        state = found.state if isinstance(found, Inert) else None
        if not isinstance(state, dict):
            return
        for table in ("_parameters", "_buffers"):
            self._take(prefix, state.get(table))
        for name, value in _plain(state):
            self.attributes[prefix + name] = value
        modules = state.get("_modules")
        for name, module in modules.items() if isinstance(modules, dict) else ():
            self._module(f"{prefix}{_name(name)}.", module, depth + 1)

    def _take(self, prefix: str, table: object) -> None:
        for name, value in table.items() if isinstance(table, dict) else ():
            if isinstance(value, StoredTensor) and isinstance(name, str):
                self._visit(0)
                self.tensors[prefix + _name(name)] = value


def _plain(state: Mapping[object, object]) -> Iterator[tuple[str, object]]:
    """Numbers and short tuples of them, by name."""
    for name, value in state.items():
        values = value if isinstance(value, tuple) and len(value) <= 4 else (value,)
        numbers = all(type(item) in (int, float) and abs(item) < 2**53 for item in values)  # no NaN either
        if isinstance(name, str) and numbers:
            yield _name(name), value


def _name(key: object) -> str:
    return shown(key)[1:-1] if isinstance(key, str) else shown(key)


def _word(value: object) -> str:
    match value:
        case StoredTensor():
            return f"tensor {list(value.shape)} {str(value.dtype).removeprefix('torch.')}"
        case Inert():
            return f"object of {shown(value.kind)}"
        case dict() | list() | tuple():
            return f"{type(value).__name__} of {len(value)}"
    return shown(value)


def _listed(lines: Mapping[str, str]) -> str:
    told = [f"{shown(name)} ({word})" if name else word for name, word in list(lines.items())[:8]]
    return ", ".join(told) + (f" and {len(lines) - 8} more" if len(lines) > 8 else "")
