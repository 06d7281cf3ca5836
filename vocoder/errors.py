"""Everything that can go wrong, as one tree.

```
VocoderError                          .code
├── InvalidInput      (ValueError)    "invalid_input"     the caller's data or argument
│   ├── InvalidMel                    "invalid_mel"       not a mel spectrogram of this spec
│   ├── InvalidAudio                  "invalid_audio"     not audio we can read, write or analyse
│   └── InvalidConfig                 "invalid_config"    a configuration that cannot be built
├── CheckpointError   (ValueError)    "checkpoint_error"  damaged, foreign, or not what it says
│   └── UnknownVoice  (LookupError)   "unknown_voice"     no voice of that name
└── SynthesisError    (RuntimeError)  "synthesis_error"   a sample came out that is not finite
```

A message names the argument, what came, and the rule. `code` is for machines and never changes its meaning;
catch by class, report by code, and read neither out of the message. Broken invariants of our own are
`AssertionError`s, not members of the tree. `MelWarning` is no error: what it tells of is done all the same.
"""

from typing import ClassVar

__all__ = [
    "CheckpointError",
    "InvalidAudio",
    "InvalidConfig",
    "InvalidInput",
    "InvalidMel",
    "MelWarning",
    "SynthesisError",
    "UnknownVoice",
    "VocoderError",
]


class VocoderError(Exception):
    """Root of the tree: `except VocoderError` catches whatever this package raises on purpose.

    >>> try:
    ...     raise InvalidMel("mel has 79 bands, expected 80")
    ... except VocoderError as error:
    ...     print(error.code, "|", error)
    invalid_mel | mel has 79 bands, expected 80
    """

    code: ClassVar[str] = "vocoder_error"


class InvalidInput(VocoderError, ValueError):
    """The caller's data or argument breaks a rule, which the message states."""

    code: ClassVar[str] = "invalid_input"


class InvalidMel(InvalidInput):
    """Not a log-mel spectrogram of the expected spec: rank, bands, length, dtype, finiteness or range."""

    code: ClassVar[str] = "invalid_mel"


class InvalidAudio(InvalidInput):
    """Audio, or a file of audio, that cannot be read, written or analysed."""

    code: ClassVar[str] = "invalid_audio"


class InvalidConfig(InvalidInput):
    """A configuration with an unknown, missing or impossible value."""

    code: ClassVar[str] = "invalid_config"


class CheckpointError(VocoderError, ValueError):
    """A checkpoint file that is damaged, foreign, or not what it says it is."""

    code: ClassVar[str] = "checkpoint_error"


class UnknownVoice(CheckpointError, LookupError):
    """No voice goes by the name that was asked for."""

    code: ClassVar[str] = "unknown_voice"


class SynthesisError(VocoderError, RuntimeError):
    """The model produced a sample that is not finite."""

    code: ClassVar[str] = "synthesis_error"


class MelWarning(UserWarning):
    """A mel that can be of the expected spec, and looks as if it were of another convention."""
