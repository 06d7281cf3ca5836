"""A recording in: its type, its length, its samples and their mel, all of it bounded."""

import torch
from starlette.requests import Request

import vocoder
from server.wire import MelTooLong, UnsupportedMedia, check_encoding, media_type
from vocoder import LogMel, MelSpec

__all__ = ["DOCUMENTED", "MEDIA_TYPES", "check_type", "listen", "mel_of"]

DOCUMENTED = ("audio/wav", "audio/flac", "audio/mpeg", "audio/ogg", "application/octet-stream")
MEDIA_TYPES = (
    *DOCUMENTED,
    "application/ogg",
    "audio/aiff",
    "audio/mp3",
    "audio/opus",
    "audio/vnd.wave",
    "audio/wave",
    "audio/x-aiff",
    "audio/x-flac",
    "audio/x-wav",
)


def check_type(request: Request) -> None:
    """Raise `UnsupportedMedia` unless the content type is one of `MEDIA_TYPES`, and nothing is compressed.

    Other names of the documented types will do, and the file itself says what it is.
    """
    check_encoding(request)
    if media_type(request) not in MEDIA_TYPES:
        raise UnsupportedMedia(f"content-type must be one of {', '.join(DOCUMENTED)}")


def listen(data: bytes | bytearray, spec: MelSpec, max_frames: int) -> torch.Tensor:
    """The samples `[T]` of an audio file, float32, mono, at the rate of the spec; not for the event loop.

    Raises `InvalidAudio` for what is no audio or is longer than `max_frames` last, `MelTooLong` where its mel
    would have more frames all the same.
    """
    seconds = spec.samples(max_frames) / spec.sample_rate
    audio = vocoder.audio.decode(bytes(data), spec.sample_rate, max_seconds=seconds)
    if (frames := spec.frames(len(audio))) > max_frames:
        came = f"audio has a mel of {frames} frames"
        raise MelTooLong(f"{came}, at most {max_frames} ({seconds:.3g} s) are accepted")
    return audio


def mel_of(audio: torch.Tensor, spec: MelSpec) -> torch.Tensor:
    """The log-mel `[M, L]` of samples `[T]`, float32; raises `InvalidAudio` where they are too few."""
    return LogMel(spec)(audio[None])[0]
