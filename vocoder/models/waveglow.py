"""WaveGlow: a flow from audio to noise, conditioned on a mel spectrogram.

Prenger, Valle & Catanzaro 2018, "WaveGlow: A Flow-based Generative Network for Speech Synthesis",
arXiv:1811.00002.

Shape letters: B batch, T samples, M mel bands, L mel frames, G group size, S = T / G groups, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from torch import Tensor, nn

from vocoder.errors import InvalidAudio, InvalidConfig, InvalidInput, InvalidMel
from vocoder.features import MelSpec
from vocoder.flows import AffineCoupling, Chain, Flow, GaussianPrior, InvertibleConv1x1, Split, Squeezed
from vocoder.models.front import CholeskyFront, LappedFront, NoFront
from vocoder.nets.upsample import FrameEncoder, TransposedUpsample
from vocoder.nets.wavenet import WaveNet

Conditioning = Literal["transposed", "encoder"]
Front = Literal["none", "lapped", "filter", "cholesky"]


@dataclass(frozen=True)
class WaveGlowConfig:
    """Every choice that shapes a WaveGlow; the defaults are the published ``waveglow-256``.

    Raises `InvalidConfig` where a value is impossible, or two contradict one another.

    Attributes:
        group: G, samples squeezed into channels; divides the hop, and is even for the ``lapped`` front.
        flows: number of steps (1×1 convolution, then affine coupling).
        early_every: an early output after every so many steps, if others follow; 0 for none.
        early_size: channels of an early output; two at least must be left in the end.
        channels: C, width of the coupling networks.
        dilations: of the layers of every coupling network.
        kernel: taps of the dilated convolutions, odd.
        conditioning: ``transposed`` is the published dense upsampler, ``encoder`` the cheap one at the frame
            rate.
        cond_channels: width of the ``encoder``, at least 1 for it; the ``transposed`` one has bands × G
            channels.
        cond_layers: residual layers of the ``encoder``.
        front: ``none`` (published), or whitening: ``lapped`` (spectral blocks of a group), ``filter`` (blocks
            of a hop, back in time) or ``cholesky`` (groups of samples).
        bound: largest |log-scale| of a coupling, smoothly; ``None`` (published) leaves it free.
    """

    group: int = 8
    flows: int = 12
    early_every: int = 4
    early_size: int = 2
    channels: int = 256
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128)
    kernel: int = 3
    conditioning: Conditioning = "transposed"
    cond_channels: int = 0
    cond_layers: int = 0
    front: Front = "none"
    bound: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.dilations, list):  # as JSON has it
            object.__setattr__(self, "dilations", tuple(self.dilations))
        for name, kind in (("conditioning", Conditioning), ("front", Front)):
            self._require(name, getattr(self, name) in get_args(kind), f"be one of {get_args(kind)}")
        for name, least in self._least().items():
            self._require(name, _is_integer(getattr(self, name), least), f"be an integer >= {least}")
        self._require("dilations", _are_positive(self.dilations), "be positive integers, one at least")
        self._require("kernel", self.kernel % 2 == 1, "be odd, to look as far back as ahead")
        self._require("group", self.front != "lapped" or self.group % 2 == 0, "be even for the lapped front")
        self._require("bound", self.bound is None or _is_scale(self.bound), "be a finite number > 0, or None")
        left = self.group - self._early_outputs * self.early_size
        self._require("early_size", left >= 2, f"leave at least 2 channels of group (={self.group})")

    def _least(self) -> dict[str, int]:
        """The least that every integer may be, those first on which others depend."""
        least = {"group": 2, "flows": 1, "channels": 1, "kernel": 1, "early_every": 0, "cond_layers": 0}
        encoder, early = self.conditioning == "encoder", self.early_every != 0
        return {**least, "early_size": int(early), "cond_channels": int(encoder)}

    @property
    def _early_outputs(self) -> int:
        return (self.flows - 1) // self.early_every if self.early_every else 0

    def _require(self, name: str, condition: bool, rule: str) -> None:
        if not condition:
            raise InvalidConfig(f"WaveGlowConfig.{name} (={getattr(self, name)!r}) must {rule}")

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for a header or JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> WaveGlowConfig:
        """The inverse of `to_dict`; an unknown or a missing key is `InvalidConfig`.

        >>> config = WaveGlowConfig(channels=64)
        >>> WaveGlowConfig.from_dict(config.to_dict()) == config
        True
        """
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            raise InvalidConfig(f"WaveGlowConfig has the fields {sorted(names)}, got {sorted(values)}")
        return cls(**values)


def _is_integer(value: object, least: int) -> bool:
    return type(value) is int and value >= least


def _are_positive(values: object) -> bool:
    return isinstance(values, tuple) and bool(values) and all(_is_integer(value, 1) for value in values)


def _is_scale(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf


class WaveGlow(nn.Module):
    """A flow from audio to noise and back, given a mel: the exact density of speech, and a way to draw it.

    ``z = f(x; mel)``, ``log p(x | mel) = log N(z; 0, I) + log |det ∂z/∂x|`` (Prenger et al. 2018, section 2).
    f is the front (none in the paper), then ``flows`` steps on groups of G samples: an invertible 1×1
    convolution W and an affine coupling, whose WaveNet sees one half of the channels and the mel, and scales
    and shifts the other half. After every ``early_every`` steps, ``early_size`` channels leave as they are.
    With the published numbers::

        audio [B, T] → front → groups [B, 8, S]
          steps 0 … 3      8 channels
                           2 leave ───────┐
          steps 4 … 7      6 channels     │
                           2 leave ───────┼─────────┐
          steps 8 … 11     4 channels     │         │
                           4 end ─────────┼─────────┼─────────┐
                                          ↓         ↓         ↓
        z of a group                  [ early 1 | early 2 | final     ]
        z [B, T]         channel c of group s is sample s·G + c: as long as the audio, and as local

    That is the order of NVIDIA's ``forward``; its exports to ONNX order the blocks backwards. Everything is
    in the config and the spec: the upsampler's kernel and stride are the spec's window and hop.

    Args:
        config: the shape; `InvalidConfig` where it contradicts itself.
        spec: of the mel; `InvalidConfig` where the config's group does not divide its hop.

    Shapes: ``audio [B, T]``, ``z [B, T]``, ``mel [B, M, L]`` with T = L · hop exactly. Raises `InvalidAudio`
    (in ``inverse``, where the signal is z, `InvalidInput`) for another shape of the signal, `InvalidMel` for
    one of the mel, `InvalidInput` where one holds more clips than the other.

    Example:
        >>> import torch
        >>> small = WaveGlowConfig(flows=2, channels=4, conditioning="encoder", cond_channels=4)
        >>> model, mel = WaveGlow(small, MelSpec()), torch.zeros(1, 80, 2)
        >>> audio, _ = model.inverse(torch.randn(1, 512), mel)
        >>> model(audio, mel)[0].shape, model.log_prob(audio, mel).shape
        (torch.Size([1, 512]), torch.Size([1]))
    """

    def __init__(self, config: WaveGlowConfig, spec: MelSpec) -> None:
        super().__init__()
        if spec.hop_length % config.group:
            rule = f"must divide the hop (={spec.hop_length}), for a frame to be whole groups"
            raise InvalidConfig(f"WaveGlowConfig.group (={config.group}) {rule}")
        self.config, self.spec = config, spec
        self.prior = GaussianPrior()
        self.encoder, cond_channels = _conditioning(config, spec)
        self.front = _front(config, spec, cond_channels)
        self.flow = Squeezed(config.group, Chain(_steps(config, cond_channels, config.group, 0)))

    @property
    def halo(self) -> int:
        """Frames each side of a frame whose mel and noise its samples may depend on; others change no bit.

        A coupling looks Σ dilations · (kernel − 1) / 2 groups each way, a lapped front one more, and the
        conditioning some frames farther. So the inverse of a chunk that has `halo` frames more on each side
        (as far as there are any), cut down to the chunk, is the chunk of the whole.
        """
        config = self.config
        groups = config.flows * sum(config.dilations) * (config.kernel - 1) // 2 + self.front.overlap
        frames = -(-groups * config.group // self.spec.hop_length)  # rounded up
        return frames + max(self.encoder.reach, self.front.reach)

    def forward(self, audio: Tensor, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Data → latent: ``z [B, T]`` and ``log |det ∂z/∂audio|`` ``[B]``."""
        self._check("audio", audio, mel, InvalidAudio)
        features, whitening = self._condition(audio, mel)
        x, front_log_det = self.front.flow(audio, whitening)
        z, log_det = self.flow(x, features)
        return z, front_log_det + log_det

    def inverse(self, z: Tensor, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Latent → data: ``audio [B, T]`` and ``log |det ∂audio/∂z|`` ``[B]``."""
        self._check("z", z, mel, InvalidInput)
        features, whitening = self._condition(z, mel)
        x, log_det = self.flow.inverse(z, features)
        audio, front_log_det = self.front.flow.inverse(x, whitening)
        return audio, log_det + front_log_det

    def log_prob(self, audio: Tensor, mel: Tensor) -> Tensor:
        """``log p(audio | mel)`` ``[B]`` in nats, with ½ ln 2π a sample; divide by T for nats per sample."""
        z, log_det = self(audio, mel)
        return self.prior.log_prob(z) + log_det

    def _check(self, name: str, signal: Tensor, mel: Tensor, error: type[InvalidInput]) -> None:
        bands = self.spec.n_mels
        if mel.ndim != 3 or mel.shape[1] != bands or mel.shape[2] == 0:
            raise InvalidMel(f"mel has shape {tuple(mel.shape)}, expected [batch, {bands}, frames]")
        if signal.ndim != 2 or signal.shape[1] != self.spec.samples(mel.shape[2]):
            rule = f"[batch, frames · hop] = [batch, {self.spec.samples(mel.shape[2])}]"
            raise error(f"{name} has shape {tuple(signal.shape)}, expected {rule}")
        if signal.shape[0] != mel.shape[0]:
            raise InvalidInput(f"{name} is a batch of {len(signal)} and mel of {len(mel)}, expected as many")

    def _condition(self, signal: Tensor, mel: Tensor) -> tuple[Tensor, Tensor | None]:
        features = self.encoder(mel, signal.shape[1] // self.config.group)
        return features, self.front.condition(mel, features)


def _conditioning(config: WaveGlowConfig, spec: MelSpec) -> tuple[TransposedUpsample | FrameEncoder, int]:
    if config.conditioning == "transposed":
        channels = spec.n_mels * config.group
        return TransposedUpsample(spec.n_mels, spec.win_length, spec.hop_length, config.group), channels
    width, layers = config.cond_channels, config.cond_layers
    return FrameEncoder(spec.n_mels, width, layers, spec.hop_length, config.group), width


def _front(
    config: WaveGlowConfig, spec: MelSpec, cond_channels: int
) -> NoFront | LappedFront | CholeskyFront:
    if config.front == "lapped":
        return LappedFront(spec, config.group, config.group, cond_channels)
    if config.front == "filter":
        return LappedFront(spec, spec.hop_length, config.group, cond_channels, back_in_time=True)
    return CholeskyFront(spec, config.group) if config.front == "cholesky" else NoFront()


def _steps(config: WaveGlowConfig, cond_channels: int, channels: int, step: int) -> list[Flow]:
    """The steps from ``step`` on; an early output nests all that follow it."""
    if step == config.flows:
        return []
    if config.early_every and step and step % config.early_every == 0:
        rest = channels - config.early_size
        inner = [*_step(config, cond_channels, rest), *_steps(config, cond_channels, rest, step + 1)]
        return [Split(config.early_size, Chain(inner))]
    return [*_step(config, cond_channels, channels), *_steps(config, cond_channels, channels, step + 1)]


def _step(config: WaveGlowConfig, cond_channels: int, channels: int) -> list[Flow]:
    keep = channels // 2
    net = WaveNet(
        keep,
        2 * (channels - keep),
        cond_channels,
        channels=config.channels,
        dilations=config.dilations,
        kernel=config.kernel,
    )
    return [InvertibleConv1x1(channels), AffineCoupling(net, keep, bound=config.bound)]
