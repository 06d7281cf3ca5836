"""The voices that come with the package: in `checkpoints/` of a checkout, `vocoder/_voices/` of a wheel.

`manifest.json` lists them, so that they can be listed and found without torch. What the manifest says of a
voice is what `checkpoint.inspect` says of its file, and a model card beside the file says the rest.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from vocoder.errors import CheckpointError, UnknownVoice

__all__ = ["VoiceInfo", "find", "list_voices"]

PACKAGE = Path(__file__).parent
HOMES = (PACKAGE / "_voices", PACKAGE.parent / "checkpoints")
SUFFIX = ".safetensors"


@dataclass(frozen=True)
class VoiceInfo:
    """One entry of the manifest.

    Attributes:
        name: what it is asked for by.
        file, card: the checkpoint and its model card, beside the manifest.
        sha256, bytes: of the file.
        architecture, config, mel: what the checkpoint's header says.
        licence: of the weights.
        default: whether it is the voice that `default` means; exactly one is.
        scores: what `vocoder evaluate` measured; empty where nothing was.
    """

    name: str
    file: str
    card: str
    sha256: str
    bytes: int
    architecture: str
    config: Mapping[str, Any]
    mel: Mapping[str, Any]
    licence: str
    default: bool
    scores: Mapping[str, Any]

    @property
    def path(self) -> Path:
        """Where its file is on this machine."""
        return _home() / self.file


def list_voices() -> list[VoiceInfo]:
    """The voices that come with the package, as `manifest.json` lists them.

    >>> "waveglow-tiny" in [voice.name for voice in list_voices()]
    True
    """
    return list(read_manifest(_home()))


def find(voice: str | Path = "default") -> Path:
    """The checkpoint of a voice that comes with the package, by name or `default`, or a file, by its path.

    A string that ends in `.safetensors` or holds a path separator is a path, any other a name. Raises
    `UnknownVoice`, listing the names there are, for a name that is none of them, and `CheckpointError` where
    there is no such file, or one that cannot be what the manifest says.

    >>> find("waveglow-tiny").name
    'waveglow-tiny.safetensors'
    """
    if isinstance(voice, Path) or voice.endswith(SUFFIX) or Path(voice).name != voice:
        return _existing(Path(voice))
    for info in list_voices():
        if voice == info.name or (voice == "default" and info.default):
            return _intact(info)
    known = ", ".join(["default", *(info.name for info in list_voices())])
    raise UnknownVoice(f"no voice is called {voice!r}; there are {known}, or give a {SUFFIX} file's path")


def read_manifest(home: Path) -> tuple[VoiceInfo, ...]:
    """The entries of `home/manifest.json`; `CheckpointError` where it is not a list of them."""
    try:
        entries = json.loads((home / "manifest.json").read_text(encoding="utf-8"))
        return tuple(_entry(entry) for entry in entries)
    except (OSError, TypeError, ValueError) as error:
        raise CheckpointError(f"{home / 'manifest.json'} cannot be read: {error}") from error


def _entry(values: Mapping[str, Any]) -> VoiceInfo:
    names = {field.name for field in fields(VoiceInfo)}
    if set(values) != names:
        raise ValueError(f"a voice has the fields {sorted(names)}, got {sorted(values)}")
    return VoiceInfo(**values)


def _home() -> Path:
    for home in HOMES:
        if (home / "manifest.json").is_file():
            return home
    raise CheckpointError(f"no voices come with this installation; looked in {' and '.join(map(str, HOMES))}")


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise CheckpointError(f"{path} is {'no file' if path.exists() else 'missing'}; expected a checkpoint")
    return path


def _intact(info: VoiceInfo) -> Path:
    size = _existing(info.path).stat().st_size
    if size != info.bytes:
        raise CheckpointError(
            f"{info.path} has {size} bytes, expected {info.bytes}; it is not what we shipped"
        )
    return info.path
