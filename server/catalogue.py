"""Which models there are, by name, and where their weights are: the operator says, never a request."""

from pathlib import Path
from typing import TYPE_CHECKING

from server.settings import Settings
from vocoder import Vocoder
from vocoder.errors import CheckpointError, InvalidConfig

if TYPE_CHECKING:
    from vocoder.checkpoint import Header

__all__ = ["Catalogue", "UnknownModel"]

SUFFIX = ".safetensors"
VOICE = "waveglow"  # the one architecture that speaks mels


class UnknownModel(Exception):
    """No model goes by the name that was asked for."""


class Catalogue:
    """The default voice, those that the settings name, and the checkpoints in the folder of models.

    The folder is looked at anew whenever it is asked, so that a file put there can be loaded.
    """

    def __init__(self, settings: Settings) -> None:
        header = Vocoder.describe(settings.voice)
        self.default = header.name
        self._headers = {_stamp(settings.voice): header}
        if taken := {"default", self.default} & set(settings.models):
            raise InvalidConfig(f"models must not name {', '.join(sorted(taken))}: that is the default model")
        self._named = {self.default: settings.voice, **settings.models}
        self._folder = settings.models_dir

    @property
    def named(self) -> list[str]:
        """The models that are loaded when the service starts, the default first."""
        return list(self._named)

    @property
    def sources(self) -> dict[str, str]:
        """Name → shipped voice or checkpoint file, of every model."""
        found = sorted(self._folder.glob(f"*{SUFFIX}")) if self._folder else []
        return {path.stem: str(path) for path in found if path.stem != "default"} | self._named

    def resolve(self, name: str | None) -> str:
        """The name of the model that is asked for, None or `default` being the default one."""
        if name in (None, "default", self.default):
            return self.default
        sources = self.sources
        if name not in sources:
            known = ", ".join(sources)[:200]
            raise UnknownModel(f"model names none of the models here, which are {known}")
        return str(name)

    def speaks(self, name: str) -> bool:
        """Whether a file of the folder is a voice at all, and not damaged, or a density. Blocks."""
        try:
            self.header(name)
        except CheckpointError:
            return False
        return True

    def source(self, name: str) -> str:
        """Where the weights of a model are."""
        return self.sources[name]

    def header(self, name: str) -> "Header":
        """What a voice says of itself; its file is read once, and again when it has changed. Blocks.

        Raises `CheckpointError` for a file that is damaged, or no voice.
        """
        source = self.source(name)
        stamp = _stamp(source)
        if stamp not in self._headers:
            self._headers[stamp] = Vocoder.describe(source)
        if self._headers[stamp].architecture != VOICE:
            raise CheckpointError(f"{source} is no voice, but a {self._headers[stamp].architecture}")
        return self._headers[stamp]


def _stamp(source: str) -> tuple[str, int, int]:
    """Tells one state of a file from another; a voice that ships with the package has one."""
    path = Path(source)
    status = path.stat() if path.is_file() else None
    return (source, status.st_mtime_ns, status.st_size) if status else (source, 0, 0)
