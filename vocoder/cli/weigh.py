"""The command that weighs a recording: how likely it is, where, and whether the mel is its own."""

import argparse
import io
import sys
import warnings
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vocoder.cli import options
from vocoder.errors import InvalidInput, InvalidMel, MelWarning

if TYPE_CHECKING:
    from torch import Tensor

    from vocoder.synthesis import Mel, Vocoder

__all__ = ["add_commands"]

Found = Iterator[tuple[str, Any, str]]  # a name and a value for JSON, and a line of words


def add_commands(commands: options.Commands) -> None:
    """Add `score`."""
    parser = commands.add_parser("score", help="exact likelihood of a recording", description=score.__doc__)
    parser.add_argument("audio", metavar="AUDIO", help="audio file, - for standard input")
    parser.add_argument("mel", metavar="MEL", nargs="?", help="its mel, or -; that of AUDIO if not given")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the dequantisation noise")
    told = "write the nats per sample of each frame to a .npy file; or to -, and nothing else"
    parser.add_argument("--frames", metavar="OUT", help=told)
    told = "tell whether the mel is that of AUDIO, or what it looks like, and how well AUDIO → z → AUDIO is"
    parser.add_argument("--diagnose", action="store_true", help=told)
    options.add_convention(parser)
    options.add_voice(parser)
    options.add_device(parser)
    options.add_json(parser)
    parser.set_defaults(run=score)


def score(asked: argparse.Namespace) -> None:
    """Print the exact log-likelihood of a recording given its mel, in nats per sample; higher is better."""
    _check(asked)
    from vocoder import audio

    voice = options.load_voice(asked)
    samples = audio.load(asked.audio, voice.spec.sample_rate)
    log_mel = _mel(asked, voice, samples)
    weigh = _diagnose if asked.diagnose else _score
    found = list(weigh(voice, samples, log_mel, asked.seed))
    if asked.frames:
        with suppress(InvalidMel) if asked.diagnose else nullcontext():  # what was said of it is the answer
            _write(asked.frames, voice.score_frames(samples, log_mel, seed=asked.seed))
    if asked.json:
        about = {"samples": len(samples), "voice": voice.name, "seed": asked.seed}
        options.print_json({**{name: value for name, value, _ in found}, **about})
    elif asked.frames != "-":
        print(*(line for _, _, line in found if line), sep="\n")


def _score(voice: "Vocoder", samples: "Tensor", log_mel: "Mel", seed: int) -> Found:
    nats = voice.score(samples, log_mel, seed=seed)
    yield "nats_per_sample", nats, f"{nats:.4f} nats per sample"


def _diagnose(voice: "Vocoder", samples: "Tensor", log_mel: "Mel", seed: int) -> Found:
    from vocoder.diagnosis import diagnose, reconstruction

    diagnosis = diagnose(voice, samples, log_mel, seed=seed)
    with suppress(InvalidMel), warnings.catch_warnings():  # decibels can be diagnosed, if nothing else
        warnings.simplefilter("ignore", MelWarning)  # it says no more than the diagnosis does
        yield from _score(voice, samples, log_mel, seed)
        yield "nats_per_sample_by_frame", voice.score_frames(samples, log_mel, seed=seed).tolist(), ""
        again = reconstruction(voice, samples, log_mel)
        yield "reconstruction", again.to_dict(), again.message
    yield "diagnosis", diagnosis.to_dict(), diagnosis.message


def _check(asked: argparse.Namespace) -> None:
    if asked.mel is None and (asked.convention or asked.stats):
        raise InvalidInput("--convention and --stats tell of MEL, which is not given")
    if asked.audio == asked.mel == "-":
        raise InvalidInput("AUDIO and MEL cannot both be standard input")
    if asked.frames == "-" and (asked.json or asked.diagnose):
        raise InvalidInput("--frames - leaves no room on standard output for --json or --diagnose")
    if asked.frames == "-" and sys.stdout.isatty():
        raise InvalidInput("--frames - would write binary data to this terminal; redirect it")
    if asked.frames and asked.frames != "-" and not asked.frames.endswith(".npy"):
        raise InvalidInput(f"--frames (={asked.frames}) must be a .npy file, or -")


def _mel(asked: argparse.Namespace, voice: "Vocoder", samples: "Tensor") -> "Mel":
    """The mel that was given, or the recording's own."""
    from vocoder.cli import mels
    from vocoder.features import LogMel

    if asked.mel is None:
        return LogMel(voice.spec)(samples[None])[0]
    return mels.read(asked.mel, voice.spec, asked.convention, asked.stats)


def _write(place: str, frames: "Tensor") -> None:
    import numpy as np

    data = io.BytesIO()
    np.save(data, frames.numpy(), allow_pickle=False)
    if place == "-":
        sys.stdout.buffer.write(data.getvalue())
    else:
        Path(place).write_bytes(data.getvalue())
