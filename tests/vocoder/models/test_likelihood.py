"""Likelihood by frame: sums to the exact likelihood, whatever the model, and each nat is near its cause."""

from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import Tensor

from tests.vocoder.laws import stirred
from vocoder.errors import InvalidAudio, InvalidMel
from vocoder.features import MelSpec
from vocoder.models.likelihood import log_prob_by_frame
from vocoder.models.waveglow import WaveGlow, WaveGlowConfig
from vocoder.models.waveglow_config import Front

SPEC = MelSpec(sample_rate=8000, n_fft=64, win_length=48, hop_length=16, n_mels=5, f_min=0.0, f_max=4000.0)
EARLY = WaveGlowConfig(
    group=4,
    flows=3,
    early_every=2,
    early_size=1,
    channels=4,
    dilations=(1, 3),
    conditioning="encoder",
    cond_channels=3,
    bound=2.0,
)
SHAPES = {
    **{f"{front}, early": replace(EARLY, front=front) for front in get_args(Front)},
    "published": replace(EARLY, conditioning="transposed", cond_channels=0, bound=None),
    "no early output": replace(EARLY, early_every=0, early_size=0, front="filter"),
    "a frame a group": replace(EARLY, group=16, front="lapped", dilations=(1,)),
    "additive": replace(EARLY, coupling="additive", bound=None, mix="swap"),
    "alternating halves": replace(EARLY, halves="alternate", mix="shuffle", front="filter"),
    "squeezewave": replace(EARLY, conditioning="repeat", cond_channels=0, net="separable"),
}
every_shape = pytest.mark.parametrize("shape", SHAPES)


def clips(shape: str, frames: int, batch: int = 2) -> tuple[WaveGlow, Tensor, Tensor]:
    """A model whose parameters are not at rest, and a batch for it, in double precision."""
    model = stirred(WaveGlow(SHAPES[shape], SPEC).double(), 0.1)
    audio = 0.1 * torch.randn(batch, SPEC.samples(frames), dtype=torch.float64)
    return model, audio, torch.randn(batch, SPEC.n_mels, frames, dtype=torch.float64) - 4


@every_shape
def test_the_frames_add_up(shape: str) -> None:
    """The sum over frames is the exact log-likelihood, to 1e-10 of it."""
    model, audio, mel = clips(shape, 7)
    by_frame = log_prob_by_frame(model, audio, mel)
    assert by_frame.shape == (2, 7)
    torch.testing.assert_close(by_frame.sum(1), model.log_prob(audio, mel), rtol=1e-10, atol=0)


@every_shape
def test_the_latent_is_the_same(shape: str) -> None:
    """Looking at where the log-determinant comes from changes not one bit of z."""
    model, audio, mel = clips(shape, 5)
    z, log_det = model.local(audio, mel)
    assert log_det.shape == audio.shape
    assert torch.equal(z, model(audio, mel)[0])


@every_shape
def test_a_nat_is_near_its_cause(shape: str) -> None:
    """Other audio and another mel in one frame change that frame's nats, and none beyond the halo."""
    model, audio, mel = clips(shape, 40, 1)
    other_audio, other_mel = audio.clone(), mel.clone()
    other_audio[:, 20 * 16 : 21 * 16] *= 2
    other_mel[:, :, 20] += 1
    change = log_prob_by_frame(model, other_audio, other_mel) - log_prob_by_frame(model, audio, mel)
    near = (torch.arange(40) - 20).abs() <= model.halo
    assert near.sum() < 30
    assert change[0, 20].abs() > 0.01
    assert not change[0, ~near].any()


@every_shape
def test_clips_of_unequal_length(shape: str) -> None:
    """In a padded batch each clip has the nats that it has alone, and none behind its end."""
    model, audio, mel = clips(shape, 6)
    lengths = torch.tensor([6, 4])
    by_frame = log_prob_by_frame(model, audio, mel, lengths)
    alone = log_prob_by_frame(model, audio[1:, : 4 * 16], mel[1:, :, :4])
    torch.testing.assert_close(by_frame[1:, :4], alone, rtol=1e-10, atol=1e-10)
    assert not by_frame[1, 4:].any()
    torch.testing.assert_close(by_frame.sum(1), model.log_prob(audio, mel, lengths), rtol=1e-10, atol=0)


def test_a_louder_frame_is_told_from_its_neighbours() -> None:
    """A model at rest that whitens by the mel pays for a click in the frame that has it."""
    model = WaveGlow(SHAPES["lapped, early"], SPEC).double()
    audio, mel = 0.003 * torch.randn(1, 320, dtype=torch.float64), torch.full((1, 5, 20), -8.0).double()
    audio[0, 10 * 16 + 8] += 0.5
    assert log_prob_by_frame(model, audio, mel)[0].argmin() == 10


def test_refuses_what_the_model_refuses() -> None:
    """Shapes are for the model to judge, as in every other call."""
    model, audio, mel = clips("published", 5)
    with pytest.raises(InvalidAudio, match="audio has shape"):
        log_prob_by_frame(model, audio[:, 1:], mel)
    with pytest.raises(InvalidMel, match="mel has shape"):
        log_prob_by_frame(model, audio, mel[:, 1:])
