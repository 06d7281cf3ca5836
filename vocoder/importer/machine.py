"""A machine for pickles that runs none of their code.

A pickle is a program for a machine with a stack: most of its instructions make numbers, strings, lists and
tables, and a few name a function and call it. This machine knows the same instructions, but a name stays a
name (`Global`) and a call becomes data: what the caller's rules make of its arguments, or an `Inert` that
holds them. So there is nothing in it that a file could call, whatever the file says, and a report can read a
malicious file to its end. Bounded: instructions and tensors by `Limits`, strings by the file, depth by having
no recursion.
"""

import pickletools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from vocoder.errors import CheckpointError
from vocoder.importer.inert import Global, Inert, shown

__all__ = ["Limits", "Rules", "Seen", "run"]

LINE = 2**16  # bytes of an instruction that ends with its line: those of protocol 0, names above all
PLAIN = (str, int, float, bytes, type(None))  # keys that hash in constant time, which a deep tuple does not


@dataclass(frozen=True)
class Limits:
    """How much of a file is believed; a real checkpoint of the largest model stays far below each.

    Attributes:
        size: bytes of the file, and of what it unpacks to.
        ratio: how many times its own size a compressed file may unpack to.
        instructions: of one pickle.
        tensors: of one pickle, and modules and tables that are walked in search of them.
        entries: files in an archive.
    """

    size: int = 8 * 2**30
    ratio: int = 20
    instructions: int = 2_000_000
    tensors: int = 100_000
    entries: int = 300_000

    def unpacked(self, size: int) -> int:
        """Bytes that a file of `size` may unpack to; a small one may be mostly padding."""
        return min(self.size, max(self.ratio * size, 2**20))


@dataclass(frozen=True)
class Rules:
    """What may be named, and what is made of it.

    Attributes:
        calls: functions of the arguments, in place of the named ones.
        names: whether a name may stand in a file; one that may not is remembered in `Seen.refused`.
        persistent: what a file's reference to something outside the pickle stands for.
    """

    calls: Mapping[Global, Callable[..., object]]
    names: Callable[[Global], bool]
    persistent: Callable[[object], object]


@dataclass
class Seen:
    """What has been met so far, also where reading ends with an error."""

    globals: Counter[Global] = field(default_factory=Counter)
    refused: list[Global] = field(default_factory=list)


def run(file: BinaryIO, end: int, rules: Rules, limits: Limits, seen: Seen) -> object:
    """The value of the pickle that begins where `file` stands and lies before `end`; it ends up behind that.

    Raises `CheckpointError`, without the file's name, for a pickle that is cut, malformed or too long.
    """
    machine, window = _Machine(rules, seen), _Window(file, end)
    try:
        for count, (code, argument, _) in enumerate(pickletools.genops(window)):  # type: ignore[arg-type]  # it does
            if count >= limits.instructions:
                raise CheckpointError(f"has a pickle of more than {limits.instructions} instructions")
            _INSTRUCTIONS.get(code.name, _unknown)(machine, argument)
        return machine.pop()
    except CheckpointError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        told = f"near byte {file.tell()}, {type(error).__name__}: {str(error)[:200]}"
        raise CheckpointError(f"is damaged or cut: its pickle cannot be read ({told})") from error


class _Window:
    """A file that ends earlier, and never reserves room for bytes that are promised but not there."""

    def __init__(self, file: BinaryIO, end: int) -> None:
        self.file, self.end = file, end
        self.tell = file.tell

    def read(self, size: int) -> bytes:
        return self.file.read(max(0, min(size, self.end - self.file.tell())))

    def readline(self) -> bytes:
        return self.file.readline(max(0, min(LINE, self.end - self.file.tell())))


class _Machine:
    """The stack, the stacks below the marks, and the memory."""

    def __init__(self, rules: Rules, seen: Seen) -> None:
        self.rules, self.seen = rules, seen
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memory: dict[int, Any] = {}

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        return self.stack.pop()

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def remember(self, place: int) -> None:
        self.memory[place] = self.stack[-1]

    def named(self, module: object, name: object) -> Global:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise CheckpointError(
                f"names a global by {shown(module)} and {shown(name)}, expected two strings"
            )
        found = Global(module, name)
        if found not in self.seen.globals and not self.rules.names(found):
            self.seen.refused.append(found)
        self.seen.globals[found] += 1
        return found

    def call(self, function: object, arguments: object) -> None:
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise CheckpointError(f"calls {shown(function)}, which is not the name of a function")
        rule = self.rules.calls.get(function)
        self.push(rule(*arguments) if rule else Inert(function, arguments))


def _extend(target: object, items: Iterable[Any]) -> None:
    if isinstance(target, list):
        target.extend(items)
    elif not isinstance(target, Inert):  # what an object of a class we do not have collects is of no use
        raise CheckpointError(f"adds to {shown(target)} as to a list")


def _update(target: object, items: list[Any]) -> None:
    if isinstance(target, Inert):
        return
    keys, values = items[::2], items[1::2]
    if not isinstance(target, dict) or len(keys) != len(values):
        raise CheckpointError(f"adds to {shown(target)} as to a table")
    if odd := [key for key in keys if not isinstance(key, (*PLAIN, Global, Inert))]:
        raise CheckpointError(f"has a table with {shown(odd[0])} for a key")
    target.update(zip(keys, values, strict=True))


def _build(machine: _Machine, _: object) -> None:
    state, target = machine.pop(), machine.stack[-1]
    if isinstance(target, Global):
        raise CheckpointError(f"gives {target} a state, as if a class were an object")
    if isinstance(target, Inert):
        target.state = state
    # What else has a state is a table or a tensor of ours, and its further attributes are of no use.


def _global(machine: _Machine, argument: str) -> None:
    module, _, name = argument.partition(" ")
    machine.push(machine.named(module, name))


def _stack_global(machine: _Machine, _: object) -> None:
    name, module = machine.pop(), machine.pop()
    machine.push(machine.named(module, name))


def _reduce(machine: _Machine, _: object) -> None:
    arguments, function = machine.pop(), machine.pop()
    machine.call(function, arguments)


def _new_object(machine: _Machine, _: object) -> None:
    arguments, kind = machine.pop(), machine.pop()
    machine.call(kind, arguments)


def _new_object_with_names(machine: _Machine, _: object) -> None:
    machine.pop()
    _new_object(machine, None)


def _instance(machine: _Machine, argument: str) -> None:
    module, _, name = argument.partition(" ")
    machine.call(machine.named(module, name), tuple(machine.since_mark()))


def _object(machine: _Machine, _: object) -> None:
    kind, *arguments = machine.since_mark()
    machine.call(kind, tuple(arguments))


def _set_item(machine: _Machine, _: object) -> None:
    value, key = machine.pop(), machine.pop()
    _update(machine.stack[-1], [key, value])


def _set_items(machine: _Machine, _: object) -> None:
    items = machine.since_mark()
    _update(machine.stack[-1], items)


def _append(machine: _Machine, _: object) -> None:
    item = machine.pop()
    _extend(machine.stack[-1], [item])


def _append_all(machine: _Machine, _: object) -> None:
    items = machine.since_mark()
    _extend(machine.stack[-1], items)


def _table(machine: _Machine, _: object) -> None:
    made: dict[Any, Any] = {}
    _update(made, machine.since_mark())
    machine.push(made)


def _tuple(size: int) -> Callable[[_Machine, Any], None]:
    def take(machine: _Machine, _: object) -> None:
        if len(machine.stack) < size:
            raise IndexError("the stack is empty")
        items = tuple(machine.stack[len(machine.stack) - size :])
        del machine.stack[len(machine.stack) - size :]
        machine.push(items)

    return take


def _unknown(_: _Machine, argument: object) -> None:
    raise CheckpointError(
        f"has a pickle with an instruction that no checkpoint needs (argument {shown(argument)})"
    )


_PUSHED = (
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES "
    "BINBYTES8 BYTEARRAY8 UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 FLOAT BINFLOAT"
)

_INSTRUCTIONS: Mapping[str, Callable[[_Machine, Any], object]] = {
    **dict.fromkeys(_PUSHED.split(), _Machine.push),
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda *_: None),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "EMPTY_SET": lambda machine, _: machine.push([]),  # its members may be what cannot be a member here
    "LIST": lambda machine, _: machine.push(machine.since_mark()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "FROZENSET": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "DICT": _table,
    "APPEND": _append,
    "APPENDS": _append_all,
    "ADDITEMS": _append_all,
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "MARK": lambda machine, _: machine.mark(),
    "POP": lambda machine, _: machine.pop() if machine.stack else machine.since_mark(),
    "POP_MARK": lambda machine, _: machine.since_mark(),
    "DUP": lambda machine, _: machine.push(machine.stack[-1]),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda machine, at: machine.push(machine.memory[at])),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.remember),
    "MEMOIZE": lambda machine, _: machine.remember(len(machine.memory)),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "NEWOBJ": _new_object,
    "NEWOBJ_EX": _new_object_with_names,
    "INST": _instance,
    "OBJ": _object,
    "BUILD": _build,
    "PERSID": lambda machine, name: machine.push(machine.rules.persistent(name)),
    "BINPERSID": lambda machine, _: machine.push(machine.rules.persistent(machine.pop())),
}
