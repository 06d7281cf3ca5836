"""What a pickle becomes here besides plain data: names and objects that do nothing."""

from dataclasses import dataclass
from typing import Any

__all__ = ["Global", "Inert", "plain", "shown"]


@dataclass(frozen=True)
class Global:
    """The name of a function or a class; never the thing."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False, repr=False)
class Inert:
    """An object that the file describes, as what it was called with and the state that it was given."""

    kind: Global
    arguments: tuple[Any, ...] = ()
    state: object = None

    def attribute(self, name: str) -> object:
        """An attribute of the object as it was, or None."""
        return self.state.get(name) if isinstance(self.state, dict) else None


def shown(text: object, longest: int = 80) -> str:
    """Something from a file, fit for a terminal: quoted, printable, and not long."""
    if not isinstance(text, (str, bytes, int, float, Global, type(None))):
        return f"a {type(text).__name__}"
    value = str(text) if isinstance(text, Global) else text
    short = value[: longest + 1] if isinstance(value, (str, bytes)) else value
    quoted = ascii(short) if not isinstance(short, int) or abs(short) < 10**40 else "a huge number"
    return quoted if len(quoted) <= longest else quoted[: longest - 1] + "…"


def plain(value: object, most: int = 2000) -> Any:
    """Something from a file as JSON can hold it: at most so many values, six tables deep, words cut short.

    A few shared lists can be more values than there are atoms, so that they are counted.
    """
    left = most

    def trimmed(each: object, depth: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0 or depth > 6:
            return "…"
        if isinstance(each, dict):
            items = list(each.items())[: max(left, 0)]
            return {shown(key).strip("'"): trimmed(inner, depth + 1) for key, inner in items}
        if isinstance(each, (list, tuple)):
            return [trimmed(inner, depth + 1) for inner in each[: max(left, 0)]]
        if each is None or (isinstance(each, (int, float)) and abs(each) < 2**53):  # which NaN is not
            return each
        return each[:200] if isinstance(each, str) else shown(each)

    return trimmed(value, 0)
