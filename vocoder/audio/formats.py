"""The formats that audio is written in, one name each: what they are called, carry, and can."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

from vocoder.audio.signal import require_rate
from vocoder.errors import InvalidAudio

__all__ = ["FORMATS", "AudioFormat", "Format", "find_format", "format_of_name"]

Format = Literal["wav", "wav_f32", "flac", "mp3", "opus", "aac", "pcm"]


@dataclass(frozen=True)
class AudioFormat:
    """One way to write mono audio.

    Attributes:
        name: what it is called everywhere: in `encode`, on the command line, in a request.
        about: what it is, in a few words.
        suffixes: of the files that hold it, the usual one first.
        mime: its media type, without what depends on the rate.
        lossless: whether 16-bit samples come back as they were.
        rates: the sample rates that it has, in hertz, rising; None where it has them all.
        extra: the optional dependency of this package without which it cannot be written; None for none.
    """

    name: Format
    about: str
    suffixes: tuple[str, ...]
    mime: str
    lossless: bool = True
    rates: tuple[int, ...] | None = None
    extra: str | None = None

    def media_type(self, sample_rate: int) -> str:
        """For a Content-Type header; raw samples say their rate and their one channel there."""
        return f"{self.mime};rate={sample_rate};channels=1" if self.name == "pcm" else self.mime

    def rate_for(self, sample_rate: int, out_rate: int | None = None) -> int:
        """The rate that audio of `sample_rate` hertz is written at: `out_rate`, or the best there is.

        Without an `out_rate` that is the audio's own, or, where the format has not got that, the next higher
        one, which loses nothing: speech of 22050 Hz is Opus of 24000 Hz. Raises `InvalidAudio` for an
        `out_rate` that the format has not got.

        >>> FORMATS["opus"].rate_for(22050)
        24000
        """
        wanted = sample_rate if out_rate is None else out_rate
        require_rate(sample_rate)
        require_rate(wanted)
        if self.rates is None or wanted in self.rates:
            return wanted
        if out_rate is not None:
            raise InvalidAudio(f"sample rate (={out_rate}) must be one of {self.rates} for {self.name}")
        return next((rate for rate in self.rates if rate >= sample_rate), self.rates[-1])


_MP3 = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_OPUS = (8000, 12000, 16000, 24000, 48000)
_AAC = (7350, *_MP3, 64000, 88200, 96000)

FORMATS: Mapping[str, AudioFormat] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            AudioFormat("wav", "16-bit WAV", (".wav", ".wave"), "audio/wav"),
            AudioFormat("wav_f32", "32-bit float WAV", (), "audio/wav"),
            AudioFormat("flac", "16-bit FLAC, lossless", (".flac",), "audio/flac"),
            AudioFormat("mp3", "MP3", (".mp3",), "audio/mpeg", lossless=False, rates=_MP3),
            AudioFormat(
                "opus",
                "Opus in Ogg",
                (".opus", ".ogg"),
                "audio/ogg; codecs=opus",
                lossless=False,
                rates=_OPUS,
            ),
            AudioFormat(
                "aac", "AAC in ADTS", (".aac",), "audio/aac", lossless=False, rates=_AAC, extra="codecs"
            ),
            AudioFormat("pcm", "raw 16-bit little-endian samples", (".pcm", ".raw"), "audio/pcm"),
        )
    }
)


def find_format(name: str) -> AudioFormat:
    """The format of that name, or `InvalidAudio` that names them all."""
    if name not in FORMATS:
        raise InvalidAudio(f"format (={name!r}) must be one of {get_args(Format)}")
    return FORMATS[name]


def format_of_name(file: str) -> AudioFormat:
    """The format that a file of that name should have, by its suffix; WAV for any other."""
    kinds = (kind for kind in FORMATS.values() if file.lower().endswith(kind.suffixes))
    return next((kind for kind in kinds if kind.suffixes), FORMATS["wav"])
