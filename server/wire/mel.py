"""A mel from a request or a message, and the checks that need all of it."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from starlette.requests import Request

from server.wire import text
from server.wire.body import check_encoding, media_type, read_bytes
from server.wire.files import BY_MEDIA_TYPE, EITHER
from server.wire.refusals import MelSpecMismatch, UnsupportedMedia
from server.wire.shape import Array, Layout, Limits
from vocoder import MelSpec
from vocoder.errors import InvalidConfig, InvalidMel

__all__ = ["CONTENT", "MEDIA_TYPES", "check_spec", "check_type", "check_values", "parse_mel", "read_mel"]

JSON = "application/json"
MEDIA_TYPES = (*BY_MEDIA_TYPE, JSON)

_FILE = {"schema": {"type": "string", "format": "binary"}}
CONTENT: dict[str, Any] = dict.fromkeys(BY_MEDIA_TYPE, _FILE) | {JSON: {"schema": text.SCHEMA}}


def check_type(request: Request) -> None:
    """Raise `UnsupportedMedia` unless the content type is one of `MEDIA_TYPES`, and nothing is compressed."""
    check_encoding(request)
    if media_type(request) not in MEDIA_TYPES:
        raise UnsupportedMedia(f"content-type must be one of {', '.join(MEDIA_TYPES)}")


async def read_mel(
    request: Request,
    spec: MelSpec,
    *,
    max_frames: int,
    layout: Layout,
    seconds: float,
    max_clips: int | None = None,
) -> Array:
    """Read the body as a mel `[M, L]`, of the dtype it came in; `check_values` must still see its numbers.

    With `max_clips` it may be `[B, M, L]` as well, B · L at most `max_frames`. JSON is parsed in another
    thread, in short runs, so that the event loop goes on. Raises `MalformedBody`, `UnsupportedMedia`,
    `BodyTooLarge`, `MelTooLong`, `TooManyClips`, `SlowBody`, or `InvalidMel` for a dtype or shape that is not
    accepted.
    """
    check_type(request)
    limits = Limits(spec, layout, max_frames, max_clips)
    if (media := media_type(request)) == JSON:
        body = await read_bytes(request, limits.json_bytes, seconds)
        mel = await asyncio.to_thread(text.parse, body, limits)
    else:
        mel = await BY_MEDIA_TYPE[media].receive(request, limits, seconds)
    return limits.arranged(mel)


def parse_mel(data: bytes, spec: MelSpec, *, layout: Layout, max_frames: int) -> Array:
    """A mel `[M, L]` of one message, a .npy or safetensors file; `check_values` must still see its numbers.

    Raises `MalformedBody`, `UnsupportedMedia`, `MelTooLong`, or `InvalidMel` as `read_mel` does.
    """
    limits = Limits(spec, layout, max_frames)
    return limits.arranged(EITHER.read(data, limits))


def check_values(mel: Array, spec: MelSpec) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The mel as float32, or `InvalidMel`. Looks at every number: not for the event loop."""
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf, which the spec refuses by name
        single = np.require(mel, np.float32, ["A", "W"])
    spec.check(torch.from_numpy(single))
    return single


def check_spec(headers: Mapping[str, str], spec: MelSpec) -> None:
    """Raise `MelSpecMismatch` if `X-Mel-Spec` or `X-Mel-Digest` is there and tells of another spec.

    The first is a JSON object with every field of the spec, the second its digest, as `/v1/models` gives it.
    """
    if (told := headers.get("x-mel-spec")) is not None:
        try:
            spec.require(_declared(told, spec))
        except InvalidMel as error:
            raise MelSpecMismatch(str(error)) from None
    digest = headers.get("x-mel-digest")
    if digest is not None and digest.strip().lower() != spec.digest():
        raise MelSpecMismatch(f"x-mel-digest must be that of the model's mel spec, {spec.digest()}")


def _declared(told: str, spec: MelSpec) -> MelSpec:
    try:
        values = json.loads(told, object_pairs_hook=_numbers)
        return MelSpec.from_dict(values)
    except (ValueError, TypeError, RecursionError, InvalidConfig):
        names = ", ".join(spec.to_dict())
        raise MelSpecMismatch(f"x-mel-spec must be a JSON object of numbers: {names}, each once") from None


def _numbers(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of numbers; an integer that Python will not write out is none."""
    if len(found := dict(pairs)) < len(pairs) or not all(type(v) in (int, float) for v in found.values()):
        raise ValueError("not an object of numbers, each once")
    return found
