"""A neural vocoder: log-mel spectrograms in, speech out, by an invertible flow.

    from vocoder import Vocoder

    audio = Vocoder.load()(mel)        # mel [M, L] -> audio [L * hop]

These names are loaded when they are first used, so that `import vocoder` stays quick and leaves torch be.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vocoder import audio, errors, voices
    from vocoder.features import LogMel, MelSpec, warn_if_suspect
    from vocoder.streaming import Window, Windows
    from vocoder.synthesis import Vocoder

    load = Vocoder.load

__version__ = "0.3.0"

__all__ = [
    "LogMel",
    "MelSpec",
    "Vocoder",
    "Window",
    "Windows",
    "__version__",
    "audio",
    "errors",
    "load",
    "voices",
    "warn_if_suspect",
]

_HOMES = {
    "LogMel": "features",
    "MelSpec": "features",
    "Vocoder": "synthesis",
    "Window": "streaming",
    "Windows": "streaming",
    "warn_if_suspect": "features",
}
_ROOMS = ("audio", "errors", "voices")


if not TYPE_CHECKING:  # where it would make every misspelt name an `object`

    def __getattr__(name: str) -> object:
        """Import a public name on first use (PEP 562)."""
        if name == "load":
            return import_module("vocoder.synthesis").Vocoder.load
        if name in _HOMES:
            return getattr(import_module(f"vocoder.{_HOMES[name]}"), name)
        if name in _ROOMS:
            return import_module(f"vocoder.{name}")
        raise AttributeError(f"module 'vocoder' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
