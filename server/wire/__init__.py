"""A mel in: nothing of a body is believed before it is checked, and memory grows with what has come only.

Read in this order: `mel` (what routes call), `files`, `npy` and `tensors` (what a header promises), `text`
and `cursor` (JSON), `shape` (what a mel may be), `form` and `body` (bytes, bounded), `refusals` (what can be
wrong).
"""

from server.wire.body import bounded, check_encoding, in_time, media_type, read_bytes, require_length
from server.wire.form import FORM, check_form_type, read_form
from server.wire.mel import (
    CONTENT,
    MEDIA_TYPES,
    check_spec,
    check_type,
    check_values,
    parse_mel,
    read_mel,
)
from server.wire.refusals import (
    BodyTooLarge,
    MalformedBody,
    MalformedForm,
    MalformedJson,
    MalformedNpy,
    MalformedSafetensors,
    MelSpecMismatch,
    MelTooLong,
    SlowBody,
    TooManyClips,
    UnsupportedMedia,
)
from server.wire.shape import Layout

__all__ = [
    "CONTENT",
    "FORM",
    "MEDIA_TYPES",
    "BodyTooLarge",
    "Layout",
    "MalformedBody",
    "MalformedForm",
    "MalformedJson",
    "MalformedNpy",
    "MalformedSafetensors",
    "MelSpecMismatch",
    "MelTooLong",
    "SlowBody",
    "TooManyClips",
    "UnsupportedMedia",
    "bounded",
    "check_encoding",
    "check_form_type",
    "check_spec",
    "check_type",
    "check_values",
    "in_time",
    "media_type",
    "parse_mel",
    "read_bytes",
    "read_form",
    "read_mel",
    "require_length",
]
