"""A batch of strangers: each clip is what it is alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import vocoder
from vocoder.errors import InvalidInput, InvalidMel
from vocoder.noise import noise
from vocoder.padding import padded
from vocoder.synthesis import Vocoder

HELLO = Path(__file__).parents[2] / "samples" / "hello.npy"


@pytest.fixture(scope="module", params=["waveglow-tiny", "default"])
def voice(request: pytest.FixtureRequest) -> Vocoder:
    """A voice of each shape that ships."""
    return vocoder.load(request.param, device="cpu")


@pytest.fixture(scope="module")
def mels() -> list[Tensor]:
    """Speech of several lengths, a single frame among them."""
    hello = torch.from_numpy(np.load(HELLO))
    return [hello[:, :n] for n in (70, 1, 33, 70)]


def test_a_clip_in_a_batch_is_the_clip_alone(voice: Vocoder, mels: list[Tensor]) -> None:
    """In double precision to 1e-12, for every clip of the batch."""
    model = type(voice.model)(voice.model.config, voice.spec).double()
    model.load_state_dict(voice.model.state_dict())
    hop, lengths = voice.spec.hop_length, torch.tensor([mel.shape[1] for mel in mels])
    z = [0.7 * noise(seed, 0, mel.shape[1] * hop).double() for seed, mel in enumerate(mels)]
    doubles = [mel.double() for mel in mels]
    with torch.no_grad():
        together = model.inverse(padded(z, 0.0), padded(doubles, voice.spec.log_floor), lengths)[0]
        for clip, (own_z, mel) in enumerate(zip(z, doubles, strict=True)):
            alone = model.inverse(own_z[None], mel[None])[0][0]
            torch.testing.assert_close(together[clip, : len(alone)], alone, rtol=0, atol=1e-12)


def test_batch_is_a_call_for_each(voice: Vocoder, mels: list[Tensor]) -> None:
    """Lengths are frames · hop; seeds count up or are given; arrays and tensors mix; denoised too."""
    for denoise in (0.0, 0.5):
        audio = voice.batch([mels[0].numpy(), *mels[1:]], seed=5, temperature=0.6, denoise=denoise)
        for clip, (mel, sound) in enumerate(zip(mels, audio, strict=True)):
            assert len(sound) == voice.spec.samples(mel.shape[1])
            alone = voice(mel, seed=5 + clip, temperature=0.6, denoise=denoise)
            torch.testing.assert_close(sound, alone, rtol=0, atol=1e-3)
    same = voice.batch([mels[0], mels[3]], seed=[9, 9])
    torch.testing.assert_close(same[0], same[1], rtol=0, atol=1e-5)


def test_what_is_no_batch_is_refused(voice: Vocoder, mels: list[Tensor]) -> None:
    """Nothing, a mel of other bands, and seeds that do not count."""
    with pytest.raises(InvalidInput, match="mels is empty"):
        voice.batch([])
    with pytest.raises(InvalidMel, match="79"):
        voice.batch([mels[0], mels[1][:79]])
    with pytest.raises(InvalidInput, match="2 seeds"):
        voice.batch(mels, seed=[1, 2])
