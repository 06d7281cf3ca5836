"""What a file does not say, or says in its own words: the shape of the model, and the spec of its mels."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vocoder.errors import CheckpointError, InvalidConfig
from vocoder.features import MelSpec
from vocoder.importer.inert import shown
from vocoder.importer.layout import Layout
from vocoder.models.waveglow import WaveGlowConfig

__all__ = ["mel_spec", "nemo_spec", "nvidia_spec", "shape_of"]

KERNEL, STRIDE = 1024, 256  # of the upsampler, hard-wired by every author
_DATA = {  # NVIDIA's config.json, and ours
    "sampling_rate": "sample_rate",
    "filter_length": "n_fft",
    "win_length": "win_length",
    "hop_length": "hop_length",
    "mel_fmin": "f_min",
    "mel_fmax": "f_max",
}
_NEMO = {
    "sample_rate": "sample_rate",
    "n_fft": "n_fft",
    "n_window_size": "win_length",
    "n_window_stride": "hop_length",
    "features": "n_mels",
    "nfilt": "n_mels",
    "lowfreq": "f_min",
    "highfreq": "f_max",
    "log_zero_guard_value": "floor",
}
_NEMO_FIXED: Mapping[str, tuple[object, ...]] = {  # what a mel of ours is, and the values that say so
    "mag_power": (1, 1.0),
    "log": (True,),
    "log_zero_guard_type": ("clamp",),
    "normalize": (None, "", False),
    "preemph": (None, 0, 0.0),
    "frame_splicing": (1,),
    "window": ("hann",),
}


def shape_of(layout: Layout, attributes: Mapping[str, object], *, alternate_halves: bool) -> WaveGlowConfig:
    """The configuration that the shapes of the weights imply; `CheckpointError` where they imply none."""
    shapes = {name: part.shape for name, part in layout.parts.items()}
    sizes = _sizes(shapes)
    layers = sum(re.fullmatch(r"WN\.0\.res_skip_layers\.\d+\.bias", name) is not None for name in shapes)
    first = "WN.0.in_layers.0.depthwise.weight" if layout.separable else "WN.0.in_layers.0.weight"
    dilations = tuple(1 if layout.separable else 2**i for i in range(min(layers, 63)))
    _require_dilations(attributes, dilations)
    every, size = _early(sizes)
    try:
        return WaveGlowConfig(
            group=sizes[0],
            flows=len(sizes),
            early_every=every,
            early_size=size,
            channels=_dimension(shapes, "WN.0.start.weight", 0),
            dilations=dilations,
            kernel=_dimension(shapes, first, 2),
            conditioning="repeat" if layout.separable else "transposed",
            net="separable" if layout.separable else "wavenet",
            halves="alternate" if alternate_halves else "first",
        )
    except InvalidConfig as error:
        raise CheckpointError(f"has weights in shapes of no WaveGlow: {error}") from error


def mel_spec(layout: Layout, attributes: Mapping[str, object], given: Mapping[str, Any]) -> MelSpec:
    """The spec: what is given, else NVIDIA's numbers; the weights must be made for it.

    Raises `CheckpointError` where bands, window or hop are others than the weights', as the kernel of the
    upsampler is the window of our spec, and its stride the hop.
    """
    shapes = {name: part.shape for name, part in layout.parts.items()}
    name = "WN.0.cond_layer.weight" if layout.separable else "upsample.weight"
    bands = _dimension(shapes, name, 1)
    try:
        spec = MelSpec(**{"n_mels": bands, **given})
    except InvalidConfig as error:
        raise CheckpointError(f"is said to have a mel that cannot be: {error}") from error
    if spec.n_mels != bands:
        raise CheckpointError(f"has weights for {bands} mel bands, and is said to have {spec.n_mels}")
    if not layout.separable:
        kernel, stride = _dimension(shapes, name, 2), _stride(attributes)
        if (kernel, stride) != (spec.win_length, spec.hop_length):
            expected = f"expected those of its mel's window (={spec.win_length}) and hop (={spec.hop_length})"
            hint = "; --config tells another mel, by the config.json it was trained with"
            raise CheckpointError(
                f"has an upsampler of kernel {kernel} and stride {stride}, {expected}{hint}"
            )
    return spec


def nvidia_spec(path: str | Path) -> dict[str, Any]:
    """What the `data_config` of an NVIDIA `config.json` says of the mel; else `CheckpointError`."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    data = values.get("data_config") if isinstance(values, dict) else None
    if not isinstance(data, dict) or not _DATA.keys() & data.keys():
        raise CheckpointError(f"{path} has no data_config with {', '.join(_DATA)}")
    return {ours: data[theirs] for theirs, ours in _DATA.items() if theirs in data}


def nemo_spec(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the `preprocessor` of a NeMo `model_config.yaml` says of the mel.

    Raises `CheckpointError` where there is none, or it makes mels that are none of ours.
    """
    model = config.get("model", config)
    section = model.get("preprocessor") if isinstance(model, dict) else None
    values = section.get("params", section) if isinstance(section, dict) else None
    if not isinstance(values, dict):
        raise CheckpointError("has a model_config.yaml without a preprocessor, which would tell its mel")
    for key, allowed in _NEMO_FIXED.items():
        if key in values and values[key] not in allowed:
            told = f"preprocessor.{key} = {shown(values[key])}"
            raise CheckpointError(f"has mels of another kind: {told}, expected {shown(allowed[0])}")
    spec = {ours: values[theirs] for theirs, ours in _NEMO.items() if theirs in values}
    known = {name: _number(name, value) for name, value in spec.items() if value is not None}
    usual = {**MelSpec().to_dict(), **known}  # what follows is NeMo's own reading of a null
    known.setdefault("n_fft", 2 ** (int(usual["win_length"]) - 1).bit_length())
    known.setdefault("f_max", usual["sample_rate"] / 2)
    return known


def _sizes(shapes: Mapping[str, tuple[int, ...]]) -> list[int]:
    flows = sum(name.startswith("convinv.") for name in shapes)
    return [_dimension(shapes, f"convinv.{k}.conv.weight", 0) for k in range(flows)]


def _early(sizes: list[int]) -> tuple[int, int]:
    """After how many steps channels leave, and how many; `CheckpointError` where they leave in no rhythm."""
    drops = [k for k in range(1, len(sizes)) if sizes[k] != sizes[k - 1]]
    if not drops:
        return 0, 0
    every, size = drops[0], sizes[0] - sizes[drops[0]]
    if sizes != [sizes[0] - k // every * size for k in range(len(sizes))]:
        raise CheckpointError(f"has flows of {sizes[:16]} channels, expected a fixed loss every so many")
    return every, size


def _dimension(shapes: Mapping[str, tuple[int, ...]], name: str, axis: int) -> int:
    if name not in shapes:
        raise CheckpointError(f"lacks the weight {name}")
    if len(shapes[name]) != 3:
        raise CheckpointError(f"has {name} of shape {list(shapes[name])}, expected three dimensions")
    return shapes[name][axis]


def _stride(attributes: Mapping[str, object]) -> int:
    """Told by a pickled module, else NVIDIA's."""
    match attributes.get("upsample.stride"):
        case (int(stride),):
            return stride
    return STRIDE


def _require_dilations(attributes: Mapping[str, object], dilations: tuple[int, ...]) -> None:
    """Where the file has layers as objects, they must look as far as their author's code lets them."""
    for name, value in attributes.items():
        found = re.fullmatch(r"WN\.\d+\.in_layers\.(\d+)\.dilation", name)
        if found and int(found[1]) < len(dilations) and value != (dilations[int(found[1])],):
            raise CheckpointError(f"has {name} {shown(str(value))}, expected {dilations[int(found[1])]}")


def _number(name: str, value: object) -> int | float:
    """A number, whole where it counts something; YAML takes `1e-05` for a word."""
    if isinstance(value, str) and re.fullmatch(r"[\d.]+(?:e[+-]?\d+)?", value, re.IGNORECASE):
        value = float(value)
    if isinstance(value, float) and value.is_integer() and name not in ("f_min", "f_max", "floor"):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise CheckpointError(f"has a preprocessor whose {name} is {shown(value)}, expected a number")
    return value
