"""What training minimises: the exact negative log-likelihood, and if asked a spectral distance of samples.

Shape letters: B batch, T samples, M mel bands, L mel frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vocoder.errors import InvalidConfig
from vocoder.features import MelSpec
from vocoder.models.envelope import NOISE_FLOOR
from vocoder.models.waveglow import WaveGlow

Resolutions = tuple[tuple[int, int], ...]  # (window, hop) of each STFT, in samples


def resolutions(spec: MelSpec) -> Resolutions:
    """Those of the distance: the mel's own window and hop, a quarter, a half, and twice of them.

    >>> resolutions(MelSpec())
    ((256, 64), (512, 128), (1024, 256), (2048, 512))
    """
    wide, far = 2 * spec.n_fft, 2 * spec.hop_length
    return tuple((wide // part, max(1, far // part)) for part in (8, 4, 2, 1))


@dataclass(frozen=True)
class Weights:
    """How much each term counts; `InvalidConfig` for one that would be ignored.

    Attributes:
        likelihood: of the negative log-likelihood in nats per sample.
        spectral: of the multi-resolution STFT distance between a sample from the model and the recording.
        repulsion: of the distance between two samples of the same mel, which is taken off: with 1 the
            spectral term is an energy distance, least where samples differ as recordings do. With 0 a sample
            that never varies wins.
        locked: of how much more of a sample than of the recording repeats itself from group to group, as
            tones at multiples of Fs / G do; needs the spectral term, whose samples it looks at.
        temperature: of those samples.
        likelihood_every: the likelihood is computed on one in so many segments of a batch, but in every step:
            samples alone would let the flow drift to where recordings have no likelihood.
    """

    likelihood: float = 1.0
    spectral: float = 0.0
    repulsion: float = 0.0
    locked: float = 0.0
    temperature: float = 0.8
    likelihood_every: int = 1

    def __post_init__(self) -> None:
        for name in ("repulsion", "locked"):
            if getattr(self, name) and not self.spectral:
                raise InvalidConfig(f"Weights.{name} (={getattr(self, name)}) needs the spectral term (=0)")


class Objective(nn.Module):
    """``likelihood · NLL(y + noise | mel) + spectral · (½ D(x, y) + ½ D(x', y) − ½ repulsion · D(x, x'))``,
    and ``locked · excess_lock(x, y)``.

    NLL in nats per sample, the constant ½ ln 2π included. y is the recording, x and x' are samples,
    ``inverse(temperature · z, mel)``, of two latents, D is the multi-resolution STFT distance. Without
    repulsion, one sample is drawn and the term is D(x, y); with repulsion 1 it is half the generalised energy
    distance (Gritsenko et al. 2020, "A Spectral Energy Distance for Parallel Speech Synthesis",
    arXiv:2008.01160, eq. 4). The flow stays invertible and its likelihood exact whatever the weights: the
    second term only prefers, among flows, those whose samples have the recording's spectrogram.

    Shapes: ``audio [B, T]``, ``mel [B, M, L]``, ``noise [3, B, T]`` (dequantisation, two latents) → dict of
    0-d tensors.
    """

    def __init__(self, model: WaveGlow, weights: Weights) -> None:
        super().__init__()
        self.model, self.weights, self.resolutions = model, weights, resolutions(model.spec)

    def forward(self, audio: Tensor, mel: Tensor, noise: Tensor) -> dict[str, Tensor]:
        scored = slice(None, None, self.weights.likelihood_every)
        noisy = audio[scored] + NOISE_FLOOR * noise[0, scored]
        terms = {"nll": -self.model.log_prob(noisy, mel[scored]).mean() / audio.shape[1]}
        if self.weights.spectral:
            terms |= self._of_samples(audio, mel, noise[1 : 3 if self.weights.repulsion else 2])
        terms["loss"] = self._total(terms)
        return terms

    def _of_samples(self, audio: Tensor, mel: Tensor, z: Tensor) -> dict[str, Tensor]:
        samples = [self.model.inverse(self.weights.temperature * each, mel)[0] for each in z]
        terms = {"spectral": self._spectral(audio, samples)}
        if self.weights.locked:
            terms["locked"] = excess_lock(samples[0], audio, self.model.config.group)
        return terms

    def _spectral(self, audio: Tensor, samples: list[Tensor]) -> Tensor:
        near = torch.stack([stft_distance(x, audio, audio, self.resolutions) for x in samples]).mean()
        if len(samples) == 1:
            return near
        far = stft_distance(samples[0], samples[1], audio, self.resolutions)
        return near - 0.5 * self.weights.repulsion * far

    def _total(self, terms: dict[str, Tensor]) -> Tensor:
        weights = {
            "nll": self.weights.likelihood,
            "spectral": self.weights.spectral,
            "locked": self.weights.locked,
        }
        return torch.stack([weights[name] * value for name, value in terms.items()]).sum()


def excess_lock(x: Tensor, y: Tensor, group: int) -> Tensor:
    """How much louder the lines at k · Fs / G are in ``x`` than in ``y``, against all that is near them.

    ``mean_B max(0, ln r(x) − ln r(y))``, r the mean over k of the power of line k over that of its neighbours
    in the spectrum of the segment, under a Hann window (`vocoder.tones`): 1 by chance, more where groups
    repeat one another. Twice ``[B, T]``, T a multiple of G and 8 G at least → 0-d.
    """
    return (_lock(x, group).log() - _lock(y, group).log()).clamp(min=0).mean()


def _lock(audio: Tensor, group: int) -> Tensor:
    """``r [B]``."""
    samples = audio.shape[1]
    taper = torch.hann_window(samples, device=audio.device, dtype=audio.dtype)
    power = torch.view_as_real(torch.fft.rfft(audio * taper)).square().sum(-1)  # [B, T / 2 + 1]
    between = samples // group  # bins from one line to the next
    lines = between * torch.arange(1, group // 2, device=audio.device)
    aside = torch.arange(3, max(3, between // 4) + 1, device=audio.device)  # nearer ones are the line's own
    near = power[:, lines[:, None] + torch.cat([-aside, aside])].mean(2)
    return (power[:, lines] / (near + 1e-12)).mean(1)


def stft_distance(x: Tensor, y: Tensor, size: Tensor, at: Resolutions) -> Tensor:
    """Multi-resolution STFT distance, averaged over resolutions: spectral convergence plus log-magnitude L1.

    ``‖|X| − |Y|‖_F / ‖|R|‖_F + mean |ln|X| − ln|Y||`` (Yamamoto et al. 2020, Parallel WaveGAN,
    arXiv:1910.11480, eq. 6–7, where R, the spectrum of ``size``, is Y), magnitudes floored at 1e-4 for the
    logarithm. Three times ``[B, T]`` → 0-d.
    """
    return torch.stack([_distance(*(_magnitude(s, *r) for s in (x, y, size))) for r in at]).mean()


def _distance(x: Tensor, y: Tensor, size: Tensor) -> Tensor:
    convergence = torch.linalg.vector_norm(x - y, dim=(1, 2)) / torch.linalg.vector_norm(size, dim=(1, 2))
    return convergence.mean() + (x.clamp(min=1e-4).log() - y.clamp(min=1e-4).log()).abs().mean()


def _magnitude(x: Tensor, window: int, hop: int) -> Tensor:
    taper = torch.hann_window(window, device=x.device, dtype=x.dtype)
    spectrum = torch.view_as_real(torch.stft(x, window, hop, window=taper, return_complex=True))
    return (spectrum.square().sum(-1) + 1e-9).sqrt()  # the constant keeps the gradient of |0| finite
