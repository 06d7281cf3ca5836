"""A writer for every format; none of them looks back, so that all of them stream."""

from vocoder.audio.formats import Format
from vocoder.audio.pcm import PcmWriter, WavWriter, Writer

__all__ = ["open_writer"]


def open_writer(name: Format, sample_rate: int, samples: int | None) -> Writer:
    """Begin a file of `samples` samples, None for any number, at a rate that the format has."""
    if name == "pcm":
        return PcmWriter(sample_rate, samples)
    if name in ("wav", "wav_f32"):
        return WavWriter(sample_rate, samples, floats=name == "wav_f32")
    if name == "aac":
        from vocoder.audio.aac import AacWriter

        return AacWriter(sample_rate, samples)
    from vocoder.audio.sndfile import SndfileWriter

    return SndfileWriter(name, sample_rate, samples)
