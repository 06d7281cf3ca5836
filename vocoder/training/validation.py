"""The project's one unit of likelihood, and a sample to look at.

Shape letters: B batch, T samples, M mel bands, L mel frames.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vocoder.audio import at_level
from vocoder.features import LogMel
from vocoder.models.envelope import NOISE_FLOOR
from vocoder.models.waveglow import WaveGlow
from vocoder.noise import noise


class Validation:
    """Negative log-likelihood of held-out clips, in nats per sample.

    Every clip is scaled to an RMS of 0.06 and given Gaussian noise of 3e-4 (the same on every call), its mel
    is that of the scaled clip without noise, and the constant ½ ln 2π is included; the sum over all clips is
    divided by the number of all samples. Lower is better, and numbers of different models compare.
    """

    def __init__(self, clips: list[np.ndarray], model: WaveGlow) -> None:
        self.log_mel = LogMel(model.spec)
        self.pairs = [
            self._pair(torch.from_numpy(clip.astype(np.float32)), model.spec.hop_length) for clip in clips
        ]

    @torch.inference_mode()
    def __call__(self, model: WaveGlow) -> float:
        device = next(model.parameters()).device
        total = torch.zeros((), dtype=torch.float64)
        for audio, mel in self.pairs:
            noisy = audio + NOISE_FLOOR * noise(0, 0, audio.shape[1])
            log_prob = model.log_prob(noisy.to(device), mel.to(device))
            total -= log_prob.sum().double().cpu()
        return float(total) / sum(audio.numel() for audio, _ in self.pairs)

    @torch.inference_mode()
    def sample(self, model: WaveGlow, temperature: float) -> tuple[Tensor, Tensor]:
        """The first clip ``[T]`` and what the model makes of its mel ``[T]``."""
        audio, mel = self.pairs[0]
        z = temperature * noise(0, 0, audio.shape[1])[None]
        device = next(model.parameters()).device
        sample, _ = model.inverse(z.to(device), mel.to(device))
        return audio[0], sample[0].cpu()

    def _pair(self, clip: Tensor, hop: int) -> tuple[Tensor, Tensor]:
        audio = at_level(clip)[None]
        frames = audio.shape[1] // hop
        return audio[:, : frames * hop], self.log_mel(audio)[:, :, :frames]
