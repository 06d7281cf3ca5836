"""Other rates, whole and in pieces, and files that hold more than they seem to."""

import io
import struct
import tracemalloc

import numpy as np
import pytest
import soundfile
import soxr
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vocoder import audio
from vocoder.audio import Resampler
from vocoder.errors import InvalidAudio

RATES = [(22050, 48000), (22050, 24000), (48000, 22050), (22050, 8000), (22050, 22051), (22050, 192000)]


def noise(samples: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """White, from a seed."""
    return 0.3 * torch.randn(samples, generator=torch.Generator().manual_seed(1), dtype=dtype)


def in_pieces(pieces: tuple[Tensor, ...], from_rate: int, to_rate: int) -> Tensor:
    """What a resampler makes of them."""
    resampler = Resampler(from_rate, to_rate)
    return torch.cat([*[resampler.push(piece) for piece in pieces], resampler.finish()])


@pytest.mark.parametrize("samples", [1, 2, 3, 100, 511, 22050, 22051])
@pytest.mark.parametrize(
    ("from_rate", "to_rate"),
    [(22050, 16000), (16000, 22050), (48000, 22050), (22050, 22051), (8000, 48000), (192000, 8000)],
)
def test_resampled_length(samples: int, from_rate: int, to_rate: int) -> None:
    """Resampling T samples makes exactly ceil(T · to / from)."""
    assert len(audio.resample(noise(samples), from_rate, to_rate)) == -(-samples * to_rate // from_rate)


def test_resampling_keeps_the_noise() -> None:
    """A tone is the same tone at another rate, to the last sample but for its ends, in the dtype it had."""
    tone = torch.sin(2 * torch.pi * 440 * torch.arange(22050, dtype=torch.float64) / 22050)
    made = audio.resample(tone, 22050, 16000)
    expected = torch.sin(2 * torch.pi * 440 * torch.arange(16000, dtype=torch.float64) / 16000)
    torch.testing.assert_close(made[500:-500], expected[500:-500], rtol=0, atol=1e-5)
    theirs = torch.from_numpy(soxr.resample(tone.numpy(), 22050, 16000, quality="VHQ"))
    torch.testing.assert_close(made[:-1000], theirs[:-1000], rtol=0, atol=1e-9)


def test_an_equal_rate_changes_nothing() -> None:
    """Resampling to the rate that audio has returns it."""
    assert torch.equal(audio.resample(noise(10), 22050, 22050), noise(10))


def test_load_resamples() -> None:
    """A file of another rate is loaded at the rate that was asked for."""
    assert len(audio.decode(audio.encode(noise(44100), 44100), 22050)) == 22050


@pytest.mark.parametrize(
    ("shape", "rates"), [((1, 10), (22050, 16000)), ((10,), (0, 16000)), ((10,), (22050, -1))]
)
def test_resample_refuses(shape: tuple[int, ...], rates: tuple[int, int]) -> None:
    """Resampling wants `[T]` and rates that are positive integers."""
    with pytest.raises(InvalidAudio):
        audio.resample(torch.zeros(shape), *rates)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rates", RATES)
def test_pieces_are_resampled_as_the_whole(rates: tuple[int, int], dtype: torch.dtype) -> None:
    """To the last bit, and to the last sample, however the audio is cut."""
    whole = noise(20001, dtype)
    expected = audio.resample(whole, *rates)
    assert len(expected) == -(-20001 * rates[1] // rates[0])
    for size in (100, 256, 8192, 20001):
        made = in_pieces(whole.split(size), *rates)
        assert made.dtype == dtype
        assert torch.equal(made, expected)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 900), max_size=8), st.sampled_from(RATES))
def test_any_pieces_are_resampled(sizes: list[int], rates: tuple[int, int]) -> None:
    """Single samples, none, and as few as the filter is long."""
    whole = noise(sum(sizes))
    assert torch.equal(in_pieces(whole.split(sizes), *rates), audio.resample(whole, *rates))


def test_resampled_pieces_come_as_they_can() -> None:
    """After 50 ms of speech and before all of it: the filter needs no more than that."""
    resampler = Resampler(22050, 48000)
    made = [len(resampler.push(piece)) for piece in noise(22050).split(256)]
    assert next(index for index, size in enumerate(made) if size) * 256 < 0.05 * 22050
    assert sum(made) > 0.95 * 48000


def test_an_equal_rate_passes_through() -> None:
    """Piece for piece, in whatever dtype."""
    resampler, piece = Resampler(8000, 8000), noise(7).half()
    assert resampler.push(piece) is piece
    assert len(resampler.finish()) == 0


@pytest.mark.parametrize("rates", [(0, 8000), (8000, -1), (8000, 8000.0), (2**29, 8000)])
def test_a_resampler_refuses_what_is_no_rate(rates: tuple[int, int]) -> None:
    """Before any audio."""
    with pytest.raises(InvalidAudio, match="sample rate"):
        Resampler(*rates)


def flac_of(seconds: int, rate: int = 8000) -> bytes:
    """Silence, which needs hardly a byte a second."""
    pieces = (torch.zeros(rate) for _ in range(seconds))
    return b"".join(audio.encode_stream(pieces, None, rate, "flac"))


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "opus"])
def test_audio_that_is_too_long_is_refused(kind: str) -> None:
    """By its length, at its own rate: as long as is allowed passes, a sample more does not."""
    data = audio.encode(noise(16001), 16000, kind)
    assert len(audio.decode(data, 8000, max_seconds=16001 / 16000)) == 8001
    with pytest.raises(InvalidAudio, match="longer than 1 s"):
        audio.decode(data, 8000, max_seconds=1)


def test_a_bomb_is_put_out_early() -> None:
    """Ten minutes in a few kilobytes: refused after one second of it, in memory for not much more."""
    data = flac_of(600)
    assert len(data) < 40_000
    tracemalloc.start()
    with pytest.raises(InvalidAudio, match="longer than 1 s"):
        audio.decode(data, 22050, max_seconds=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2e6


def wav_that_claims(rate: int) -> bytes:
    """A second's samples, and a header with any rate."""
    data = bytearray(audio.encode(noise(8000), 8000))
    data[24:28] = struct.pack("<I", rate)
    return bytes(data)


@pytest.mark.parametrize("rate", [1, 7, 100])
def test_a_rate_that_stretches_is_too_long(rate: int) -> None:
    """A second's samples that claim to be of 1 Hz are hours: nothing of that is made."""
    with pytest.raises(InvalidAudio, match="longer than 60 s"):
        audio.decode(wav_that_claims(rate), 22050, max_seconds=60)


@pytest.mark.parametrize("rate", [2**29, 2**31 - 1, 2**32 - 1, 0])
def test_a_rate_that_is_none_is_refused(rate: int) -> None:
    """Zero, and beyond what a rate can be."""
    with pytest.raises(InvalidAudio, match=r"sample rate|not audio"):
        audio.decode(wav_that_claims(rate), 22050, max_seconds=60)


def test_many_channels_are_one() -> None:
    """A file of 64 channels is read in blocks that are as large as others, and averaged."""
    data = io.BytesIO()
    soundfile.write(data, np.tile(noise(3000).numpy()[:, None], 64), 8000, format="WAV", subtype="FLOAT")
    torch.testing.assert_close(audio.decode(data.getvalue(), 8000), noise(3000))


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.99])
def test_a_flac_cut_short_is_damaged(keep: float) -> None:
    """Where it says how long it is, less than that is not all of it."""
    data = audio.encode(noise(30000), 8000, "flac")
    with pytest.raises(InvalidAudio, match="not audio, or damaged"):
        audio.decode(data[: int(keep * len(data))], 8000)
