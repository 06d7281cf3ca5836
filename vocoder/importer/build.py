"""From weights in one spelling to a model of ours, which has exactly these weights."""

from collections.abc import Mapping

import torch
from torch import Tensor

from vocoder.errors import CheckpointError, InvalidConfig
from vocoder.features import MelSpec
from vocoder.flows import InvertibleConv1x1
from vocoder.importer.layout import Layout, Read
from vocoder.models.waveglow import WaveGlow, WaveGlowConfig
from vocoder.nets.separable import SeparableWaveNet
from vocoder.nets.wavenet import WaveNet

__all__ = ["built"]


def built(layout: Layout, config: WaveGlowConfig, spec: MelSpec, read: Read) -> WaveGlow:
    """The model, in float32 and in evaluation mode.

    Raises `CheckpointError` where the weights are not those that the configuration calls for, before one of
    them is read or room is made for it.
    """
    model = _skeleton(config, spec)
    names = _ours(model)
    _require_fit(layout, names, model.state_dict())
    weights = {ours: _weight(layout, theirs, read) for theirs, ours in names.items()}
    model.load_state_dict(weights, assign=True)
    return model.eval()


def _skeleton(config: WaveGlowConfig, spec: MelSpec) -> WaveGlow:
    """The model with shapes, but no numbers: a file's shapes are not believed before they are compared."""
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            return WaveGlow(config, spec)
    except (InvalidConfig, RuntimeError, ValueError) as error:
        raise CheckpointError(f"has weights in shapes of no WaveGlow: {error}") from error


def _ours(model: WaveGlow) -> dict[str, str]:
    """Names of the model's weights in the spelling of `Layout`, and what they are called here."""
    places = {"encoder.conv": "upsample"}
    parts = list(model.named_modules())
    mixes = [name for name, part in parts if isinstance(part, InvertibleConv1x1)]
    nets = [name for name, part in parts if isinstance(part, (WaveNet, SeparableWaveNet))]
    places.update({name: f"convinv.{k}.conv" for k, name in enumerate(mixes)})
    places.update({name: f"WN.{k}" for k, name in enumerate(nets)})
    return {_renamed(name, places): name for name in model.state_dict()}


def _renamed(name: str, places: Mapping[str, str]) -> str:
    place = next(place for place in places if name.startswith(f"{place}."))
    return places[place] + name.removeprefix(place)


def _require_fit(layout: Layout, names: Mapping[str, str], expected: Mapping[str, Tensor]) -> None:
    """Exactly the weights that the configuration calls for, in their shapes."""
    parts = layout.parts
    shapes = {name: _shape(name, expected[ours]) for name, ours in names.items()}
    misfits = {
        "missing": [name for name in shapes if name not in parts],
        "unexpected": [name for name in parts if name not in shapes],
        "of another shape": [
            f"{name} {list(parts[name].shape)}, expected {shape}"
            for name, shape in shapes.items()
            if name in parts and list(parts[name].shape) != shape
        ],
    }
    if told := [f"{len(each)} {what} ({'; '.join(each[:4])})" for what, each in misfits.items() if each]:
        raise CheckpointError(f"has not the weights of a WaveGlow of its size: {', '.join(told)}")


def _shape(name: str, expected: Tensor) -> list[int]:
    """A mixing is a matrix here, and a convolution of one tap there."""
    return [*expected.shape, 1] if name.startswith("convinv.") else list(expected.shape)


def _weight(layout: Layout, name: str, read: Read) -> Tensor:
    made = layout.parts[name].make(read).to(torch.float32)
    return made.squeeze(-1) if name.startswith("convinv.") else made
