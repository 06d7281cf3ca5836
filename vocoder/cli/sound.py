"""Commands that turn audio into mels, mels into audio, and weigh the one against the other."""

import argparse
import sys
from typing import TYPE_CHECKING

from vocoder.cli import options
from vocoder.errors import InvalidInput

if TYPE_CHECKING:
    from vocoder.audio import Format, Subtype

__all__ = ["add_commands"]

FORMATS: "dict[str | None, tuple[Format | None, Subtype]]" = {
    None: (None, "pcm16"),  # as the file is called
    "wav": ("wav", "pcm16"),
    "wav_f32": ("wav", "float32"),
    "flac": ("flac", "pcm16"),
}


def add_commands(commands: options.Commands) -> None:
    """Add `mel`, `vocode` and `score`."""
    _add_mel(commands)
    _add_vocode(commands)
    _add_score(commands)


def _add_mel(commands: options.Commands) -> None:
    parser = commands.add_parser("mel", help="compute the mel of a recording", description=mel.__doc__)
    parser.add_argument("audio", metavar="IN", help="audio file of any rate, - for standard input")
    parser.add_argument("-o", "--out", required=True, metavar="OUT", help=".npy or .safetensors file, or -")
    options.add_voice(parser)
    parser.set_defaults(run=mel)


def _add_vocode(commands: options.Commands) -> None:
    parser = commands.add_parser("vocode", help="speak a mel", description=vocode.__doc__)
    parser.add_argument("mel", metavar="MEL", help=".npy or .safetensors file [bands, frames], or -")
    parser.add_argument("-o", "--out", required=True, metavar="OUT", help="audio file, - for standard output")
    options.add_noise(parser)
    options.add_voice(parser)
    options.add_device(parser)
    kinds = [name for name in FORMATS if name]
    parser.add_argument(
        "--format", choices=kinds, help="16-bit, 32-bit float, FLAC; told by OUT if not given"
    )
    parser.set_defaults(run=vocode)


def _add_score(commands: options.Commands) -> None:
    parser = commands.add_parser("score", help="exact likelihood of a recording", description=score.__doc__)
    parser.add_argument("audio", metavar="AUDIO", help="audio file, - for standard input")
    parser.add_argument("mel", metavar="MEL", help="its mel, or -")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the dequantisation noise")
    options.add_voice(parser)
    options.add_device(parser)
    options.add_json(parser)
    parser.set_defaults(run=score)


def mel(asked: argparse.Namespace) -> None:
    """Compute the log-mel spectrogram [bands, frames] of a recording, resampled to what the voice wants."""
    _refuse_terminal(asked.out)
    from vocoder import audio, checkpoint, voices
    from vocoder.cli import mels
    from vocoder.features import LogMel, MelSpec

    spec = MelSpec.from_dict(checkpoint.inspect(voices.find(asked.checkpoint))["mel"])
    samples = audio.load(asked.audio, spec.sample_rate)
    mels.write(asked.out, LogMel(spec)(samples[None])[0].numpy())


def vocode(asked: argparse.Namespace) -> None:
    """Speak a log-mel spectrogram: frames × hop samples of audio."""
    _refuse_terminal(asked.out)
    from vocoder import audio
    from vocoder.cli import mels

    log_mel, voice = mels.read(asked.mel), options.load_voice(asked)
    samples = voice(log_mel, seed=asked.seed, temperature=asked.temperature)
    audio.save(asked.out, samples, voice.spec.sample_rate, *FORMATS[asked.format])


def score(asked: argparse.Namespace) -> None:
    """Print the exact log-likelihood of a recording given its mel, in nats per sample; higher is better."""
    if asked.audio == asked.mel == "-":
        raise InvalidInput("AUDIO and MEL cannot both be standard input")
    from vocoder import audio
    from vocoder.cli import mels

    log_mel, voice = mels.read(asked.mel), options.load_voice(asked)
    samples = audio.load(asked.audio, voice.spec.sample_rate)
    nats = voice.score(samples, log_mel, seed=asked.seed)
    if asked.json:
        told = {"nats_per_sample": nats, "samples": len(samples), "voice": voice.name, "seed": asked.seed}
        options.print_json(told)
    else:
        print(f"{nats:.4f} nats per sample")


def _refuse_terminal(out: str) -> None:
    if out == "-" and sys.stdout.isatty():
        raise InvalidInput("-o - would write binary data to this terminal; redirect it, or name a file")
