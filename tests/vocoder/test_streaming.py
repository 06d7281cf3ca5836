"""Chunks are the whole: exact in double precision, near it in single, and early."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import vocoder
from vocoder.errors import InvalidInput, InvalidMel
from vocoder.models.waveglow import WaveGlow
from vocoder.noise import noise
from vocoder.streaming import FIRST, render_in_chunks
from vocoder.synthesis import Vocoder

HELLO = Path(__file__).parents[2] / "samples" / "hello.npy"


@pytest.fixture(scope="module", params=["waveglow-tiny", "default"])
def voice(request: pytest.FixtureRequest) -> Vocoder:
    """A voice of each shape that ships."""
    return vocoder.load(request.param, device="cpu")


@pytest.fixture(scope="module")
def mel() -> Tensor:
    """Speech, long enough for several halos."""
    return torch.from_numpy(np.load(HELLO))


def rendered(model: WaveGlow, mel: Tensor, first: int) -> Tensor:
    """In double precision: the mel's audio, its noise that of frame `first` on."""
    hop = model.spec.hop_length
    z = 0.7 * noise(5, first * hop, mel.shape[1] * hop).double()
    with torch.inference_mode():
        return model.inverse(z[None], mel.double()[None])[0][0]


@pytest.mark.parametrize("chunk", [1, 40, 1000])
@pytest.mark.parametrize("piece", [7, 1000])
def test_chunks_are_the_whole_in_double_precision(
    voice: Vocoder, mel: Tensor, chunk: int, piece: int
) -> None:
    """Whatever the size of chunks, and of the pieces a mel comes in, no sample differs by more than 1e-12."""
    model = WaveGlow(voice.model.config, voice.spec).double()
    model.load_state_dict(voice.model.state_dict())
    mel = mel[:, :150]
    chunks = render_in_chunks(
        lambda part, first: rendered(model, part, first),
        mel.split(piece, 1),
        halo=model.halo,
        hop=voice.spec.hop_length,
        chunk=chunk,
    )
    joined = torch.cat(list(chunks))
    torch.testing.assert_close(joined, rendered(model, mel, 0), rtol=0, atol=1e-12)


def test_a_stream_is_a_call(voice: Vocoder, mel: Tensor) -> None:
    """`stream` says what a call says, for one seed and temperature, in chunks that grow."""
    chunks = list(voice.stream(mel, seed=3, temperature=0.5, chunk_frames=128))
    frames = [len(chunk) // voice.spec.hop_length for chunk in chunks]
    assert frames[:3] == [FIRST, 2 * FIRST, 4 * FIRST]
    assert sum(frames) == mel.shape[1]
    torch.testing.assert_close(torch.cat(chunks), voice(mel, seed=3, temperature=0.5), rtol=0, atol=1e-3)


def test_audio_leaves_as_soon_as_its_halo_is_there(voice: Vocoder, mel: Tensor) -> None:
    """From frames that come one by one, the first chunk is there after itself and its halo."""
    taken = 0

    def frames() -> Iterator[Tensor]:
        nonlocal taken
        for frame in mel.split(1, 1):
            taken += 1
            yield frame

    next(voice.stream(frames()))
    assert taken == FIRST + voice.model.halo


def test_bad_arguments_are_refused_at_once_and_bad_pieces_when_reached(voice: Vocoder, mel: Tensor) -> None:
    """Nothing has to be pulled to learn of a wrong argument; a wrong piece is named when it comes."""
    for wrong in (
        {"chunk_frames": 0},
        {"first_frames": 0},
        {"halo": -1},
        {"halo": 1.0},
        {"seed": -1},
        {"temperature": 3.0},
    ):
        with pytest.raises(InvalidInput):
            voice.stream(mel, **wrong)
    with pytest.raises(InvalidMel, match="79"):
        list(voice.stream([mel, mel[:79]]))
    with pytest.raises(InvalidMel, match="one clip"):
        list(voice.stream(mel[None]))


def test_single_precision_costs_no_more_than_the_model_does(voice: Vocoder, mel: Tensor) -> None:
    """Chunks differ from the whole by at most four times what the whole differs from double precision."""
    exact = WaveGlow(voice.model.config, voice.spec).double()
    exact.load_state_dict(voice.model.state_dict())
    truth, whole = rendered(exact, mel, 0), voice(mel, seed=5, temperature=0.7)
    chunks = torch.cat(list(voice.stream(mel, seed=5, temperature=0.7, chunk_frames=64)))
    assert (chunks - whole).abs().max() <= 4 * (whole - truth).abs().max()


def test_a_smaller_halo_is_near(voice: Vocoder, mel: Tensor) -> None:
    """Half a halo is not exact but close, none at all is worse, and more than enough is exact."""
    whole = voice(mel, seed=1)

    def error(halo: int) -> float:
        chunks = torch.cat(list(voice.stream(mel, seed=1, chunk_frames=64, halo=halo)))
        return float((chunks - whole).square().mean().sqrt() / whole.square().mean().sqrt())

    assert error(0) > error(voice.model.halo // 2) > 0
    assert error(voice.model.halo // 2) < 0.3
    assert error(10_000) == pytest.approx(error(voice.model.halo))
    assert error(voice.model.halo) < 1e-3


def test_the_first_chunk_is_as_short_as_asked(voice: Vocoder, mel: Tensor) -> None:
    """`first_frames` sets the first chunk, and the others grow from it up to `chunk_frames`."""
    chunks = voice.stream(mel, chunk_frames=50, first_frames=10)
    assert [len(chunk) // voice.spec.hop_length for chunk in chunks][:4] == [10, 20, 40, 50]
