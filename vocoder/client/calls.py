"""What is asked of the service: each call as one value, the same for both clients and for every try.

A call holds all of its bytes and its seed, so that trying it again asks for the very same thing.
"""

import io
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Generic, Literal, TypeAlias, TypedDict, TypeVar, Unpack

import httpx2
import numpy as np

from vocoder.client.answers import Audio, Model, Score, expected, read_array, read_models, read_score
from vocoder.client.failures import InvalidMelError
from vocoder.client.samples import Samples

__all__ = [
    "AudioFile",
    "Call",
    "Format",
    "Wishes",
    "list_models",
    "measure",
    "probe",
    "score",
    "vocode",
    "vocode_batch",
    "vocode_stream",
]

T = TypeVar("T")

Layout = Literal["ML", "LM"]
Format = Literal["wav", "wav_f32", "flac", "mp3", "opus", "aac", "pcm"]
AudioFile: TypeAlias = bytes | str | PathLike[str] | Audio
Spec: TypeAlias = Mapping[str, float] | str
Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

NPY, ANY = "application/x-npy", "application/octet-stream"


class Wishes(TypedDict, total=False):
    """What may be asked along with a mel.

    Attributes:
        seed: of the noise, 0 or more; drawn by the client if not given, so that every try is one request.
        temperature: scale of the noise, 0 to 2; the model's own if not given.
        denoise: how much of what the voice hums is taken off, 0 to 1.
        format: `wav` (16 bits), `wav_f32`, `flac`, `mp3`, `opus`, `aac` or `pcm`.
        sample_rate: hertz of the audio; the model's own if not given, or the nearest that the format has.
        model: name of a model; the service's default if not given.
        layout: `ML` if the mel is [bands, frames], `LM` if it is [frames, bands].
        spec: what the mel was made with, to be held against the model's: a mel spec's fields, or its digest.
    """

    seed: int | None
    temperature: float | None
    denoise: float | None
    format: Format
    sample_rate: int | None
    model: str | None
    layout: Layout
    spec: Spec | None


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, and how its answer is read."""

    method: str
    path: str
    parse: Callable[[httpx2.Response], T]
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    files: Mapping[str, tuple[str, bytes, str]] | None = None
    format: Format = "wav"

    def promised(self, response: httpx2.Response) -> int | None:
        """How many bytes the body of the answer has to have; None where that is not known.

        Raw samples are promised by their number where no length is given.
        """
        with expected(response):
            if (length := response.headers.get("content-length")) is not None:
                return int(length)
            raw = response.headers.get("content-type", "").startswith("audio/pcm")
            return 2 * int(response.headers["x-audio-samples"]) if raw else None


def vocode(mel: Any, **wishes: Unpack[Wishes]) -> Call[Audio]:
    """One mel of two dimensions → audio. Raises `InvalidMelError` for what no model would take."""
    return _rendering(Audio.read, _floating(mel), **wishes)


def vocode_stream(mel: Any, **wishes: Unpack[Wishes]) -> Call[Audio]:
    """The same, as it is made."""
    call = vocode(mel, **wishes)
    return replace(call, query={**call.query, "stream": "true"})


def vocode_batch(mels: Any, **wishes: Unpack[Wishes]) -> Call[list[Audio]]:
    """Mels of one shape, as a list of them or one array of three dimensions → audio for each."""
    clips = [_floating(mel) for mel in mels]
    if len({clip.shape for clip in clips}) != 1:
        shapes = ", ".join(sorted({str([*clip.shape]) for clip in clips}))[:200] or "none"
        raise _not_a_mel(f"mels must be of one shape, and are of {shapes}; send others by themselves")
    return _rendering(Audio.read_list, np.stack(clips), **wishes)


def _rendering(
    read: Callable[[httpx2.Response, str], T],
    mel: Array,
    *,
    seed: int | None = None,
    temperature: float | None = None,
    denoise: float | None = None,
    format: Format = "wav",  # noqa: A002  # the word that people know
    sample_rate: int | None = None,
    model: str | None = None,
    layout: Layout = "ML",
    spec: Spec | None = None,
) -> Call[T]:
    wishes = {
        "seed": secrets.randbits(32) if seed is None else seed,
        "temperature": temperature,
        "denoise": denoise,
        "format": format,
        "sample_rate": sample_rate,
        "model": model,
        "layout": layout,
    }
    headers = {"Content-Type": NPY, **_declared(spec)}
    parse = partial(_read_as, read, format)
    return Call("POST", "/v1/vocode", parse, _given(wishes), headers, _npy(mel), format=format)


def _read_as(read: Callable[[httpx2.Response, str], T], name: str, response: httpx2.Response) -> T:
    return read(response, name)


def measure(audio: AudioFile, *, model: str | None = None, layout: Layout = "ML") -> Call[Samples]:
    """A file of audio → its mel."""
    query = _given({"model": model, "layout": layout})
    return Call("POST", "/v1/mel", read_array, query, {"Content-Type": ANY}, _file(audio))


def score(
    audio: AudioFile, mel: Any = None, *, model: str | None = None, frames: bool = False
) -> Call[Score]:
    """A file of audio, and the mel it is judged against if that is not its own → its likelihood."""
    files = {"audio": ("audio", _file(audio), ANY)}
    if mel is not None:
        files["mel"] = ("mel.npy", _npy(_floating(mel)), NPY)
    return Call(
        "POST", "/v1/score", read_score, _given({"model": model, "frames": frames or None}), files=files
    )


def list_models() -> Call[list[Model]]:
    """What models there are."""
    return Call("GET", "/v1/models", read_models)


def probe() -> Call[bool]:
    """Whether the service takes requests."""
    return Call("GET", "/health/ready", lambda response: response.is_success)


def _given(query: Mapping[str, object]) -> dict[str, str]:
    """The parameters that were given, as text; a boolean is in lower case."""
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in query.items()
        if value is not None
    }


def _declared(spec: Spec | None) -> dict[str, str]:
    if spec is None:
        return {}
    return {"X-Mel-Digest": spec} if isinstance(spec, str) else {"X-Mel-Spec": json.dumps(dict(spec))}


def _floating(mel: Any) -> Array:
    """A mel as an array that can be sent: float16 stays, any other floating type becomes float32."""
    if hasattr(mel, "detach"):  # a tensor, wherever it is; it takes no torch to say so
        mel = mel.detach().cpu()
    try:
        array = np.asarray(mel)
    except (TypeError, ValueError) as error:
        raise _not_a_mel(f"mel cannot be read as an array: {error!s:.200}") from error
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        raise _not_a_mel(
            f"mel must be floating point of two dimensions, and is {array.dtype} {[*array.shape]}"
        )
    with np.errstate(over="ignore"):  # what becomes infinite is refused there, its frame and band named
        return array if array.dtype == np.float16 else array.astype(np.float32)


def _npy(array: Array) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(array), allow_pickle=False)
    return file.getvalue()


def _file(audio: AudioFile) -> bytes:
    if isinstance(audio, Audio):
        return audio.content
    return audio if isinstance(audio, bytes) else Path(audio).read_bytes()


def _not_a_mel(words: str) -> InvalidMelError:
    return InvalidMelError(words, code="invalid_mel", param="mel")
