"""Commands that turn audio into mels, and mels into audio."""

import argparse
import sys

from vocoder.cli import options
from vocoder.errors import InvalidInput

__all__ = ["add_commands"]

LONGEST = 4096  # frames, 48 s of the default voice: a longer mel is spoken in pieces, to bound the memory
FORMATS = ("wav", "wav_f32", "flac", "mp3", "opus", "aac", "pcm")  # vocoder.audio's, not loaded for help


def add_commands(commands: options.Commands) -> None:
    """Add `mel` and `vocode`."""
    _add_mel(commands)
    _add_vocode(commands)


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
    options.add_convention(parser)
    options.add_noise(parser)
    options.add_denoise(parser)
    options.add_voice(parser)
    options.add_device(parser)
    _add_chunks(parser)
    _add_format(parser)
    parser.set_defaults(run=vocode)


def _add_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=FORMATS, help="told by the suffix of OUT if not given, else wav")
    parser.add_argument(
        "--sample-rate",
        type=int,
        metavar="HZ",
        help="resample to HZ; if not given, the voice's own rate, or the next that the format has",
    )


def _add_chunks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--chunk-frames",
        type=int,
        metavar="N",
        help=f"speak in chunks of up to N frames, the first one short; {LONGEST} at once if not given",
    )
    parser.add_argument(
        "--halo", type=int, metavar="N", help="frames a chunk hears on each side; exact if not given"
    )


def mel(asked: argparse.Namespace) -> None:
    """Compute the log-mel spectrogram [bands, frames] of a recording, resampled to what the voice wants."""
    _refuse_terminal(asked.out)
    from vocoder import audio, checkpoint, voices
    from vocoder.cli import mels
    from vocoder.features import LogMel, MelSpec

    about = checkpoint.inspect(path := voices.find(asked.checkpoint))
    if about["mel"] is None:
        raise InvalidInput(f"{path} holds a {about['architecture']}, which has no mel; expected a voice")
    spec = MelSpec.from_dict(about["mel"])
    samples = audio.load(asked.audio, spec.sample_rate)
    mels.write(asked.out, LogMel(spec)(samples[None])[0].numpy(), spec)


def vocode(asked: argparse.Namespace) -> None:
    """Speak a log-mel spectrogram: frames × hop samples of audio, of which a part is in memory at a time."""
    _refuse_terminal(asked.out)
    from vocoder import audio
    from vocoder.cli import mels
    from vocoder.streaming import FIRST

    voice = options.load_voice(asked)
    log_mel = mels.read(asked.mel, voice.spec, asked.convention, asked.stats)
    chunks = voice.stream(
        log_mel,
        seed=asked.seed,
        temperature=asked.temperature,
        denoise=asked.denoise,
        chunk_frames=LONGEST if asked.chunk_frames is None else asked.chunk_frames,
        first_frames=LONGEST if asked.chunk_frames is None else FIRST,
        halo=asked.halo,
    )
    samples, rate = voice.spec.samples(log_mel.shape[1]), voice.spec.sample_rate
    audio.save_stream(asked.out, chunks, samples, rate, asked.format, asked.sample_rate)


def _refuse_terminal(out: str) -> None:
    if out == "-" and sys.stdout.isatty():
        raise InvalidInput("-o - would write binary data to this terminal; redirect it, or name a file")
