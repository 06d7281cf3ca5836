"""AAC by FFmpeg, each frame behind an ADTS header: a stream that a player may enter anywhere.

The wheels of PyAV, which bring FFmpeg, hold libraries under the GPL, x264 among them. So PyAV is in an extra
of its own, and nothing but this module imports it.
"""

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from vocoder.errors import InvalidAudio

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext

__all__ = ["AacWriter"]

FRAME = 1024  # samples; the first one holds what the encoder has before the audio
INDEX = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)


class AacWriter:
    """An AAC-LC stream at one of its rates, of 3 bits a sample and at most 128 kbit/s.

    ADTS has no place for the length. T samples are decoded as 1024 others, the T, and what fills the last
    frame: 1024 · ⌈T / 1024⌉ + 1024 in all.
    """

    total_bytes: int | None = None  # they depend on the audio

    def __init__(self, sample_rate: int, samples: int | None) -> None:
        """Raises `InvalidAudio` where the extra `codecs` is not installed."""
        self.sample_rate = sample_rate
        self._codec = _open_codec(sample_rate)
        self._waiting = np.zeros(0, np.float32)
        self._place = 0

    def push(self, audio: Tensor) -> bytes:
        """The frames that are complete after these samples `[T]`."""
        self._waiting = np.concatenate([self._waiting, audio.float().clamp(-1, 1).numpy()])
        ready = len(self._waiting) // FRAME * FRAME
        frames, self._waiting = np.split(self._waiting, [ready])
        return b"".join(self._encode(frame) for frame in frames.reshape(-1, FRAME))

    def finish(self) -> bytes:
        """The frame that is not complete, and those that the encoder has kept."""
        left = self._encode(self._waiting) if len(self._waiting) else b""
        self._waiting = self._waiting[:0]
        return left + self._packets(None)

    def close(self) -> None:
        """The encoder is freed with the writer; there is no more."""

    def _encode(self, samples: np.ndarray) -> bytes:
        import av

        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = self.sample_rate, self._place
        self._place += len(samples)
        return self._packets(frame)

    def _packets(self, frame: object) -> bytes:
        packets = [bytes(packet) for packet in self._codec.encode(frame)]  # type: ignore[arg-type]
        return b"".join(_adts(len(packet), self.sample_rate) + packet for packet in packets)


def _open_codec(sample_rate: int) -> "AudioCodecContext":
    try:
        import av
    except ImportError as error:
        raise InvalidAudio('aac needs the extra codecs: pip install "flow-vocoder[codecs]"') from error
    codec = av.CodecContext.create("aac", "w")
    codec.sample_rate, codec.format, codec.layout = sample_rate, "fltp", "mono"
    codec.bit_rate = min(128_000, 3 * sample_rate)
    codec.options = {"flags": "+bitexact"}  # no name of the encoder in the first frame
    codec.open()
    return codec


def _adts(size: int, sample_rate: int) -> bytes:
    """Of a frame of `size` bytes: MPEG-4, LC, one channel, no checksum, a bit rate that varies."""
    bits = 0xFFF1 << 40 | 1 << 38 | INDEX.index(sample_rate) << 34 | 1 << 30 | (size + 7) << 13 | 0x7FF << 2
    return bits.to_bytes(7)
