"""What several commands share: options that mean the same everywhere, JSON, and the extras."""

import argparse
import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vocoder.errors import MelWarning, VocoderError

if TYPE_CHECKING:
    from vocoder.synthesis import Vocoder

Commands = Any  # what add_subparsers returns has no public type


def add_voice(parser: argparse.ArgumentParser) -> None:
    """`--checkpoint`: which voice."""
    parser.add_argument(
        "--checkpoint",
        default="default",
        metavar="VOICE",
        help="name of a voice (see `vocoder voices`), or a checkpoint file; the default voice if not given",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """`--device`: where to compute."""
    parser.add_argument("--device", help="cpu, cuda or cuda:N; a GPU if there is one and this is not given")


def add_noise(parser: argparse.ArgumentParser) -> None:
    """`--seed` and `--temperature`, which WaveGlow calls `--sigma`."""
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the noise; same seed, same audio"
    )
    scale = parser.add_mutually_exclusive_group()
    told = "scale of the noise, 0 … 2; the voice's own if not given"
    scale.add_argument("--temperature", type=float, metavar="X", help=told)
    scale.add_argument("--sigma", type=float, dest="temperature", metavar="X", help="the same")


def add_denoise(parser: argparse.ArgumentParser) -> None:
    """`--denoise`: how much of the voice's tones is taken off."""
    told = "share of the voice's tones to take off, 0 … 1; nothing if not given"
    parser.add_argument("--denoise", type=float, default=0.0, metavar="X", help=told)


def add_convention(parser: argparse.ArgumentParser) -> None:
    """`--convention` and `--stats`: what a mel was written in, if not as ours are."""
    told = "what MEL is written in: log10, db, symmetric, hifigan, …; ours if not given, which is ln"
    parser.add_argument("--convention", metavar="NAME", help=told)
    told = "mean and deviation of its bands, where MEL is standardised: .npy [2, bands], or .npz"
    parser.add_argument("--stats", metavar="FILE", help=told)


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`: for machines."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def load_voice(asked: argparse.Namespace) -> "Vocoder":
    """The voice that `--checkpoint` names, on `--device`."""
    from vocoder.synthesis import Vocoder

    return Vocoder.load(asked.checkpoint, device=asked.device)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Tell what a mel looks like in one line, each time; no error of a command, even with `-W error`."""
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, MelWarning):
            print("vocoder: warning:", message, file=sys.stderr)
        else:
            shown(message, category, *where, **more)

    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=MelWarning)
        warnings.showwarning = show
        yield


def print_json(value: object) -> None:
    """Print to standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Say which extra brings a library that is missing inside this block."""
    try:
        yield
    except ImportError as error:
        library = (error.name or "").partition(".")[0]
        if library in ("vocoder", "server"):
            raise
        command = f'pip install "flow-vocoder[{name}]"'
        told = f"{library} is missing; it comes with: {command}" if library else str(error)
        raise VocoderError(told) from error
