"""Flows of other libraries as contenders: built with their own parts and defaults, asked the same questions.

Each is a density of logits, as all of them are trained on logit(0.05 + 0.9 y); `Contender` adds the
log-determinant of that, so that everybody is a density of pixels in [0, 1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vocoder.flows import Logit

SIDE, PIXELS = 8, 64
COUPLINGS, WIDTH = 8, 256  # of the flows of vectors, two hidden layers each


class Contender(nn.Module):
    """Another library's flow behind our preprocessing.

    Args:
        theirs: the module that is trained.
        log_prob: their log-density of logits ``[B, …]``.
        draw: their samples ``[n, …]``, logits.
        flat: whether it takes vectors.
    """

    def __init__(
        self,
        theirs: nn.Module,
        log_prob: Callable[[Any, Tensor], Tensor],
        draw: Callable[[Any, int], Tensor],
        *,
        flat: bool,
    ) -> None:
        super().__init__()
        self.theirs, self.logit, self.flat = theirs, Logit(), flat
        self._log_prob, self._draw = log_prob, draw

    def forward(self, x: Tensor) -> Tensor:
        """The log-density ``[B]`` of pixels ``[B, 1, 8, 8]`` in [0, 1)."""
        y, log_det = self.logit(x)
        return self._log_prob(self.theirs, y.flatten(1) if self.flat else y) + log_det

    @torch.no_grad()
    def logits(self, n: int) -> Tensor:
        """Samples before the sigmoid, where an explosion shows."""
        return self._draw(self.theirs, n)


@dataclass(frozen=True)
class Peer:
    """A named contender and how it is made."""

    name: str
    kind: str
    build: Callable[[], Contender]


def _normflows_glow() -> Contender:
    """Their example of Glow, for one channel of 8×8: L = 2 scales of K = 8 steps, width 64."""
    import normflows as nf

    scales, steps, width = 2, 8, 64
    priors, blocks, merges = [], [], []
    for i in range(scales):
        channels = 2 ** (scales + 1 - i)
        chain = [nf.flows.GlowBlock(channels, width, split_mode="channel", scale=True) for _ in range(steps)]
        blocks.append([*chain, nf.flows.Squeeze()])
        merges += [nf.flows.Merge()] if i else []
        shape = (2 ** (scales - i), SIDE >> (scales - i), SIDE >> (scales - i))
        top = (2 ** (scales + 1), SIDE >> scales, SIDE >> scales)
        priors.append(nf.distributions.DiagGaussian(shape if i else top))
    model = nf.MultiscaleFlow(priors, blocks, merges, class_cond=False)
    return Contender(
        model, lambda flow, y: flow.log_prob(y, None), lambda flow, n: flow.sample(n)[0], flat=False
    )


def _normflows_coupling() -> Contender:
    """Affine coupling blocks, each followed by ActNorm and a reversal."""
    import normflows as nf

    flows: list[nn.Module] = []
    for _ in range(COUPLINGS):
        net = nf.nets.MLP([PIXELS // 2, WIDTH, WIDTH, PIXELS], init_zeros=True)
        flows += [nf.flows.AffineCouplingBlock(net), nf.flows.Permute(PIXELS, mode="swap")]
        flows += [nf.flows.ActNorm(PIXELS)]
    model = nf.NormalizingFlow(nf.distributions.DiagGaussian(PIXELS), flows)
    return Contender(model, lambda flow, y: flow.log_prob(y), lambda flow, n: flow.sample(n)[0], flat=True)


def _nflows_simple(*, norm: bool = False, additive: bool = False) -> Contender:
    """`SimpleRealNVP`: couplings of residual networks; without scales it is as near as nflows has to NICE."""
    from nflows.flows.realnvp import SimpleRealNVP

    model = SimpleRealNVP(
        PIXELS, WIDTH, COUPLINGS, 2, use_volume_preserving=additive, batch_norm_between_layers=norm
    )
    return Contender(model, lambda flow, y: flow.log_prob(y), lambda flow, n: flow.sample(n), flat=True)


def _nflows_glow_like() -> Contender:
    """ActNorm, an LU-decomposed linear map and an affine coupling, eight times, on vectors."""
    from nflows.distributions.normal import StandardNormal
    from nflows.flows.base import Flow
    from nflows.nn.nets import ResidualNet
    from nflows.transforms import ActNorm, AffineCouplingTransform, CompositeTransform, LULinear

    parts: list[nn.Module] = []
    mask = torch.ones(PIXELS)
    mask[::2] = -1
    for _ in range(COUPLINGS):
        coupling = AffineCouplingTransform(
            mask, lambda i, o: ResidualNet(i, o, hidden_features=WIDTH, num_blocks=2)
        )
        parts += [ActNorm(PIXELS), LULinear(PIXELS), coupling]
        mask = -mask
    model = Flow(CompositeTransform(parts), StandardNormal([PIXELS]))
    return Contender(model, lambda flow, y: flow.log_prob(y), lambda flow, n: flow.sample(n), flat=True)


def _zuko_realnvp() -> Contender:
    """`zuko.flows.RealNVP`."""
    import zuko

    model = zuko.flows.RealNVP(PIXELS, transforms=COUPLINGS, hidden_features=(WIDTH, WIDTH))
    return Contender(
        model, lambda flow, y: flow().log_prob(y), lambda flow, n: flow().sample((n,)), flat=True
    )


PEERS: Mapping[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer("normflows Glow", "Glow", _normflows_glow),
        Peer("normflows coupling + ActNorm", "RealNVP", _normflows_coupling),
        Peer("nflows SimpleRealNVP + BatchNorm", "RealNVP", lambda: _nflows_simple(norm=True)),
        Peer("nflows ActNorm + LU + affine", "Glow", _nflows_glow_like),
        Peer("nflows SimpleRealNVP", "RealNVP", _nflows_simple),
        Peer("nflows additive", "NICE", lambda: _nflows_simple(additive=True)),
        Peer("zuko RealNVP", "RealNVP", _zuko_realnvp),
    )
}
