"""What the service answers, and how each answer is read."""

import base64
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Self

import httpx2
import numpy as np

from vocoder.client.failures import IncompleteAudio, UnexpectedAnswer
from vocoder.client.samples import Samples, read_samples

__all__ = [
    "Audio",
    "Heading",
    "Model",
    "Score",
    "expected",
    "read_array",
    "read_models",
    "read_score",
    "whole",
]


@dataclass(frozen=True, kw_only=True)
class Heading:
    """What is known of audio before its first byte.

    Attributes:
        format: the format that was asked for.
        media_type: its MIME type.
        sample_rate: hertz.
        samples: how many the audio has, codec padding aside.
        duration: seconds.
        seed: of the noise; with the same mel and model it gives the same audio again.
        temperature: scale of the noise.
        model: the model's name.
        request_id: what the service's log calls the request.
    """

    format: str
    media_type: str
    sample_rate: int
    samples: int
    duration: float
    seed: int
    temperature: float | None = None
    model: str | None = None
    request_id: str | None = None

    @classmethod
    def of(cls, response: httpx2.Response, name: str) -> Self:
        """Read off the headers of an answer; `UnexpectedAnswer` where one that all have is missing."""
        with expected(response):
            return cls(
                format=name,
                media_type=response.headers["content-type"],
                sample_rate=int(response.headers["x-sample-rate"]),
                samples=int(response.headers["x-audio-samples"]),
                duration=float(response.headers["x-audio-duration"]),
                seed=int(response.headers["x-seed"]),
                temperature=_number(response, "x-temperature"),
                model=response.headers.get("x-model"),
                request_id=response.headers.get("x-request-id"),
            )


@dataclass(frozen=True, kw_only=True)
class Audio(Heading):
    """Audio, whole: the bytes of a file in `format`, and the seconds that it took the service."""

    content: bytes = field(repr=False)
    queue_seconds: float | None = None
    inference_seconds: float | None = None
    total_seconds: float | None = None

    def array(self) -> Samples:
        """The samples `[T]`, float32, full scale 1; `ValueError` for a compressed format."""
        return read_samples(self.content, self.format)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the file."""
        Path(path).write_bytes(self.content)

    @classmethod
    def read(cls, response: httpx2.Response, name: str) -> "Audio":
        """One answer of audio, its body read."""
        known = vars(Heading.of(response, name))
        return cls(**known, content=response.content, **_timings(response))

    @classmethod
    def read_list(cls, response: httpx2.Response, name: str) -> "list[Audio]":
        """One answer to a batch, in the order of the mels."""
        shared: dict[str, Any] = {
            "format": name,
            "temperature": _number(response, "x-temperature"),
            "model": response.headers.get("x-model"),
            "request_id": response.headers.get("x-request-id"),
            **_timings(response),
        }
        with expected(response):
            told = response.json()
            clips = sorted(told["data"], key=lambda clip: int(clip["index"]))
            return [cls._of_clip(clip, sample_rate=told["sample_rate"], **shared) for clip in clips]

    @classmethod
    def _of_clip(cls, clip: Mapping[str, Any], **shared: Any) -> "Audio":
        own = {name: clip[name] for name in ("media_type", "samples", "duration", "seed")}
        return cls(content=base64.b64decode(clip["audio"], validate=True), **own, **shared)


@dataclass(frozen=True, kw_only=True)
class Score:
    """The exact log-likelihood of a recording under a model, and, if asked for, of each of its frames."""

    model: str
    nats_per_sample: float
    samples: int
    frames: tuple[float, ...] | None


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model that the service has; `card` is everything that it says of it, the mel spec included."""

    id: str
    card: Mapping[str, Any] = field(repr=False)

    @property
    def sample_rate(self) -> int:
        """Hertz, of its audio where no other rate is asked for."""
        return int(self.card["sample_rate"])

    @property
    def mel(self) -> Mapping[str, float]:
        """The mel spec: every number that a mel has to be made with."""
        return dict(self.card["mel"])

    @property
    def mel_digest(self) -> str:
        """SHA-256 of the mel spec."""
        return str(self.card["mel_digest"])


@contextmanager
def whole(response: httpx2.Response, promised: int | None) -> Iterator[None]:
    """Around reading a body: it has to come to its end, and to so many bytes where a number was promised.

    Otherwise it is `IncompleteAudio`.
    """
    try:
        yield
    except (httpx2.TransportError, httpx2.DecodingError) as error:
        raise _broken_off(response, promised, str(error) or type(error).__name__) from error
    if promised not in (None, response.num_bytes_downloaded):
        raise _broken_off(response, promised, "the end came early")


def _broken_off(response: httpx2.Response, promised: int | None, why: str) -> IncompleteAudio:
    received = response.num_bytes_downloaded
    return IncompleteAudio(
        f"the answer broke off after {received} of {promised or 'unknown'} bytes: {why}",
        received=received,
        expected=promised,
        retriable=True,
        status=response.status_code,
        request_id=response.headers.get("x-request-id"),
    )


@contextmanager
def expected(response: httpx2.Response) -> Iterator[None]:
    """Around reading an answer: whatever is missing or odd about it is an `UnexpectedAnswer`."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UnexpectedAnswer(
            f"the answer (HTTP {response.status_code}) is none that this client knows: {error!r:.200}",
            status=response.status_code,
            request_id=response.headers.get("x-request-id"),
        ) from error


def read_array(response: httpx2.Response) -> Samples:
    """A `.npy` answer."""
    with expected(response):
        return np.asarray(np.load(io.BytesIO(response.content), allow_pickle=False))


def read_score(response: httpx2.Response) -> Score:
    """The answer of `/v1/score`."""
    with expected(response):
        told = response.json()
        frames = told.get("frames")
        return Score(
            model=str(told["model"]),
            nats_per_sample=float(told["nats_per_sample"]),
            samples=int(told["samples"]),
            frames=None if frames is None else tuple(float(nats) for nats in frames),
        )


def read_models(response: httpx2.Response) -> list[Model]:
    """The answer of `/v1/models`."""
    with expected(response):
        return [Model(id=str(card["id"]), card=card) for card in response.json()["data"]]


def _timings(response: httpx2.Response) -> dict[str, Any]:
    names = ("queue", "inference", "total")
    return {f"{name}_seconds": _number(response, f"x-{name}-time") for name in names}


def _number(response: httpx2.Response, name: str) -> float | None:
    with expected(response):
        text = response.headers.get(name)
        return None if text is None else float(text)
