"""FLAC, MP3 and Opus by libsndfile, into a file that is read as it is written.

libsndfile means to go back at the end and put right what it could not know at the beginning. What has been
sent cannot be put right, so the beginning is made right at once, with what we know, and going back does
nothing:

    FLAC  the number of samples, which is said if it is known; no checksum of the whole, which is optional
    MP3   the first frame, which is silence or says how many samples of the rest are the audio's
    Opus  the serial number, which is drawn by lot, in every page: here it is always 1
"""

import io
import struct
import zlib
from typing import Any

import soundfile
from torch import Tensor

from vocoder.audio.pcm import pcm16
from vocoder.errors import InvalidAudio

__all__ = ["SndfileWriter"]

BLOCK = 2**14  # samples handed over at once: libsndfile has buffers on its stack
PAGE_MS = 100.0  # of Opus; libsndfile's own second is a long time to wait for the first sound
KINDS = {
    "flac": {"format": "FLAC", "subtype": "PCM_16"},
    "mp3": {"format": "MP3", "subtype": "MPEG_LAYER_III"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
}
MP3_RATES = (  # from which sample rate on: kbit/s; the least and the most there are
    (32000, (128, 32, 320)),
    (16000, (64, 8, 160)),
    (0, (32, 8, 64)),
)
OPUS_LEVEL = 0.83  # 48 kbit/s or so
MP3_DELAY = 576  # samples that LAME puts before the audio; a decoder knows of its own 529


class _Sink(io.RawIOBase):
    """A file that keeps what is appended until it is taken, and forgets what is written over."""

    def __init__(self) -> None:
        self.place = self.size = 0
        self.writes: list[bytes] = []

    def write(self, data: Any) -> int:
        data = bytes(data)
        if self.place == self.size:
            self.writes.append(data)
            self.size += len(data)
        self.place += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        self.place = offset + (0, self.place, self.size)[whence]
        return self.place

    def tell(self) -> int:
        return self.place


class SndfileWriter:
    """A FLAC, MP3 or Opus file at one of its rates."""

    total_bytes: int | None = None  # they depend on the audio

    def __init__(self, name: str, sample_rate: int, samples: int | None) -> None:
        """Raises `InvalidAudio` for a rate that cannot be written."""
        self.name, self.sample_rate, self.samples = name, sample_rate, samples
        self._sink = _Sink()
        self._begun = False
        if name == "flac" and (sample_rate > 655350 or (sample_rate >= 2**16 and sample_rate % 10)):
            raise InvalidAudio(f"cannot be written as FLAC at {sample_rate} Hz")
        self._file = soundfile.SoundFile(
            self._sink, "w", sample_rate, 1, **KINDS[name], **_quality(name, sample_rate)
        )
        if name == "opus":
            _set_page_latency(self._file, PAGE_MS)

    def push(self, audio: Tensor) -> bytes:
        """What libsndfile has written after these samples `[T]`."""
        data = pcm16(audio) if self.name == "flac" else audio.float().clamp(-1, 1).numpy()
        for start in range(0, len(data), BLOCK):
            self._file.write(data[start : start + BLOCK])
        return self._taken()

    def finish(self) -> bytes:
        """What libsndfile writes at the end."""
        self._file.close()
        return self._taken()

    def close(self) -> None:
        """Free the encoder."""
        self._file.close()

    def _taken(self) -> bytes:
        writes, self._sink.writes = self._sink.writes, []
        if writes and not self._begun:
            self._begun, writes = True, self._beginning(writes)
        data = b"".join(writes)
        return _with_serial(data, 1) if self.name == "opus" else data

    def _beginning(self, writes: list[bytes]) -> list[bytes]:
        """What should have been written first."""
        if self.name == "flac" and self.samples is not None:
            magic, about, *others = writes
            return [magic, _with_length(about, self.samples), *others]
        if self.name == "mp3":
            silent, *others = writes
            return others if self.samples is None else [_info_frame(silent, self.samples), *others]
        return writes


def _quality(name: str, sample_rate: int) -> dict[str, Any]:
    """Settings of the encoder."""
    if name == "opus":
        return {"compression_level": OPUS_LEVEL}
    if name == "flac":
        return {}
    kilobits, least, most = next(rates for floor, rates in MP3_RATES if sample_rate >= floor)
    return {"bitrate_mode": "CONSTANT", "compression_level": (most - kilobits) / (most - least)}


def _with_length(about: bytes, samples: int) -> bytes:
    """A FLAC's STREAMINFO with the number of samples in its place, 36 bits after the four of the width."""
    return about[:17] + bytes([about[17] & 0xF0 | samples >> 32]) + (samples % 2**32).to_bytes(4) + about[22:]


def _info_frame(silent: bytes, samples: int) -> bytes:
    """The silent first frame of an MP3, made to say which samples of the others are the audio's."""
    mpeg1 = silent[1] & 8
    side, per_frame = (17, 1152) if mpeg1 else (9, 576)
    frames = -(-(samples + 2 * MP3_DELAY) // per_frame)  # LAME pads by as many as that at the least
    padding = frames * per_frame - MP3_DELAY - samples
    says_frames = struct.pack(">4sII", b"Info", 1, frames)
    lame = struct.pack(">9sB11x3s", b"LAME3.100", 1, (MP3_DELAY << 12 | padding).to_bytes(3, "big"))
    return (silent[:4] + bytes(side) + says_frames + lame).ljust(len(silent), b"\0")


def _with_serial(pages: bytes, serial: int) -> bytes:
    """Whole Ogg pages, as pages of another stream."""
    made, start = bytearray(pages), 0
    while start < len(made):
        segments = made[start + 26]
        end = start + 27 + segments + sum(made[start + 27 : start + 27 + segments])
        made[start + 14 : start + 18] = serial.to_bytes(4, "little")
        made[start + 22 : start + 26] = bytes(4)
        made[start + 22 : start + 26] = _ogg_checksum(bytes(made[start:end])).to_bytes(4, "little")
        start = end
    return bytes(made)


REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _ogg_checksum(page: bytes) -> int:
    """Ogg's CRC is zlib's read from the other end of every byte, and begun and ended with zero."""
    backwards = zlib.crc32(page.translate(REVERSED), 2**32 - 1) ^ (2**32 - 1)
    return int(f"{backwards:032b}"[::-1], 2)


def _set_page_latency(file: soundfile.SoundFile, milliseconds: float) -> None:
    """libsndfile's SFC_SET_OGG_PAGE_LATENCY_MS, for which soundfile has no word."""
    value = soundfile._ffi.new("double *", milliseconds)
    soundfile._snd.sf_command(file._file, 0x1302, value, soundfile._ffi.sizeof("double"))
