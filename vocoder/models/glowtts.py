"""Glow-TTS: a flow from mel spectrograms to noise, whose prior is a text.

Kim et al. 2020, "Glow-TTS: A Generative Flow for Text-to-Speech via Monotonic Alignment Search",
arXiv:2005.11129.

Shape letters: B batch, N symbols, M mel bands, L mel frames, D width of the text encoder.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vocoder.errors import InvalidInput, InvalidMel
from vocoder.features import MelSpec, mel_filters
from vocoder.flows import ActNorm, AffineCoupling, Chain, Flow, Folded, GaussianPrior, InvertibleConv1x1
from vocoder.flows.flow import full_precision
from vocoder.models.alignment import align, owners
from vocoder.models.glowtts_config import GlowTTSConfig
from vocoder.models.intonation import filled
from vocoder.models.plan import Plan, Predicted, planned
from vocoder.nets.comb import MIDDLE, SPAN, CombEncoder
from vocoder.nets.text_encoder import Convolutions, TextEncoder
from vocoder.nets.wavenet import WaveNet
from vocoder.noise import noise
from vocoder.padding import cleared

__all__ = ["Explained", "GlowTTS", "GlowTTSConfig", "Plan", "Predicted"]

class Explained(NamedTuple):
    """How the model explains a mel.

    Attributes:
        log_prob: ``[B]``, nats.
        durations: ``[B, N]``, frames of each symbol in the best alignment.
        predicted: what it would have expected of the text alone.
    """

    log_prob: Tensor
    durations: Tensor
    predicted: Predicted


class GlowTTS(nn.Module):
    """Text and pitch to mel, by an exact density of the mel: a way to draw it, and to align the two.

    ``z = f(x; f0)``, and every frame of z is normal about what the text encoder says of its symbol::

        log p(x | text, f0) = max over alignments A of  Σ_l log N(z_l; μ_{A(l)}, I)  +  log |det ∂z/∂x|

    (Kim et al. 2020, eq. 1–4, with σ = 1 as in the authors' code). A is monotonic and skips nothing; the best
    one is found exactly (`vocoder.models.alignment`). f folds two frames together and takes ``flows`` steps
    of ActNorm, 1×1 convolution and affine coupling::

        mel [B, 80, L] ─► fold [B, 160, L/2] ─► ( ActNorm ─► 1×1 conv ─► coupling ) × 8 ─► unfold ─► z
        f0 [B, L] ─► comb ─► features, folded ───────────────────────────────▲

    The convolution mixes all 160 channels (``W = P L (U + diag s)``) where the paper's mixes groups of four:
    at this size it costs a hundredth of a step, and it is never singular. Unlike the paper's, the couplings
    know the pitch, which the mel shows in its lower bands, at the rate of the frames: a pitch that is given
    is then obeyed, and the alignment needs not be known to show it. Durations and pitch are predicted from
    the text encoder's features and teach it nothing (section 2.3 there; FastPitch, Łańcucki 2021,
    arXiv:2006.06873, for the pitch).

    Args:
        config: the shape; `InvalidConfig` where it contradicts itself.
        spec: of the mel that it makes.

    Shapes: ``mel [B, M, L]``, ``ids [B, N]`` whole numbers, ``f0 [B, L]`` in hertz and 0 where nothing is
    voiced. Items of unequal length are one batch with ``symbols [B]`` and ``frames [B]``; what stands behind
    an item's end changes nothing in it. An odd last frame has no partner and is not looked at. Raises
    `InvalidMel` and `InvalidInput` for other shapes, ids that are none, and for fewer frames than symbols.

    Example:
        >>> import torch
        >>> model = GlowTTS(GlowTTSConfig(flows=1, layers=1, channels=8, width=8, hidden=8), MelSpec())
        >>> model.infer(torch.tensor([0, 20, 1]), durations=torch.tensor([2, 3, 2]), seed=1).shape
        torch.Size([80, 7])
    """

    def __init__(self, config: GlowTTSConfig, spec: MelSpec) -> None:
        super().__init__()
        self.config, self.spec, self.prior = config, spec, GaussianPrior()
        self.encoder = TextEncoder(
            config.symbols, config.width, layers=config.layers, heads=config.heads, hidden=config.hidden,
            reach=config.reach, dropout=config.dropout,
        )  # fmt: skip
        self.mean = nn.Conv1d(config.width, spec.n_mels, 1)
        self.predictor = _predictor(config)
        self.comb = CombEncoder(_centres(spec), config.pitch_channels)
        self.flow = Folded(config.group, Chain(_steps(config, config.group * spec.n_mels)))

    def forward(
        self, mel: Tensor, f0: Tensor, frames: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Data → latent: ``z [B, M, L]`` and ``log |det ∂z/∂mel|`` ``[B]``, of whole groups of frames."""
        self._check(mel, f0)
        mel, f0, frames = self._whole(mel, f0, frames)
        mel = cleared(mel, frames)
        z, log_det = self.flow(mel, self._condition(filled(f0, frames), frames), frames)
        return z, log_det

    def inverse(
        self, z: Tensor, log_f0: Tensor, frames: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Latent → data: ``mel [B, M, L]`` and ``log |det ∂mel/∂z|`` ``[B]``, of a contour without gaps."""
        return self.flow.inverse(cleared(z, frames), self._condition(log_f0, frames), frames)

    def explain(
        self,
        mel: Tensor,
        ids: Tensor,
        f0: Tensor,
        symbols: Tensor | None = None,
        frames: Tensor | None = None,
        *,
        nudge: Tensor | None = None,
    ) -> Explained:
        """The best alignment of a mel with a text, its log-density, and what the text alone leads to.

        ``nudge [B, N, L]``, in nats, is added to the scores that the alignment maximises, and not to the
        density: in the beginning of a training, knowledge of where symbols ought to be.
        """
        z, log_det = self(mel, f0, frames)
        frames = None if frames is None else self._groups(frames)
        with full_precision(z):  # an alignment hangs on small differences of large sums
            text = self._encode(ids, symbols)
            means = self.mean(text)
            scores = _scores(z, means)
            if nudge is not None:
                scores = scores + nudge[:, :, : z.shape[2]]
            durations = align(scores, symbols, frames)
            owner = owners(durations, z.shape[2])
            centred = z - means.gather(2, owner[:, None].expand(-1, means.shape[1], -1))
            log_prob = self.prior.log_prob(centred, frames) + log_det
            return Explained(log_prob, durations, self._predict(text, symbols))

    def log_prob(
        self,
        mel: Tensor,
        ids: Tensor,
        f0: Tensor,
        symbols: Tensor | None = None,
        frames: Tensor | None = None,
    ) -> Tensor:
        """``log p(mel | text, f0)`` ``[B]`` in nats, of the best alignment."""
        return self.explain(mel, ids, f0, symbols, frames).log_prob

    def predict(self, ids: Tensor, symbols: Tensor | None = None) -> Predicted:
        """Durations and pitch that a text leads one to expect."""
        return self._predict(self._encode(ids, symbols), symbols)

    @torch.no_grad()
    def plan(
        self, ids: Tensor, durations: Tensor | None = None, f0: Tensor | None = None, pace: float = 1.0
    ) -> Plan:
        """When each symbol of ``ids [N]`` is spoken and how high; what is not given is predicted."""
        return planned(self.predict(ids[None]), durations, f0, pace)

    @torch.no_grad()
    def render(self, ids: Tensor, plan: Plan, *, temperature: float = 0.667, seed: int = 0) -> Tensor:
        """The mel ``[M, L]`` of ``ids [N]`` as planned; its noise is a function of (seed, frame, band)."""
        if not 0 <= temperature < math.inf:
            raise InvalidInput(f"temperature (={temperature}) must be finite and not negative")
        frames, bands, group = len(plan.log_f0), self.spec.n_mels, self.config.group
        longer = -(-frames // group) * group  # a last frame that has no partner gets one, which is cut off
        means = self.mean(self._encode(ids[None], None))
        owner = owners(plan.durations[None], longer)
        drawn = noise(seed, 0, longer * bands).view(longer, bands).T.to(means)
        z = means[:, :, owner[0]] + temperature * drawn
        log_f0 = nn.functional.pad(plan.log_f0[None], (0, longer - frames), mode="replicate")
        return self.inverse(z, log_f0)[0][0, :, :frames]

    def infer(
        self,
        ids: Tensor,
        durations: Tensor | None = None,
        f0: Tensor | None = None,
        pace: float = 1.0,
        temperature: float = 0.667,
        seed: int = 0,
    ) -> Tensor:
        """The mel ``[M, L]`` of ``ids [N]``: `plan`, then `render`. L is the sum of the durations."""
        plan = self.plan(ids, durations, f0, pace)
        return self.render(ids, plan, temperature=temperature, seed=seed)

    def _encode(self, ids: Tensor, symbols: Tensor | None) -> Tensor:
        known = self.config.symbols
        if ids.ndim != 2 or ids.shape[1] == 0 or ids.is_floating_point():
            rule = "whole numbers [batch, symbols]"
            raise InvalidInput(f"ids is {ids.dtype} {tuple(ids.shape)}, expected {rule}")
        if bool(((ids < 0) | (ids >= known)).any()):
            raise InvalidInput(f"ids holds one outside 0 … {known - 1}, the symbols that the model knows")
        text: Tensor = self.encoder(ids, symbols)
        return text

    def _predict(self, text: Tensor, symbols: Tensor | None) -> Predicted:
        text = text.detach()  # what predicts must not bend what aligns
        log_duration, pitch = self.predictor(text, symbols).unbind(1)
        return Predicted(log_duration, MIDDLE + SPAN * pitch)

    def _condition(self, log_f0: Tensor, frames: Tensor | None) -> Tensor:
        """Features of the pitch of each group of frames, ``[B, group · channels, L / group]``."""
        features: Tensor = self.comb(log_f0, frames)
        return features.unflatten(2, (-1, self.config.group)).permute(0, 3, 1, 2).flatten(1, 2)

    def _whole(self, mel: Tensor, f0: Tensor, frames: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        whole = mel.shape[2] // self.config.group * self.config.group
        return mel[:, :, :whole], f0[:, :whole], None if frames is None else self._groups(frames)

    def _groups(self, frames: Tensor) -> Tensor:
        return frames // self.config.group * self.config.group

    def _check(self, mel: Tensor, f0: Tensor) -> None:
        bands, group = self.spec.n_mels, self.config.group
        if mel.ndim != 3 or mel.shape[1] != bands or mel.shape[2] < group:
            rule = f"[batch, {bands}, frames], {group} frames or more"
            raise InvalidMel(f"mel has shape {tuple(mel.shape)}, expected {rule}")
        if f0.shape != (len(mel), mel.shape[2]):
            rule = f"one for each frame, {(len(mel), mel.shape[2])}"
            raise InvalidInput(f"f0 has shape {tuple(f0.shape)}, expected {rule}")


def _steps(config: GlowTTSConfig, channels: int) -> list[Flow]:
    keep, cond = channels // 2, config.group * config.pitch_channels
    steps: list[Flow] = []
    for _ in range(config.flows):
        net = WaveNet(
            keep, 2 * (channels - keep), cond,
            channels=config.channels, dilations=config.dilations, kernel=config.kernel,
        )  # fmt: skip
        coupling = AffineCoupling(net, keep, bound=config.bound)
        steps += [ActNorm(channels), InvertibleConv1x1(channels, "plu"), coupling]
    return steps


def _predictor(config: GlowTTSConfig) -> Convolutions:
    """Ln frames and the pitch in units of its span; a symbol starts at seven frames, and in the middle."""
    net = Convolutions(
        config.width, 2, config.predictor, layers=3, kernel=5, dropout=config.predictor_dropout
    )
    with torch.no_grad():
        net.end.bias.copy_(torch.tensor([math.log(7.0), 0.0]))  # type: ignore[union-attr]  # it has one
    return net


def _scores(z: Tensor, means: Tensor) -> Tensor:
    """``log N(z_l; μ_n, I)`` ``[B, N, L]``, but for what is the same for all n."""
    return means.mT @ z - 0.5 * means.square().sum(1)[:, :, None]


def _centres(spec: MelSpec) -> Tensor:
    """The middle of each band in hertz, ``[M]``; of a band that catches no bin, NaN."""
    filters = mel_filters(spec)
    bins = torch.arange(filters.shape[1], dtype=filters.dtype) * spec.sample_rate / spec.n_fft
    return filters @ bins / filters.sum(1)
