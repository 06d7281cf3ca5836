"""What can be wrong with a body before anybody looks at its numbers; `server.failures` has the statuses.

```
UnsupportedMedia             not of a type that is read here
MalformedBody                not what its type says
├── MalformedNpy
├── MalformedSafetensors
├── MalformedJson
└── MalformedForm
BodyTooLarge, SlowBody       too many bytes, or not in time
MelTooLong, TooManyClips     more than one request may ask for
MelSpecMismatch              made for a voice of another mel spec
```

A message names the rule and the numbers that broke it; it never repeats what came.
"""

__all__ = [
    "BodyTooLarge",
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
]


class UnsupportedMedia(Exception):
    """The body is not of a type that is read here."""


class MalformedBody(Exception):
    """The body is not what its type says."""


class MalformedNpy(MalformedBody):
    """The body is not the .npy file it should be."""


class MalformedSafetensors(MalformedBody):
    """The body is not a safetensors file with exactly one tensor."""


class MalformedJson(MalformedBody):
    """The body is not the JSON it should be."""


class MalformedForm(MalformedBody):
    """The body is not a form with the parts that are asked for."""


class BodyTooLarge(Exception):
    """The body holds more bytes than any that is accepted."""


class SlowBody(Exception):
    """The body did not come in time."""


class MelTooLong(Exception):
    """The mel has more frames than one request may have."""


class TooManyClips(Exception):
    """The batch has more clips than one request may have."""


class MelSpecMismatch(Exception):
    """The mel was made, as its sender says, for another mel spec than the model's."""
