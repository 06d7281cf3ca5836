"""`vocoder import`: other people's checkpoints as voices of ours, and what is in one that cannot be."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vocoder.cli import options
from vocoder.errors import CheckpointError

if TYPE_CHECKING:
    from vocoder.checkpoint import Header
    from vocoder.importer import Report

__all__ = ["add_commands"]


def add_commands(commands: options.Commands) -> None:
    """Add `import`."""
    parser = commands.add_parser("import", help="make a voice of a foreign file", description=run.__doc__)
    parser.add_argument("source", metavar="SRC", help="their file: .pt, .pth, .nemo or whatever")
    wish = parser.add_mutually_exclusive_group(required=True)
    wish.add_argument("-o", "--out", type=Path, metavar="DST", help=".safetensors file to write")
    wish.add_argument("--report", action="store_true", help="write nothing; print what is in SRC")
    parser.add_argument(
        "--alternate-halves",
        action=argparse.BooleanOptionalAction,
        help="odd steps feed the second half of the channels, as in glow_old.py; a pickled class tells it",
    )
    parser.add_argument(
        "--config", type=Path, metavar="JSON", help="NVIDIA's config.json, where its mel is not the usual one"
    )
    parser.add_argument("--name", help="what the voice is called; as SRC if not given")
    parser.add_argument("--licence", default="unknown", help="of the weights; unknown if not given")
    parser.add_argument(
        "--temperature", type=float, metavar="X", help="scale of the noise; its authors' if not given"
    )
    parser.add_argument("--half", action="store_true", help="store weights in half precision")
    options.add_json(parser)
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> None:
    """Make a voice of a WaveGlow of NVIDIA's (waveglow, DeepLearningExamples, NeMo), or a SqueezeWave.

    No code of the file is run.
    """
    from vocoder.importer import import_checkpoint

    if asked.report:
        _report(asked)
        return
    imported = import_checkpoint(asked.source, alternate_halves=asked.alternate_halves, config=asked.config)
    header = imported.save(
        asked.out,
        name=asked.name,
        licence=asked.licence,
        temperature=asked.temperature,
        half=asked.half,
    )
    if asked.json:
        options.print_json(imported.report.to_dict())
    else:
        _tell(asked.out, header, imported.report)


def _report(asked: argparse.Namespace) -> None:
    """Print the report; a file that cannot be imported is a failure all the same."""
    from vocoder.importer import report

    told = report(asked.source, alternate_halves=asked.alternate_halves, config=asked.config)
    if asked.json:
        options.print_json(told.to_dict())
    else:
        sys.stdout.write(told.to_text())
    if told.problem:
        raise CheckpointError(f"{asked.source} {told.problem}")


def _tell(out: Path, header: "Header", told: "Report") -> None:
    print(f"{out}: {header.name}, {told.parameters} parameters, temperature {header.temperature:g}")
    print(f"layout {told.layout}; weight norm {told.weight_norm}; licence {header.licence}")
    for note in [*told.notes, *(f"dropped {name}" for name in told.dropped)]:
        print(f"vocoder: note: {note}", file=sys.stderr)
