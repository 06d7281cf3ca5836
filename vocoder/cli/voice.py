"""Commands that tell what voices there are, and what is in one."""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import asdict

from vocoder import voices
from vocoder.cli import options

__all__ = ["add_commands"]


def add_commands(commands: options.Commands) -> None:
    """Add `voices` and `inspect`."""
    parser = commands.add_parser("voices", help="list the voices there are", description=list_voices.__doc__)
    options.add_json(parser)
    parser.set_defaults(run=list_voices)
    parser = commands.add_parser("inspect", help="tell what is in a checkpoint", description=inspect.__doc__)
    parser.add_argument("voice", metavar="VOICE", help="checkpoint file, or name of a voice")
    options.add_json(parser)
    parser.set_defaults(run=inspect)


def list_voices(asked: argparse.Namespace) -> None:
    """List the voices that come with the package; * marks the default."""
    listed = voices.list_voices()
    if asked.json:
        options.print_json([{**asdict(info), "path": str(info.path)} for info in listed])
        return
    width = max((len(info.name) for info in listed), default=0)
    for info in listed:
        mark = "*" if info.default else " "
        print(f"{mark} {info.name:{width}}  {info.bytes / 1e6:6.2f} MB  {info.licence}")


def inspect(asked: argparse.Namespace) -> None:
    """Verify a checkpoint and print everything in it but the weights themselves."""
    from vocoder import checkpoint

    path = voices.find(asked.voice)
    about = {"file": str(path), **checkpoint.inspect(path)}
    if asked.json:
        options.print_json(about)
        return
    tensors = about.pop("tensors")
    _print_table(list(_flat("", about)))
    _print_table([(name, f"{each['dtype']} {each['shape']}") for name, each in tensors.items()])


def _print_table(lines: list[tuple[str, object]]) -> None:
    width = max((len(name) for name, _ in lines), default=0)
    for name, value in lines:
        print(f"{name:{width}}  {value}")


def _flat(prefix: str, table: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """A table of tables as one, with dotted names."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}{name}.", value)
        else:
            yield prefix + name, value
