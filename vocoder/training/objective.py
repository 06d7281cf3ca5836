"""What training minimises: the exact negative log-likelihood, and if asked a spectral distance of samples.

Shape letters: B batch, T samples, M mel bands, L mel frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vocoder.models.envelope import NOISE_FLOOR
from vocoder.models.waveglow import WaveGlow

RESOLUTIONS = ((256, 64), (512, 128), (1024, 256), (2048, 512))
"""(window, hop) of the multi-resolution STFT distance, in samples."""


@dataclass(frozen=True)
class Weights:
    """How much each term counts.

    Attributes:
        likelihood: of the negative log-likelihood in nats per sample.
        spectral: of the multi-resolution STFT distance between a sample from the model and the recording.
        temperature: of those samples.
        likelihood_every: the likelihood is computed on one in so many segments of a batch, but in every step:
            samples alone would let the flow drift to where recordings have no likelihood.
    """

    likelihood: float = 1.0
    spectral: float = 0.0
    temperature: float = 0.8
    likelihood_every: int = 1


class Objective(nn.Module):
    """``likelihood · NLL(audio + noise | mel) + spectral · D(inverse(temperature · z, mel), audio)``.

    NLL in nats per sample, the constant ½ ln 2π included. D is the multi-resolution STFT distance. The flow
    stays invertible and its likelihood exact whatever the weights: the second term only prefers, among flows,
    those whose samples have the recording's spectrogram.

    Shapes: ``audio [B, T]``, ``mel [B, M, L]``, ``noise [2, B, T]`` (dequantisation, latent) → dict of 0-d
    tensors.
    """

    def __init__(self, model: WaveGlow, weights: Weights) -> None:
        super().__init__()
        self.model, self.weights = model, weights

    def forward(self, audio: Tensor, mel: Tensor, noise: Tensor) -> dict[str, Tensor]:
        scored = slice(None, None, self.weights.likelihood_every)
        noisy = audio[scored] + NOISE_FLOOR * noise[0, scored]
        terms = {"nll": -self.model.log_prob(noisy, mel[scored]).mean() / audio.shape[1]}
        if self.weights.spectral:
            sample, _ = self.model.inverse(self.weights.temperature * noise[1], mel)
            terms["spectral"] = stft_distance(sample, audio)
        terms["loss"] = self._total(terms)
        return terms

    def _total(self, terms: dict[str, Tensor]) -> Tensor:
        weighted = {"nll": self.weights.likelihood, "spectral": self.weights.spectral}
        return torch.stack([weighted[name] * value for name, value in terms.items()]).sum()


def stft_distance(x: Tensor, y: Tensor) -> Tensor:
    """Multi-resolution STFT distance, averaged over `RESOLUTIONS`: spectral convergence plus log-magnitude
    L1.

    ``‖|X| − |Y|‖_F / ‖|Y|‖_F + mean |ln|X| − ln|Y||`` (Yamamoto et al. 2020, Parallel WaveGAN,
    arXiv:1910.11480, eq. 6–7), magnitudes floored at 1e-4 for the logarithm. ``[B, T]`` and ``[B, T]`` → 0-d.
    """
    return torch.stack([_distance(_magnitude(x, *r), _magnitude(y, *r)) for r in RESOLUTIONS]).mean()


def _distance(x: Tensor, y: Tensor) -> Tensor:
    convergence = torch.linalg.vector_norm(x - y, dim=(1, 2)) / torch.linalg.vector_norm(y, dim=(1, 2))
    return convergence.mean() + (x.clamp(min=1e-4).log() - y.clamp(min=1e-4).log()).abs().mean()


def _magnitude(x: Tensor, window: int, hop: int) -> Tensor:
    taper = torch.hann_window(window, device=x.device, dtype=x.dtype)
    spectrum = torch.view_as_real(torch.stft(x, window, hop, window=taper, return_complex=True))
    return (spectrum.square().sum(-1) + 1e-9).sqrt()  # the constant keeps the gradient of |0| finite
