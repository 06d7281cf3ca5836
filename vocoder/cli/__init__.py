"""The `vocoder` command. A command imports what it needs when it runs, so that `vocoder --help` is quick.

```
mel   vocode                         sound.py     audio and mels
score                                weigh.py     how likely a recording is, and why not more
voices   inspect                     voice.py     what voices there are, and what is in one
import                               importing.py other people's checkpoints as voices
train   evaluate                     learning.py  recordings in, a voice or a table out
flows                                flows.py     densities of images: NICE, RealNVP, Glow
bench                                bench.py     how fast
serve                                here         the HTTP service
```

Results go to standard output or where `-o` says, everything else to standard error. The exit status is 0 for
success, 1 for a failure, told in one line, 2 for a command line that is not understood.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from vocoder import __version__
from vocoder.cli import bench, flows, importing, learning, options, sound, voice, weigh
from vocoder.errors import InvalidConfig, VocoderError

__all__ = ["build_parser", "main"]


def build_parser() -> argparse.ArgumentParser:
    """The grammar of the command line; what it parses has a `run`, which takes it.

    >>> build_parser().parse_args(["vocode", "hello.npy", "-o", "hello.wav", "--seed", "7"]).seed
    7
    """
    parser = argparse.ArgumentParser(
        prog="vocoder",
        description="Log-mel spectrograms in, speech out, and back.",
        epilog="`vocoder COMMAND --help` tells the rest.",
    )
    parser.add_argument("--version", action="version", version=f"flow-vocoder {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for family in (sound, weigh, voice, importing, learning, flows, bench):
        family.add_commands(commands)
    _add_serve(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status; one that is not understood is `SystemExit(2)`."""
    asked = build_parser().parse_args(argv)
    try:
        with options.plain_warnings():
            asked.run(asked)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at exit fails once more
        return 1
    except (VocoderError, OSError) as error:
        print("vocoder: error:", *_words(error).split(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # what a shell reports for SIGINT
    return 0


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _add_serve(commands: options.Commands) -> None:
    parser = commands.add_parser("serve", help="serve a voice over HTTP", description=_serve.__doc__)
    parser.add_argument("--config", metavar="FILE", help="TOML file of settings")
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=int, help="port to listen on")
    parser.add_argument("--checkpoint", dest="voice", metavar="VOICE", help="name of a voice, or a file")
    options.add_device(parser)
    parser.set_defaults(run=_serve)


def _serve(asked: argparse.Namespace) -> None:
    """Serve until a signal ends it. Every setting is an environment variable as well: `VOCODER_PORT` …"""
    with options.extra("server"):
        from server.run import serve
        from server.settings import Settings
    given = {name: getattr(asked, name) for name in ("config", "host", "port", "voice", "device")}
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValueError as error:
        told = [line for line in str(error).splitlines() if "For further information" not in line]
        raise InvalidConfig(" ".join(told)) from error
    serve(settings)
