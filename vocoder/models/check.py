"""How invertible a model is, seen layer by layer: what rounding does to it, and what sampling does to it.

A flow is invertible on paper; in float32 it is as invertible as its layers are tame. Where samples of a
trained model explode, one layer's inverse magnifies, and this report names it.

Letters: B batch, N samples, D numbers in one item.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vocoder.flows import ActNorm, AffineCoupling, BatchNorm, Flow, InvertibleConv1x1, Logit, Scale
from vocoder.models.density import DensityModel
from vocoder.models.glow import TopPrior

__all__ = ["Check", "Layer", "check"]

LARGEST_JACOBIAN = 256  # numbers in an item up to which autograd's Jacobian is made, D × D of them
SAMPLES_AT_ONCE = 500
ROUND_TRIP, LOG_DET = 1e-3, 1e-6  # largest errors of a sound model
SCALING = (ActNorm, AffineCoupling, BatchNorm, Scale, TopPrior)


@dataclass(frozen=True)
class Layer:
    """One step of a flow, in the order from data to latent.

    Attributes:
        name: its class.
        round_trip: largest ``|x − f⁻¹(f(x))|`` of the layer alone.
        log_det: largest difference of its log-determinant from autograd's, in nats, in float64; None where D
            is too large.
        log_scale: largest ``|log s|`` of a layer that scales: an affine coupling, a Scale, an ActNorm, a
            BatchNorm, a TopPrior; None of another.
        condition: of a mixing matrix, the largest singular value by the smallest; None of another layer.
        sampled: largest number that left the layer in the direction of sampling, at temperature 1.
    """

    name: str
    round_trip: float
    log_det: float | None
    log_scale: float | None
    condition: float | None
    sampled: float


@dataclass(frozen=True)
class Check:
    """What `check` found.

    Attributes:
        model: its class.
        dtype: that it computes with.
        round_trip: largest ``|x − decode(encode(x))|`` of the whole model.
        log_det: as of a layer, of the whole model.
        layers: one by one.
        samples: N, drawn at temperature 1.
        finite: how many of them are finite in every number.
        lowest, highest: of the numbers in finite samples; NaN without any.
        largest_logit: largest number that a sample was before the logit was undone, where an explosion still
            shows; None of a model without a logit.
    """

    model: str
    dtype: str
    round_trip: float
    log_det: float | None
    layers: tuple[Layer, ...]
    samples: int
    finite: int
    lowest: float
    highest: float
    largest_logit: float | None

    @property
    def sound(self) -> bool:
        """Whether every sample is finite, the whole undoes itself to a thousandth, and every log-determinant
        that could be compared is autograd's to a millionth of a nat. A NaN is not sound."""
        compared = [self.log_det, *(layer.log_det for layer in self.layers)]
        exact = all(error < LOG_DET for error in compared if error is not None)
        return self.finite == self.samples and self.round_trip < ROUND_TRIP and exact

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON; what is not finite is None there."""
        return {**_plain(asdict(self)), "sound": self.sound}

    def to_text(self) -> str:
        """A table of the layers, and what was found of the whole."""
        head = (
            f"{'layer':28} {'round trip':>10} {'log-det':>9} {'|log s|':>8} {'condition':>9} {'sampled':>9}"
        )
        rows = [
            f"{number:3} {layer.name:24} {layer.round_trip:10.1e} {_shown(layer.log_det, '.1e'):>9}"
            f" {_shown(layer.log_scale, '.2f'):>8} {_shown(layer.condition, '.1f'):>9} {layer.sampled:9.3g}"
            for number, layer in enumerate(self.layers)
        ]
        whole = f"{self.model} in {self.dtype}: round trip {self.round_trip:.1e}"
        exact = "not compared" if self.log_det is None else f"within {self.log_det:.1e} nats of autograd's"
        whole += f", log-det {exact}"
        drawn = f"{self.finite} of {self.samples} samples finite, {self.lowest:.4g} … {self.highest:.4g}"
        drawn += "" if self.largest_logit is None else f", largest |logit| {self.largest_logit:.4g}"
        return "\n".join([head, *rows, whole, drawn, "sound" if self.sound else "NOT sound"])


@torch.no_grad()
def check(
    model: DensityModel, x: Tensor, cond: Tensor | None = None, *, samples: int = 1000, seed: int = 0
) -> Check:
    """Measure a model on a batch of data, and on its own samples.

    Args:
        model: in the dtype and on the device that are to be judged; its mode is left as it is, and it is
            measured in evaluation mode.
        x: ``[B, *shape]``, real data in [0, 1) off the very ends; the Jacobian is that of its first item.
        cond: the classes ``[B]``, of a model that has classes; its samples are of one class after the other.
        samples: N.

    Raises `InvalidInput` for x of another shape, and for classes that do not fit.
    """
    with _evaluated(model):
        whole = model.decode(model.encode(x, cond), cond) - x
        steps = model.flow.steps()
        inputs, trips = _forward(steps, x, cond)
        (*sampled, first), drawn = _sampled(model, steps, x, samples, seed)
        exact = [_log_det_error(step, at, cond) for step, at in zip(steps, inputs, strict=True)]
        layers = tuple(
            Layer(_name(step), trip, error, _log_scale(step, at, cond), _condition(step), largest)
            for step, trip, error, at, largest in zip(steps, trips, exact, inputs, sampled, strict=True)
        )
        finite = drawn.flatten(1).isfinite().all(1)
        good = drawn[finite] if finite.any() else drawn.new_full((1, 1), math.nan)
        return Check(
            model=type(model).__name__,
            dtype=str(x.dtype).removeprefix("torch."),
            round_trip=_largest(whole),
            log_det=_log_det_error(model.flow, x, cond),
            layers=layers,
            samples=samples,
            finite=int(finite.sum()),
            lowest=float(good.min()),
            highest=float(good.max()),
            largest_logit=_before_logit(steps, [*sampled, first]),
        )


def _forward(steps: list[Flow], x: Tensor, cond: Tensor | None) -> tuple[list[Tensor], list[float]]:
    """What each step is given on the way from x, and by how much it misses it on the way back."""
    inputs, trips = [], []
    for step in steps:
        z, _ = step(x, cond)
        inputs.append(x)
        trips.append(_largest(step.inverse(z, cond)[0] - x))
        x = z
    return inputs, trips


def _sampled(
    model: DensityModel, steps: list[Flow], x: Tensor, n: int, seed: int
) -> tuple[list[float], Tensor]:
    """The largest number that left each step on the way from the prior, and the prior; and the samples."""
    z = model.prior.sample((n, *model.shape), seed, 1.0).to(x)
    classes = torch.arange(n, device=z.device) % max(1, model.classes)
    largest, drawn = torch.tensor([*[0.0] * len(steps), _largest(z)]), []
    for part, kinds in zip(z.split(SAMPLES_AT_ONCE), classes.split(SAMPLES_AT_ONCE), strict=True):
        for place in reversed(range(len(steps))):
            part, _ = steps[place].inverse(part, kinds if model.classes else None)
            largest[place] = torch.maximum(largest[place], part.detach().abs().amax().cpu())
        drawn.append(part)
    return largest.tolist(), torch.cat(drawn)


def _log_det_error(flow: Flow, x: Tensor, cond: Tensor | None) -> float | None:
    """Of the first item, in float64."""
    if x[0].numel() > LARGEST_JACOBIAN:
        return None
    precise, item, kind = copy.deepcopy(flow).double(), x[:1].double(), None if cond is None else cond[:1]
    found = precise(item, kind)[1]
    jacobian = _jacobian(lambda flat: precise(flat.view_as(item), kind)[0].flatten(), item.flatten())
    return _largest(found - torch.linalg.slogdet(jacobian).logabsdet)


def _jacobian(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        y = function(x)
        rows = [torch.autograd.grad(each, x, retain_graph=True)[0] for each in y]
    return torch.stack(rows).detach()


def _before_logit(steps: list[Flow], sampled: list[float]) -> float | None:
    """The largest number that the logit among the steps was given on the way back."""
    places = (place for place, step in enumerate(steps) if isinstance(_leaf(step), Logit))
    return next((sampled[place + 1] for place in places), None)


def _log_scale(step: Flow, x: Tensor, cond: Tensor | None) -> float | None:
    """Of what scales in a step; it is affine in what it changes, so a difference of 1 comes out as s."""
    if not isinstance(leaf := _leaf(step), SCALING):
        return None
    seen: list[tuple[Any, ...]] = []
    handle = leaf.register_forward_hook(lambda _, given, __: seen.append(given))
    step(x, cond)
    handle.remove()
    (at, *more) = seen[0]
    return _stretch(copy.deepcopy(leaf).double(), at.double(), more)


def _stretch(leaf: Flow, x: Tensor, more: list[Any]) -> float:
    one = torch.ones_like(x)
    if isinstance(leaf, AffineCoupling):
        kept, changed = leaf.partition.split(x)
        one = leaf.partition.changed(torch.ones_like(changed), changed)
        one = leaf.partition.join(torch.zeros_like(kept), one)
    before, after = (leaf(at, *more)[0] for at in (x, x + one))
    return _largest((after - before)[one > 0].abs().log())


def _condition(step: Flow) -> float | None:
    leaf = _leaf(step)
    return float(torch.linalg.cond(leaf.matrix().double())) if isinstance(leaf, InvertibleConv1x1) else None


def _leaf(step: Flow) -> Flow:
    """What is inside of whatever squeezes, flattens or splits."""
    while isinstance(inner := getattr(step, "inner", None), Flow):
        step = inner
    return step


def _name(step: Flow) -> str:
    return type(_leaf(step)).__name__


def _largest(difference: Tensor) -> float:
    """NaN where there is one, which no comparison would find."""
    return float(difference.detach().abs().amax())


@contextmanager
def _evaluated(model: nn.Module) -> Iterator[None]:
    was = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was)


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _plain(value: Any) -> Any:
    """Numbers that JSON has."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
