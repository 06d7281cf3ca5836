"""Where the nats are: the likelihood of a clip, frame by frame.

The exact log-likelihood is a sum over latents and over log-scales, and each of them sits somewhere::

    ln p(audio | mel) = Σ_t [ ln N(z_t; 0, 1) + d_t ]            z, d: `WaveGlow.local`, both [B, T]

    samples   0         hop        2·hop       3·hop
              ├──────────┼───────────┼───────────┤               nats of a frame: the sum over its hop
    frames         0           1           2                     samples; the sum over all frames is ln p

The sum is exact. Which frame a nat is counted in is a convention: d_t holds the log-scales of the group, or
of the block of spectral coefficients, that t lies in, and of a flow that treats all positions alike (a 1×1
convolution) an equal share. Groups and blocks are whole within a frame. A network looks some frames to either
side, and so may let one frame pay for another: the curve says where, to within about the model's halo.

Letters: B batch, T samples, M mel bands, L mel frames.
"""

from __future__ import annotations

from torch import Tensor

from vocoder.models.waveglow import WaveGlow
from vocoder.padding import cleared

__all__ = ["log_prob_by_frame"]


def log_prob_by_frame(model: WaveGlow, audio: Tensor, mel: Tensor, lengths: Tensor | None = None) -> Tensor:
    """``log p(audio | mel)`` in nats, frame by frame: ``[B, L]``, whose sum over L is `WaveGlow.log_prob`.

    Shapes ``audio [B, T]``, ``mel [B, M, L]``, T = L · hop, and ``lengths [B]`` in frames, behind which the
    answer is zero; the errors are the model's.
    """
    z, log_det = model.local(audio, mel, lengths)
    by_frame = (model.prior.local(z) + log_det).unflatten(1, (mel.shape[2], -1)).sum(2)
    return cleared(by_frame, lengths)
