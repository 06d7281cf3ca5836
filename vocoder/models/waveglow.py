"""WaveGlow: a flow from audio to noise, conditioned on a mel spectrogram.

Prenger, Valle & Catanzaro 2018, "WaveGlow: A Flow-based Generative Network for Speech Synthesis",
arXiv:1811.00002.

Shape letters: B batch, T samples, M mel bands, L mel frames, G group size, S = T / G groups, C channels.
"""

from __future__ import annotations

from torch import Tensor, nn

from vocoder.errors import InvalidAudio, InvalidConfig, InvalidInput, InvalidMel
from vocoder.features import MelSpec
from vocoder.flows import (
    AdditiveCoupling,
    AffineCoupling,
    Chain,
    Flow,
    GaussianPrior,
    Inverse,
    InvertibleConv1x1,
    Reverse,
    Scale,
    Shuffle,
    Split,
    Squeezed,
    Swap,
)
from vocoder.models.front import CholeskyFront, LappedFront, NoFront
from vocoder.models.waveglow_config import WaveGlowConfig
from vocoder.nets.separable import SeparableWaveNet
from vocoder.nets.upsample import FrameEncoder, Repeat, TransposedUpsample
from vocoder.nets.wavenet import WaveNet
from vocoder.padding import cleared

__all__ = ["WaveGlow", "WaveGlowConfig"]

Conditioner = TransposedUpsample | FrameEncoder | Repeat
Whitening = NoFront | LappedFront | CholeskyFront


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

    Shapes: ``audio [B, T]``, ``z [B, T]``, ``mel [B, M, L]`` with T = L · hop exactly. Clips of unequal
    length are one batch with ``lengths [B]``, the frames of each: what stands behind a clip's end changes
    nothing in it, and comes out as zeros. Raises `InvalidAudio`
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
        steps = _steps(config, cond_channels, config.group, 0)
        scale = [Scale(config.group)] if config.coupling == "additive" else []
        self.flow = Squeezed(config.group, Chain([*steps, *scale]))

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

    def forward(
        self, audio: Tensor, mel: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Data → latent: ``z [B, T]`` and ``log |det ∂z/∂audio|`` ``[B]``."""
        self._check("audio", audio, mel, lengths, InvalidAudio)
        audio, samples = self._samples(audio, lengths)
        features, whitening = self._condition(audio, mel, lengths)
        x, front_log_det = self.front.flow(audio, whitening, samples)
        z, log_det = self.flow(x, features, samples)
        return z, front_log_det + log_det

    def local(
        self, audio: Tensor, mel: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Data → latent, with the log-determinant sample by sample, ``[B, T]``: see `Flow.local`."""
        self._check("audio", audio, mel, lengths, InvalidAudio)
        audio, samples = self._samples(audio, lengths)
        features, whitening = self._condition(audio, mel, lengths)
        x, front_log_det = self.front.flow.local(audio, whitening, samples)
        z, log_det = self.flow.local(x, features, samples)
        return z, front_log_det + log_det

    def inverse(self, z: Tensor, mel: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Latent → data: ``audio [B, T]`` and ``log |det ∂audio/∂z|`` ``[B]``."""
        self._check("z", z, mel, lengths, InvalidInput)
        z, samples = self._samples(z, lengths)
        features, whitening = self._condition(z, mel, lengths)
        x, log_det = self.flow.inverse(z, features, samples)
        audio, front_log_det = self.front.flow.inverse(x, whitening, samples)
        return audio, log_det + front_log_det

    def log_prob(self, audio: Tensor, mel: Tensor, lengths: Tensor | None = None) -> Tensor:
        """``log p(audio | mel)`` ``[B]`` in nats, with ½ ln 2π a sample; divide by T for nats per sample."""
        z, log_det = self(audio, mel, lengths)
        return self.prior.log_prob(z, self._samples(z, lengths)[1]) + log_det

    def _check(
        self, name: str, signal: Tensor, mel: Tensor, lengths: Tensor | None, error: type[InvalidInput]
    ) -> None:
        bands = self.spec.n_mels
        if mel.ndim != 3 or mel.shape[1] != bands or mel.shape[2] == 0:
            raise InvalidMel(f"mel has shape {tuple(mel.shape)}, expected [batch, {bands}, frames]")
        if signal.ndim != 2 or signal.shape[1] != self.spec.samples(mel.shape[2]):
            rule = f"[batch, frames · hop] = [batch, {self.spec.samples(mel.shape[2])}]"
            raise error(f"{name} has shape {tuple(signal.shape)}, expected {rule}")
        if signal.shape[0] != mel.shape[0]:
            raise InvalidInput(f"{name} is a batch of {len(signal)} and mel of {len(mel)}, expected as many")
        if lengths is not None and not _are_lengths(lengths, mel):
            rule = f"{len(mel)} integers within 1 … {mel.shape[2]}, the frames of each clip"
            raise InvalidInput(f"lengths is {lengths!r}, expected {rule}")

    def _samples(self, signal: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The signal with silence behind the end of each clip, and the clips' lengths in samples."""
        samples = None if lengths is None else lengths * self.spec.hop_length
        return cleared(signal, samples), samples

    def _condition(
        self, signal: Tensor, mel: Tensor, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        mel = cleared(mel, lengths, self.spec.log_floor)  # whatever came: what is not finite would spread
        features = self.encoder(mel, signal.shape[1] // self.config.group, lengths)
        return features, self.front.condition(mel, features, lengths)


def _are_lengths(lengths: Tensor, mel: Tensor) -> bool:
    whole = lengths.shape == mel.shape[:1] and not (lengths.is_floating_point() or lengths.is_complex())
    return whole and bool(((lengths >= 1) & (lengths <= mel.shape[2])).all())


def _conditioning(config: WaveGlowConfig, spec: MelSpec) -> tuple[Conditioner, int]:
    if config.conditioning == "repeat":
        return Repeat(), spec.n_mels
    if config.conditioning == "transposed":
        channels = spec.n_mels * config.group
        return TransposedUpsample(spec.n_mels, spec.win_length, spec.hop_length, config.group), channels
    width, layers = config.cond_channels, config.cond_layers
    return FrameEncoder(spec.n_mels, width, layers, spec.hop_length, config.group), width


def _front(config: WaveGlowConfig, spec: MelSpec, cond_channels: int) -> Whitening:
    if config.front == "lapped":
        return LappedFront(spec, config.group, config.group, cond_channels)
    if config.front == "filter":
        return LappedFront(spec, spec.hop_length, config.group, cond_channels, back_in_time=True)
    return CholeskyFront(spec, config.group) if config.front == "cholesky" else NoFront()


def _steps(config: WaveGlowConfig, cond_channels: int, channels: int, step: int) -> list[Flow]:
    """The steps from ``step`` on; an early output nests all that follow it."""
    if step == config.flows:
        return []
    early = config.early_size if config.early_every and step and step % config.early_every == 0 else 0
    rest = channels - early
    coupling = _coupling(config, cond_channels, rest, step)
    flows = [_mix(config, rest, step), coupling, *_steps(config, cond_channels, rest, step + 1)]
    return [Split(early, Chain(flows))] if early else flows


def _mix(config: WaveGlowConfig, channels: int, step: int) -> Flow:
    if config.mix == "conv":
        return InvertibleConv1x1(channels)
    if config.mix == "shuffle":
        return Shuffle(channels, seed=step)
    return Swap(channels // 2) if config.mix == "swap" else Reverse()


def _coupling(config: WaveGlowConfig, cond_channels: int, channels: int, step: int) -> Flow:
    keep = channels // 2
    net, changed = _network(config, cond_channels, keep, channels - keep), channels - keep
    flow: Flow = AffineCoupling(net, keep, bound=config.bound)
    if config.coupling == "additive":
        flow = AdditiveCoupling(net, keep)
    if config.halves == "alternate" and step % 2:  # the last channels come first, and go back
        return Chain([Swap(changed), flow, Inverse(Swap(changed))])
    return flow


def _network(config: WaveGlowConfig, cond_channels: int, keep: int, changed: int) -> nn.Module:
    kind = WaveNet if config.net == "wavenet" else SeparableWaveNet
    return kind(
        keep,
        changed if config.coupling == "additive" else 2 * changed,
        cond_channels,
        channels=config.channels,
        dilations=config.dilations,
        kernel=config.kernel,
    )
