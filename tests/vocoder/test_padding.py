"""A clip in a padded batch is the clip alone, whatever its neighbours are, and whatever stands behind it."""

from collections.abc import Sequence

import pytest
import torch

from tests.vocoder.shapes import TINY, TINY_SPEC, every_shape, make_audio, make_mel, make_model
from vocoder.errors import InvalidInput
from vocoder.models.waveglow import WaveGlowConfig

MIXES = [(1, 9), (9, 1, 5), (4, 4), (2, 3, 4, 11)]


@every_shape
@pytest.mark.parametrize("mix", MIXES, ids=str)
@pytest.mark.parametrize("garbage", [0.0, 3.0, float("nan")], ids=["zeros", "noise", "nan"])
def test_a_clip_with_strangers_is_the_clip_alone(
    config: WaveGlowConfig, mix: Sequence[int], garbage: float
) -> None:
    """z, audio and both log-determinants to 1e-12, with anything at all in the padding."""
    model, lengths, hop = make_model(config), torch.tensor(mix), TINY_SPEC.hop_length
    signal, mel = make_audio(TINY_SPEC, max(mix), len(mix)), make_mel(TINY_SPEC, max(mix), len(mix))
    for clip, frames in enumerate(mix):
        signal[clip, frames * hop :] *= garbage
        mel[clip, :, frames:] += garbage
    with torch.no_grad():
        for direction in (model, model.inverse):
            together, log_det = direction(signal, mel, lengths)
            for clip, frames in enumerate(mix):
                own = slice(clip, clip + 1)
                alone, own_log_det = direction(signal[own, : frames * hop], mel[own, :, :frames])
                torch.testing.assert_close(together[own, : frames * hop], alone, rtol=0, atol=1e-12)
                torch.testing.assert_close(log_det[own], own_log_det, rtol=1e-12, atol=1e-10)
                assert not together[own, frames * hop :].any()
        scores = model.log_prob(signal, mel, lengths)
        first = model.log_prob(signal[:1, : mix[0] * hop], mel[:1, :, : mix[0]])
    torch.testing.assert_close(scores[:1], first, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("lengths", [[1], [0, 5], [5, 6], [1.0, 2.0], [[1, 2]]], ids=str)
def test_lengths_that_cannot_be_are_refused(lengths: list[int]) -> None:
    """One for each clip, of at least a frame and at most the batch's."""
    model = make_model(TINY)
    with pytest.raises(InvalidInput, match="lengths is"):
        model(make_audio(TINY_SPEC, 5), make_mel(TINY_SPEC, 5), torch.tensor(lengths))
