"""Other libraries' flows, rebuilt of our parts with their weights: do we compute the same density?

    OMP_NUM_THREADS=1 python -m benchmarks.flows_digits.parity

Every parameter is moved at random first, so that nothing is at rest, and all is done in float64. Flows and
log-determinants are ours; a network is ours where we have one like it, else theirs. The largest difference of
log p over 64 digits, in nats, and of the digits' way there and back are printed and written to `parity.md`.
"""

from __future__ import annotations

import copy
import math
import platform
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.flows_digits.peers import PEERS, Contender
from vocoder import images
from vocoder.flows import (
    ActNorm,
    AffineCoupling,
    Chain,
    Flattened,
    Flow,
    GaussianPrior,
    InvertibleConv1x1,
    Leading,
    Logit,
    OddEven,
    Split,
    Squeezed2d,
    Swap,
    Trailing,
    dequantise,
)
from vocoder.models.density import DensityModel
from vocoder.nets.mlp import MLP

RESULT = Path(__file__).with_name("parity.md")
SHAPE = (1, 8, 8)
SPREAD = 0.02  # of the noise on the parameters; much more and normflows' own samples are not finite


def main() -> None:
    """Compare each, and write a table."""
    warnings.filterwarnings("ignore")
    libraries = ", ".join(f"{name} {version(name)}" for name in ("normflows", "zuko", "torch"))
    lines = [
        "`OMP_NUM_THREADS=1 python -m benchmarks.flows_digits.parity`",
        f"\n{libraries}, {platform.machine()}; 64 test digits, float64.\n",
        "| flow | largest difference of log p (nats) | log p about | largest error of decode(encode(x)) |",
        "|---|---|---|---|",
        *(_compared(name, rebuild) for name, rebuild in REBUILT.items()),
    ]
    print("\n".join(lines))
    RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _compared(name: str, rebuild: Callable[[Contender], Flow]) -> str:
    """A row: theirs, moved at random, and ours with its weights, asked about the same digits."""
    torch.manual_seed(0)
    theirs = PEERS[name].build()
    x = _digits()
    theirs(x)  # what initialises itself by data does so in float32, as in training
    theirs = theirs.double().eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(SPREAD * torch.randn_like(parameter))
        ours = DensityModel(Chain([Logit(), rebuild(theirs)]), GaussianPrior(), SHAPE, 17).double().eval()
        one, other = theirs(x.double()), ours.log_prob(x.double())
        back = ours.decode(ours.encode(x.double())) - x.double()
    return f"| {name} | {_largest(one - other):.1e} | {float(one.mean()):.1f} | {_largest(back):.1e} |"


def _digits() -> Tensor:
    data = images.load("digits")
    chosen = data.test.images[:64]
    return dequantise(chosen, data.levels, torch.rand(chosen.shape))


def _normflows_glow(theirs: Contender) -> Flow:
    """Their chains run from noise to data, so ours is theirs backwards; what leaves has a prior of its."""
    model: Any = theirs.theirs
    inner: Flow = Chain([])
    for i in range(len(model.q0)):
        *blocks, _ = model.flows[i]  # the last is the squeeze
        steps = [flow for block in reversed(blocks) for flow in _glow_block(block)]
        if i == 0:
            inner = Squeezed2d(Chain([*steps, _gaussian(model.q0[0])]))
        else:
            half = 2 * model.q0[i].loc.shape[1] // 2
            leaving = Split(Leading(half), _gaussian(model.q0[i]))
            inner = Squeezed2d(Chain([*steps, leaving, Split(Trailing(half), inner)]))
    return inner


def _glow_block(block: Any) -> list[Flow]:
    coupling, mixing, norm = block.flows
    half = mixing.num_channels // 2
    net = Reordered(coupling.flows[1].param_map, scale=1.0)
    mine = AffineCoupling(net, half, order="shift_then_scale", scale="sigmoid")
    conv = InvertibleConv1x1(mixing.num_channels).double()
    conv.weight.data = mixing._assemble_W().detach().clone()
    return [_actnorm(norm), conv, mine]


def _normflows_coupling(theirs: Contender) -> Flow:
    """Per layer: ActNorm, exchange of the halves, coupling."""
    flows: list[Flow] = []
    layers: list[Any] = list(theirs.theirs.flows)  # type: ignore[arg-type]  # a ModuleList
    for coupling, _, norm in reversed(list(zip(*[iter(layers)] * 3, strict=True))):
        net = Reordered(_mlp(coupling.flows[1].param_map.net), scale=-1.0)
        flows += [_actnorm(norm), Swap(32), AffineCoupling(net, 32, order="shift_then_scale")]
    return Flattened(Chain([*flows, _gaussian(theirs.theirs.q0)]))


def _zuko(theirs: Contender) -> Flow:
    """Couplings of odd and even numbers in turn, with their soft limit of the scale."""
    transforms: Any = theirs.theirs.transform.transforms  # type: ignore[union-attr]  # a LazyComposed
    flows = [
        AffineCoupling(Clipped(_mlp(layer.hyper)), OddEven(odd=k % 2 == 1))
        for k, layer in enumerate(transforms)
    ]
    return Flattened(Chain(flows))


class Reordered(nn.Module):
    """normflows' networks answer shift and scale in turn, ``(x − shift) · exp(−scale)`` or ``· sigmoid``."""

    def __init__(self, net: nn.Module, scale: float) -> None:
        super().__init__()
        self.net, self.scale = copy.deepcopy(net), scale

    def forward(self, x: Tensor, cond: Tensor | None) -> Tensor:
        """``[t | h]`` as our couplings take it."""
        answer = self.net(x)
        return torch.cat([-answer[:, 0::2], self.scale * answer[:, 1::2]], 1)


class Clipped(nn.Module):
    """zuko's networks answer shift and scale in turn, and |log s| stays below −ln 0.001."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, cond: Tensor | None) -> Tensor:
        """``[t | log s]``."""
        answer = self.net(x)
        scale = answer[:, 1::2]
        return torch.cat([answer[:, 0::2], scale / (1 + (scale / math.log(1e-3)).abs())], 1)


def _mlp(layers: Any) -> MLP:
    """Our network with the weights of their linear layers."""
    linear = [layer for layer in layers if hasattr(layer, "weight")]
    width = linear[0].weight.shape[0]
    net = MLP(
        linear[0].weight.shape[1], linear[-1].weight.shape[0], width=width, layers=len(linear) - 1
    ).double()
    for mine, theirs in zip([*net.hidden, net.end], linear, strict=True):
        mine.load_state_dict(theirs.state_dict())
    return net


def _actnorm(theirs: Any) -> ActNorm:
    """``(z − t) · exp(−s)`` is ``(x + b) · exp(factor · log_scale)``."""
    return _affine(-theirs.t, -theirs.s)


def _gaussian(prior: Any) -> Flow:
    """What makes a diagonal Gaussian a standard one."""
    return Flattened(_affine(-prior.loc, -prior.log_scale))


def _affine(shift: Tensor, log_scale: Tensor) -> ActNorm:
    norm = ActNorm(shift.numel()).double()
    norm.load_state_dict(
        {
            "bias": shift.detach().flatten(),
            "log_scale": log_scale.detach().flatten() / norm.factor,
            "initialised": torch.tensor(True),
        }
    )
    return norm


def _largest(difference: Tensor) -> float:
    return float(difference.abs().max())


REBUILT: dict[str, Callable[[Contender], Flow]] = {
    "normflows Glow": _normflows_glow,
    "normflows coupling + ActNorm": _normflows_coupling,
    "zuko RealNVP": _zuko,
}

if __name__ == "__main__":
    main()
