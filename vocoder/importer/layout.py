"""From the names that authors give weights to one spelling, that of NVIDIA's `glow.py` without weight norm.

```
A  NVIDIA/waveglow since August 2019   WN.k.cond_layer      WN.k.res_skip_layers.i
B  before; DeepLearningExamples        WN.k.cond_layers.i   WN.k.res_skip_layers.i
C  the first release                   WN.k.cond_layers.i   WN.k.res_layers.i, WN.k.skip_layers.i
   NeMo                                as A, `wavenet` for `WN`
   SqueezeWave                         as A; in_layers.i is batch norm, depthwise, pointwise, or the last two
```

B and C become A by laying the rows of weights behind one another, which changes no bit: weight normalisation,
too, is of each row by itself. What becomes of a weight is first written down as a `Part`, with its shape, so
that a file can be judged before its numbers are read.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vocoder.errors import CheckpointError
from vocoder.importer.inert import shown
from vocoder.importer.state import ANCHOR, State
from vocoder.importer.tensors import Storage, StoredTensor

__all__ = ["Layout", "Part", "families", "one_spelling"]

Read = Callable[[Storage], bytes]

_NET = re.compile(r"(?:WN|wavenet)\.(\d+)\.((?:[a-z]+_)*[a-z]+(?:\.\d+){0,2})\.([a-z].*)")
_FLOW = re.compile(r"convinv\.\d+\.conv\.weight|upsample\.(?:weight|bias)")
_DERIVED = re.compile(
    r"convinv\.\d+\.(?:inv_conv\.weight|W_inverse)"
)  # computed from others where it is needed

_NORMS = {  # by the names of magnitude and direction
    ("weight_g", "weight_v"): "weight_g and weight_v",
    ("parametrizations.weight.original0", "parametrizations.weight.original1"): "parametrizations",
}
_STATISTICS = {"weight", "bias", "running_mean", "running_var"}
_LAYOUTS = {  # by whether each network's layers have conditioning, and residual and skip, of their own
    (False, False): "A, NVIDIA/waveglow since August 2019",
    (True, False): "B, NVIDIA/waveglow until August 2019 and DeepLearningExamples",
    (True, True): "C, NVIDIA/waveglow's first release",
    (False, True): "A, with residual and skip apart",
}


@dataclass(frozen=True)
class Part:
    """A weight to be: its shape, and how it is made of what the file holds."""

    shape: tuple[int, ...]
    make: Callable[[Read], Tensor]


Layer = dict[str, Part]  # by weight: weight, bias, …


@dataclass(frozen=True)
class Layout:
    """The weights in one spelling, and how they were spelled.

    Attributes:
        parts: `upsample.weight`, `convinv.0.conv.weight`, `WN.0.start.weight` …
        name: of the layout, as in the table above.
        weight_norm: `weight_g and weight_v`, `parametrizations`, or `folded`.
        separable: whether the networks are SqueezeWave's.
        dropped: names that no weight is made of.
    """

    parts: Mapping[str, Part]
    name: str
    weight_norm: str
    separable: bool
    dropped: tuple[str, ...]


def one_spelling(state: State) -> Layout:
    """The weights of a network of any layout; `CheckpointError`, telling the names, for no WaveGlow."""
    if ANCHOR not in state.tensors:
        there = families(state.tensors)
        raise CheckpointError(f"holds no WaveGlow: there is no {ANCHOR}, but there are {there}")
    parts: dict[str, Part] = {}
    dropped: list[str] = []
    nets: dict[int, dict[str, dict[str, StoredTensor]]] = {}
    for name, tensor in state.tensors.items():
        if found := _NET.fullmatch(name):
            nets.setdefault(int(found[1]), {}).setdefault(found[2], {})[found[3]] = tensor
        elif _FLOW.fullmatch(name):
            parts[name] = _stored(name, tensor)
        elif _DERIVED.fullmatch(name):
            dropped.append(name)
        else:
            raise CheckpointError(f"has a weight that no WaveGlow has, {shown(name)}")
    spelt = [_Net(f"WN.{flow}", layers, state.attributes) for flow, layers in sorted(nets.items())]
    for net in spelt:
        parts.update(net.parts)
    layouts, norms = {net.layout for net in spelt}, {norm for net in spelt for norm in net.norms}
    if len(layouts) != 1:
        raise CheckpointError(
            f"has networks of {len(layouts)} layouts ({'; '.join(sorted(layouts))}), expected one"
        )
    return Layout(
        parts,
        "NeMo" if any(name.startswith("wavenet.") for name in state.tensors) else layouts.pop(),
        " and ".join(sorted(norms)) or "folded",
        any(net.separable for net in spelt),
        (*dropped, *state.others),
    )


def families(names: Iterable[str]) -> str:
    """Names by kind, * for a number, and how many there are: `WN.*.start.bias ×12`."""
    kinds = Counter(re.sub(r"\d+", "*", name) for name in names)
    told = [shown(kind)[1:-1] + (f" ×{count}" if count > 1 else "") for kind, count in kinds.items()]
    return ", ".join(told[:12]) + (f" and {len(told) - 12} kinds more" if len(told) > 12 else "")


class _Net:
    """One coupling network, from the layers of its author to ours."""

    def __init__(
        self, name: str, layers: Mapping[str, Mapping[str, StoredTensor]], attributes: Mapping[str, object]
    ) -> None:
        self.name, self.attributes = name, attributes
        self.norms: set[str] = set()
        self.layers = {layer: self._layer(f"{name}.{layer}", weights) for layer, weights in layers.items()}
        counts = Counter(layer.partition(".")[0] for layer in layers)
        split_cond, split_skip = "cond_layers" in counts, "skip_layers" in counts
        self.separable = any(layer.startswith("in_layers.") and layer.count(".") == 2 for layer in layers)
        self.layout = "SqueezeWave" if self.separable else _LAYOUTS[split_cond, split_skip]
        made = {layer: self._take(layer) for layer in ("start", "end")}
        made["cond_layer"] = self._rows("cond_layers", counts) if split_cond else self._take("cond_layer")
        depth = 1 + max(
            (int(layer.split(".")[1]) for layer in layers if layer.startswith("in_layers.")), default=-1
        )
        for i in range(depth):
            made[f"in_layers.{i}"] = self._separable(i) if self.separable else self._take(f"in_layers.{i}")
            made[f"res_skip_layers.{i}"] = self._skip(i) if split_skip else self._take(f"res_skip_layers.{i}")
        if self.layers:
            raise CheckpointError(
                f"has a layer that no WaveGlow has, {shown(f'{name}.{next(iter(self.layers))}')}"
            )
        self.parts = {
            f"{name}.{layer}.{weight}": part for layer, each in made.items() for weight, part in each.items()
        }

    def _take(self, layer: str) -> Layer:
        if layer not in self.layers:
            raise CheckpointError(f"lacks the layer {self.name}.{layer}")
        return self.layers.pop(layer)

    def _rows(self, family: str, counts: Mapping[str, int]) -> Layer:
        return _stacked([self._take(f"{family}.{i}") for i in range(counts[family])])

    def _skip(self, i: int) -> Layer:
        residual = [self._take(f"res_layers.{i}")] if f"res_layers.{i}" in self.layers else []
        return _stacked([*residual, self._take(f"skip_layers.{i}")])

    def _separable(self, i: int) -> Layer:
        """Batch norm as a scale and a shift; none where the file has fused it into the depthwise layer."""
        first = self._take(f"in_layers.{i}.0")
        depthwise, eps = first, None
        if "running_var" in first:
            depthwise = self._take(f"in_layers.{i}.1")
            eps = self.attributes.get(f"{self.name}.in_layers.{i}.0.eps", 1e-5)
        pointwise = self._take(f"in_layers.{i}.{1 if eps is None else 2}")
        return {
            **(_affine(first, eps) if isinstance(eps, float) else _identity(depthwise["weight"].shape[0])),
            **{f"depthwise.{weight}": part for weight, part in depthwise.items()},
            **{f"pointwise.{weight}": part for weight, part in pointwise.items()},
        }

    def _layer(self, name: str, weights: Mapping[str, StoredTensor]) -> Layer:
        """The weights of a layer, with weight norm folded."""
        parts = {weight: _stored(f"{name}.{weight}", tensor) for weight, tensor in weights.items()}
        for (magnitude, direction), norm in _NORMS.items():
            if magnitude in parts and direction in parts:
                parts["weight"] = _folded(name, parts.pop(magnitude), parts.pop(direction))
                self.norms.add(norm)
        parts.pop("num_batches_tracked", None)
        if not {"weight", "bias"} <= parts.keys() <= _STATISTICS or not all(
            part.shape for part in parts.values()
        ):
            raise CheckpointError(
                f"has the layer {name} with {sorted(weights)[:6]}, expected weight and bias"
            )
        return parts


def _stored(name: str, tensor: StoredTensor) -> Part:
    """A tensor of the file, in single precision at least: half has too few digits to take a norm in."""

    def make(read: Read) -> Tensor:
        loaded = tensor.load(read)
        if not loaded.isfinite().all():
            raise CheckpointError(f"has a weight that is not finite, {shown(name)}")
        return loaded.to(torch.promote_types(loaded.dtype, torch.float32))

    if not tensor.dtype.is_floating_point and not name.endswith(".num_batches_tracked"):
        raise CheckpointError(f"has {shown(name)} in {tensor.dtype}, expected floating-point numbers")
    return Part(tensor.shape, make)


def _folded(name: str, magnitude: Part, direction: Part) -> Part:
    """Weight normalisation ``g · v / ‖v‖``, row by row, by the very function that PyTorch folds with."""
    if magnitude.shape != (*direction.shape[:1], *[1] * (len(direction.shape) - 1)):
        shapes = f"of shape {list(magnitude.shape)} for {list(direction.shape)}"
        raise CheckpointError(f"has {name} with magnitudes {shapes}, expected one a row")
    return Part(
        direction.shape,
        lambda read: torch._weight_norm(direction.make(read), magnitude.make(read), 0),
    )


def _stacked(layers: list[Layer]) -> Layer:
    """Layers that see the same input as one, whose rows are theirs in turn."""
    return {weight: _stack([layer[weight] for layer in layers]) for weight in ("weight", "bias")}


def _stack(parts: list[Part]) -> Part:
    if len({part.shape[1:] for part in parts}) != 1:
        shapes = "; ".join(str(list(part.shape)) for part in parts[:4])
        raise CheckpointError(f"has layers side by side whose shapes do not fit one another ({shapes})")
    rows = sum(part.shape[0] for part in parts)
    return Part((rows, *parts[0].shape[1:]), lambda read: torch.cat([part.make(read) for part in parts]))


def _affine(norm: Layer, eps: float) -> Layer:
    """Batch norm of a trained network: ``(x − mean) · w / √(var + ε) + b = x · scale + shift``."""

    def scale(read: Read) -> Tensor:
        return norm["weight"].make(read).double() / (norm["running_var"].make(read).double() + eps).sqrt()

    def shift(read: Read) -> Tensor:
        return norm["bias"].make(read).double() - norm["running_mean"].make(read).double() * scale(read)

    return {"scale": Part(norm["weight"].shape, scale), "shift": Part(norm["bias"].shape, shift)}


def _identity(channels: int) -> Layer:
    return {
        "scale": Part((channels,), lambda _: torch.ones(channels)),
        "shift": Part((channels,), lambda _: torch.zeros(channels)),
    }
