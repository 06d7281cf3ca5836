"""The shore: files and bytes on one side, mono samples `[T]` on the other.

Reads what libsndfile reads (WAV, FLAC, Ogg Vorbis and Opus, MP3, AIFF and more); writes `FORMATS`, whole or
as the samples come. A sample is a float, nominally within -1 … 1. The length of audio is kept exactly, and
resampling makes ceil(T · to / from) of T samples. The same audio is encoded to the same bytes every time,
however it is cut.
"""

from vocoder.audio.codec import Encoder, encode, encode_stream
from vocoder.audio.files import Place, decode, load, save, save_stream
from vocoder.audio.formats import FORMATS, AudioFormat, Format
from vocoder.audio.signal import LEVEL, Resampler, at_level, resample

__all__ = [
    "FORMATS",
    "LEVEL",
    "AudioFormat",
    "Encoder",
    "Format",
    "Place",
    "Resampler",
    "at_level",
    "decode",
    "encode",
    "encode_stream",
    "load",
    "resample",
    "save",
    "save_stream",
]
