"""How much a model computes: multiply-adds per second of audio."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from vocoder.models.waveglow import WaveGlow


def giga_macs(model: WaveGlow) -> float:
    """Nominal GMAC per second of audio of one synthesis, counted by torch over convolutions and matrix
    products.

    Ten seconds are synthesised, so that what is done once a call (inverses of the 1×1 convolutions) weighs
    little.
    """
    frames = 10 * model.spec.sample_rate // model.spec.hop_length
    samples = model.spec.samples(frames)
    parameter = next(model.parameters())
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.inverse(parameter.new_zeros(1, samples), parameter.new_zeros(1, model.spec.n_mels, frames))
    return counter.get_total_flops() / 2e9 * model.spec.sample_rate / samples
