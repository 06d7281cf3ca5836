"""The way from a file to a model: read, understand, build, and write down what was found at every step."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vocoder import checkpoint
from vocoder.checkpoint import Header
from vocoder.errors import CheckpointError
from vocoder.features import MelSpec
from vocoder.importer.archive import Contents, opened
from vocoder.importer.build import built
from vocoder.importer.config import mel_spec, nemo_spec, nvidia_spec, shape_of
from vocoder.importer.inert import plain, shown
from vocoder.importer.layout import Layout, one_spelling
from vocoder.importer.machine import Limits
from vocoder.importer.report import Report
from vocoder.importer.state import State, find_state, summary
from vocoder.models.waveglow import WaveGlow

__all__ = ["Imported", "import_checkpoint", "report"]

# What each author's own inference multiplies the noise by, if nobody says anything else.
NVIDIA_SIGMA, DEEP_LEARNING_EXAMPLES_SIGMA, NEMO_SIGMA = 0.6, 0.9, 1.0


@dataclass(frozen=True)
class Imported:
    """Somebody else's checkpoint as a model of ours.

    Attributes:
        model: in float32, on the CPU, in evaluation mode; it knows its config.
        name: that of the file, without its suffix.
        temperature: what its authors scale the noise by if nobody says anything else.
        report: what was found in the file.
    """

    model: WaveGlow
    name: str
    temperature: float
    report: Report

    @property
    def spec(self) -> MelSpec:
        """Of the mels that it takes."""
        return self.model.spec

    def save(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        licence: str = "unknown",
        temperature: float | None = None,
        half: bool = False,
    ) -> Header:
        """Write it as a checkpoint, whose header says where it is from.

        With `half`, weights are stored in half precision. Raises what `checkpoint.save` raises.
        """
        told = self.report
        origin = {
            "file": told.file,
            "sha256": told.sha256,
            "container": told.container,
            "layout": told.layout,
            "weight_norm": told.weight_norm,
            "class": told.kind,
            "prefix": told.prefix,
            "dropped": told.dropped,
            "notes": told.notes,
        }
        return checkpoint.save(
            path,
            self.model,
            name=self.name if name is None else name,
            temperature=self.temperature if temperature is None else temperature,
            licence=licence,
            step=told.step,
            extra={"imported_from": origin},
            dtype=torch.float16 if half else None,
        )


def import_checkpoint(
    src: str | Path,
    *,
    alternate_halves: bool | None = None,
    config: str | Path | None = None,
    limits: Limits | None = None,
) -> Imported:
    """Read a WaveGlow or a SqueezeWave of NVIDIA/waveglow, DeepLearningExamples, NeMo or SqueezeWave.

    None of the file's code runs. `alternate_halves` says whether odd steps feed the second half of the
    channels to their network, as in `glow_old.py`; where it is not given, the pickled class tells, and a file
    without one is taken to be of the newer kind. `config` is the NVIDIA `config.json` that it was trained
    with, where its mel is not the usual one. Raises `CheckpointError`, naming the file and what was found,
    for a file that is damaged, dangerous, or something else.
    """
    told, said = Report(Path(src).name), _Said.of(alternate_halves, config)
    try:
        model = _imported(Path(src), told, said, limits or Limits())
    except CheckpointError as error:
        raise CheckpointError(f"{src} {error}") from error
    assert told.temperature is not None  # known as soon as there is a model
    return Imported(model, Path(src).stem, told.temperature, told)


def report(
    src: str | Path,
    *,
    alternate_halves: bool | None = None,
    config: str | Path | None = None,
    limits: Limits | None = None,
) -> Report:
    """What is in a file, whether it can be imported, and if not, why; arguments as for `import_checkpoint`.

    Raises `CheckpointError` only where there is no file.
    """
    told, said = Report(Path(src).name), _Said.of(alternate_halves, config)
    if not Path(src).is_file():
        what = "no file" if Path(src).exists() else "missing"
        raise CheckpointError(f"{src} is {what}; expected a checkpoint")
    try:
        _imported(Path(src), told, said, limits or Limits())
    except CheckpointError as error:
        told.problem = str(error)
    return told


@dataclass(frozen=True)
class _Said:
    """What the caller knows and the file may not."""

    alternate_halves: bool | None
    mel: Mapping[str, Any] | None

    @classmethod
    def of(cls, alternate_halves: bool | None, config: str | Path | None) -> "_Said":
        return cls(alternate_halves, None if config is None else nvidia_spec(config))


def _imported(path: Path, told: Report, said: _Said, limits: Limits) -> WaveGlow:
    contents = Contents()
    told.bytes, told.sha256 = _identity(path, limits)
    try:
        with opened(path, limits, contents):
            _tell_contents(told, contents)
            _require_harmless(contents)
            return _understood(contents, told, said, limits)
    except CheckpointError:
        _tell_contents(told, contents)
        _require_harmless(contents)  # says more than how a malicious pickle ended
        raise


def _understood(contents: Contents, told: Report, said: _Said, limits: Limits) -> WaveGlow:
    state = find_state(contents.root, limits)
    _tell_state(told, state, contents)
    layout = one_spelling(state)
    told.layout, told.weight_norm, told.dropped = layout.name, layout.weight_norm, list(layout.dropped)
    told.temperature = _temperature(contents)
    alternates = _alternates(state, layout, said.alternate_halves, told)
    shape = shape_of(layout, state.attributes, alternate_halves=alternates)
    told.config = shape.to_dict()
    spec = mel_spec(layout, state.attributes, _mel(contents, said, told))
    told.mel = spec.to_dict()
    _require_room(state, contents)
    model = built(layout, shape, spec, contents.read)
    told.parameters = sum(weight.numel() for weight in model.state_dict().values())
    return model


def _tell_contents(told: Report, contents: Contents) -> None:
    told.container, told.holds = contents.container, summary(contents.root)
    told.names = {shown(name)[1:-1]: count for name, count in contents.seen.globals.items()}
    told.refused = [shown(name)[1:-1] for name in contents.seen.refused]
    told.sources = dict(contents.gathered.sources)
    told.settings = _settings(contents)


def _tell_state(told: Report, state: State, contents: Contents) -> None:
    told.home, told.prefix, told.kind = state.home, state.prefix, state.kind
    told.attributes = dict(state.attributes)
    told.tensors = {
        name: {"dtype": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape)}
        for name, tensor in state.tensors.items()
    }
    iteration = contents.root.get("iteration") if isinstance(contents.root, dict) else None
    told.step = iteration if type(iteration) is int and 0 <= iteration < 2**53 else 0


def _settings(contents: Contents) -> dict[str, Any] | None:
    """The author's configuration, of plain values: NeMo's beside the weights, or `config` among them."""
    own = contents.root.get("config") if isinstance(contents.root, dict) else None
    found = contents.config if contents.config is not None else own
    return plain(found) if isinstance(found, dict) else None


def _require_harmless(contents: Contents) -> None:
    if refused := contents.seen.refused:
        told = ", ".join(shown(name)[1:-1] for name in refused[:6])
        more = f" and {len(refused) - 6} more" if len(refused) > 6 else ""
        raise CheckpointError(
            f"names what no checkpoint of a WaveGlow needs: {told}{more}. Loaded in the usual way, a pickle "
            "runs what it names; this one is refused, and nothing was run"
        )


def _temperature(contents: Contents) -> float:
    if contents.config is not None:
        return NEMO_SIGMA
    root = contents.root
    of_examples = isinstance(root, dict) and {"config", "state_dict"} <= root.keys()
    return DEEP_LEARNING_EXAMPLES_SIGMA if of_examples else NVIDIA_SIGMA


def _alternates(state: State, layout: Layout, given: bool | None, told: Report) -> bool:
    """Whether odd steps feed the second half to their network: as said, else as the pickled class says."""
    pickled = None if state.kind is None else ".glow_old." in f".{state.kind}"
    if given is not None:
        if pickled is not None and pickled != given:
            told.notes.append(
                f"the class {state.kind} says otherwise, but alternate_halves was given as {given}"
            )
        return given
    if pickled is None and layout.name[0] in "BC" and told.settings is None:
        told.notes.append(
            "glow_old.py has the same names: if speech comes out as noise, try --alternate-halves"
        )
    return bool(pickled)


def _mel(contents: Contents, said: _Said, told: Report) -> Mapping[str, Any]:
    """What is known about the mel, from the caller, or the archive."""
    if said.mel is not None:
        return said.mel
    if contents.config is not None:
        return nemo_spec(contents.config)
    told.notes.append("the file does not tell its mel; NVIDIA's is taken: 22 050 Hz, 1024/256, 0 to 8000 Hz")
    return {}


def _require_room(state: State, contents: Contents) -> None:
    """Tensors may share storages; a file that makes much of little by that is no checkpoint."""
    claimed = sum(tensor.count * tensor.dtype.itemsize for tensor in state.tensors.values())
    if claimed > contents.held:
        raise CheckpointError(f"claims {claimed} bytes of weights, but holds {contents.held}")


def _identity(path: Path, limits: Limits) -> tuple[int, str]:
    """Bytes and SHA-256 of a file."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if size > limits.size:
                raise CheckpointError(f"has {size} bytes, more than the {limits.size} that are read")
            return size, hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror or error}") from error
