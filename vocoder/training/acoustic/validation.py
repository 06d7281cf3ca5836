"""What a model is judged by on clips that it never heard.

Letters: N symbols, M mel bands, L mel frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vocoder.models.glowtts import GlowTTS, Plan
from vocoder.models.intonation import filled
from vocoder.training.acoustic.batches import Batch, collate
from vocoder.training.acoustic.corpus import Clip
from vocoder.training.acoustic.objective import pitch_of_symbols

__all__ = ["Validation", "distortion"]

CEPSTRA = 24


class Validation:
    """Numbers of a model on held-out clips, which depend on nothing else; lower is better.

    ======== =========================================================================================
    nll      −ln p(mel | text, f0) in nats per number of the mel, the mean over all numbers
    length   |predicted frames / true frames − 1| of a clip, the mean over clips
    duration deviation of ln frames of single symbols from the alignment, root mean square
    pitch    deviation of predicted f0 of single symbols, root mean square over voiced frames, semitones
    mcd      mel-cepstral distortion in dB of a draw with the true durations and the true pitch
    ======== =========================================================================================
    """

    def __init__(self, clips: Sequence[Clip], temperature: float) -> None:
        self.singles, self.temperature = [collate([clip]) for clip in clips], temperature

    @torch.no_grad()
    def __call__(self, model: GlowTTS) -> dict[str, float]:
        device = next(model.parameters()).device
        rows = [_scores(model, single.to(device), self.temperature) for single in self.singles]
        sums = {name: sum(row[name] for row in rows) for name in rows[0]}
        return {
            "nll": sums["nll"] / sums["numbers"],
            "length": sums["length"] / len(rows),
            "duration": math.sqrt(sums["duration"] / sums["symbols"]),
            "pitch": 12 / math.log(2) * math.sqrt(sums["pitch"] / max(1.0, sums["voiced"])),
            "mcd": sums["mcd"] / len(rows),
        }

    @torch.no_grad()
    def sample(self, model: GlowTTS) -> tuple[Tensor, Tensor, Tensor]:
        """Mels ``[M, L]`` of the first clip: the recording's, one as it was spoken, one of the text alone."""
        single = self.singles[0].to(next(model.parameters()).device)
        true = single.mel[0, :, : int(single.frames)]
        text = model.infer(single.ids[0], temperature=self.temperature, seed=0)
        return true.cpu(), _spoken(model, single, self.temperature).cpu(), text.cpu()


def distortion(mel: Tensor, other: Tensor) -> float:
    """Mean over frames of ``10 / ln 10 · √(2 Σ (c_m − ĉ_m)²)`` dB of two log-mels ``[M, L]``, m = 1 … 24.

    Cepstra as `vocoder.metrics` has them, of the mels as they are.
    """
    bands = mel.shape[0]
    order = torch.arange(1, CEPSTRA + 1, device=mel.device)[:, None]
    basis = 2 / bands * torch.cos(math.pi / bands * order * (torch.arange(bands, device=mel.device) + 0.5))
    return float(10 / math.log(10) * (2 * (basis @ (mel - other)).square().sum(0)).sqrt().mean())


def _scores(model: GlowTTS, single: Batch, temperature: float) -> dict[str, float]:
    explained = model.explain(single.mel, single.ids, single.f0, single.symbols, single.frames)
    durations, predicted = explained.durations, explained.predicted
    pitch, weight = pitch_of_symbols(single, durations)
    voiced = torch.where(weight >= 1, weight, 0.0)
    spoken, frames = _spoken(model, single, temperature), int(durations.sum())
    return {
        "nll": -float(explained.log_prob),
        "numbers": frames * spoken.shape[0],
        "length": abs(float(predicted.log_duration.exp().sum()) / frames - 1),
        "duration": float((predicted.log_duration - durations.clamp(min=1).log()).square().sum()),
        "symbols": durations.numel(),
        "pitch": float(((predicted.log_f0 - pitch).square() * voiced).sum()),
        "voiced": float(voiced.sum()),
        "mcd": distortion(single.mel[0, :, :frames], spoken[:, :frames]),
    }


def _spoken(model: GlowTTS, single: Batch, temperature: float) -> Tensor:
    """A draw of a clip with its own durations and pitch, of whole groups of frames."""
    durations = model.explain(single.mel, single.ids, single.f0, single.symbols, single.frames).durations[0]
    frames = int(durations.sum())
    log_f0 = filled(single.f0[:, :frames])[0]
    return model.render(single.ids[0], Plan(durations, log_f0), temperature=temperature, seed=0)


