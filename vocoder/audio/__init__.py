"""The shore: files and bytes on one side, mono samples `[T]` on the other.

Reads what libsndfile reads (WAV, FLAC, Ogg Vorbis and Opus, MP3, AIFF and more); writes WAV and FLAC. A
sample is a float, nominally within -1 … 1. The length of audio is kept exactly, and resampling makes ceil(T ·
to / from) of T samples. The same audio is encoded to the same bytes every time.
"""

from vocoder.audio.codec import Format, Subtype, encode, encode_stream
from vocoder.audio.files import Place, decode, load, save, save_stream
from vocoder.audio.signal import LEVEL, at_level, resample

__all__ = [
    "LEVEL",
    "Format",
    "Place",
    "Subtype",
    "at_level",
    "decode",
    "encode",
    "encode_stream",
    "load",
    "resample",
    "save",
    "save_stream",
]
