"""What training minimises: the likelihood of mels, and the errors of what is predicted of texts.

Shape letters: B batch, N symbols, L mel frames.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vocoder.models.alignment import owners
from vocoder.models.glowtts import Explained, GlowTTS
from vocoder.models.intonation import by_symbol, filled
from vocoder.nets.comb import SPAN
from vocoder.training.acoustic.batches import Batch
from vocoder.training.acoustic.nudge import nudge

__all__ = ["Objective", "pitch_of_symbols"]

UNVOICED = 0.05  # how much a frame without pitch counts: its contour is a guess, and still better than none


class Objective(nn.Module):
    """``NLL + duration + total + pitch``, a dict of 0-d tensors.

    ``nll``: −ln p(mel | text, f0) in nats per number of the mel. ``duration``: Huber loss of ln frames of
    each symbol against the alignment. ``total``: squared error of the logarithm of their sum, which single
    symbols, whose mean logarithm is not the logarithm of the mean, would get too low. ``pitch``: Huber loss
    of ln f0 of each symbol in units of 0.25, voiced frames counting. What predicts has no parameter in common
    with what aligns, so the weights are no choice between them.
    """

    def __init__(self, model: GlowTTS) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, guided: float = 0.0) -> dict[str, Tensor]:
        """``guided``: how much alignments are held near to where symbols are expected, see `nudge`."""
        near = guided * nudge(batch.ids, batch.symbols, batch.frames, batch.mel.shape[2]) if guided else None
        explained = self.model.explain(
            batch.mel, batch.ids, batch.f0, batch.symbols, batch.frames, nudge=near
        )
        numbers = explained.durations.sum() * batch.mel.shape[1]
        terms = {"nll": -explained.log_prob.sum() / numbers, **prediction_errors(explained, batch)}
        terms["loss"] = torch.stack(list(terms.values())).sum()
        return terms


def prediction_errors(explained: Explained, batch: Batch) -> dict[str, Tensor]:
    """``duration``, ``total`` and ``pitch``."""
    said = torch.arange(batch.ids.shape[1], device=batch.ids.device) < batch.symbols[:, None]
    durations, predicted = explained.durations, explained.predicted
    wanted = durations.clamp(min=1).to(predicted.log_duration.dtype).log()
    error = F.smooth_l1_loss(predicted.log_duration, wanted, reduction="none")
    total = predicted.log_duration.masked_fill(~said, -torch.inf).logsumexp(1)
    wanted_total = durations.sum(1).to(total.dtype).log()
    pitch, weight = pitch_of_symbols(batch, durations)
    off = F.smooth_l1_loss((predicted.log_f0 - pitch) / SPAN, torch.zeros_like(pitch), reduction="none")
    return {
        "duration": error[said].mean(),
        "total": (total - wanted_total).square().mean(),
        "pitch": (off * weight).sum() / weight.sum().clamp(min=1),
    }


def pitch_of_symbols(batch: Batch, durations: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ln f0 of each symbol, ``[B, N]``, and on how many frames it rests; unvoiced ones hardly count."""
    frames = durations.sum(1)
    inside = torch.arange(batch.f0.shape[1], device=frames.device) < frames[:, None]
    weights = torch.where(batch.f0 > 0, 1.0, UNVOICED) * inside
    owner = owners(durations, batch.f0.shape[1])
    return by_symbol(filled(batch.f0, frames), weights, owner, batch.ids.shape[1])
