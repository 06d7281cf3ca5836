"""Every format, whole and in pieces: the same bytes, the right rate and length, and the sound that it was."""

import gc
import io
import struct
import sys
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vocoder import audio
from vocoder.audio import FORMATS, Encoder
from vocoder.errors import InvalidAudio

RATE = 22050
LOSSY = ["mp3", "opus", "aac"]
LAME = {"format": "MP3", "bitrate_mode": "CONSTANT", "compression_level": 0.3}


def speech(samples: int) -> Tensor:
    """Something like a voice: harmonics of a pitch that glides, as loud at the end as anywhere."""
    time = torch.arange(samples, dtype=torch.float64) / RATE
    phase = 2 * torch.pi * (110 * time + 20 * torch.sin(3 * time))
    return (sum(torch.sin(k * phase) / k for k in range(1, 20)) * 0.15).float()  # type: ignore[union-attr]


def streamed(whole: Tensor, size: int, kind: str, samples: int | None, rate: int | None = None) -> bytes:
    """The file that comes of pieces of `size` samples."""
    return b"".join(audio.encode_stream(whole.split(size), samples, RATE, kind, rate))


def heard(data: bytes, kind: str, rate: int) -> np.ndarray:
    """What FFmpeg, and for raw samples NumPy, finds in a file, at the rate that it should have."""
    if kind == "pcm":
        return np.frombuffer(data, "<i2") / 2**15
    resampler = av.AudioResampler("flt", "mono", rate)  # of Opus, which FFmpeg always decodes at 48 kHz
    with av.open(io.BytesIO(data), "r", format="aac" if kind == "aac" else None) as file:
        assert file.streams.audio[0].rate == (48000 if kind == "opus" else rate)
        frames = [frame for coded in file.decode(audio=0) for frame in resampler.resample(coded)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames + resampler.resample(None)])


def expected_length(kind: str, samples: int, rate: int, *, known: bool) -> tuple[int, int]:
    """How many samples a decoder makes of that many, and how many of them are before the audio."""
    if kind == "aac":
        return 1024 * -(-samples // 1024) + 1024, 1024
    if kind == "mp3" and not known:
        frame = 1152 if rate >= 32000 else 576
        return frame * -(-(samples + 1152) // frame), 1105
    return samples, 0


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("out_rate", [None, 48000, 16000])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_format_keeps_rate_and_length_and_sound(kind: str, out_rate: int | None, known: bool) -> None:
    """Another decoder finds ⌈T · out / in⌉ samples, the sound, and beside it the padding that is stated."""
    truth = speech(9001)
    samples = len(truth) if known else None
    with Encoder(kind, RATE, out_rate=out_rate, samples=samples) as encoder:
        rate, promised = encoder.sample_rate, encoder.samples
    assert rate == (out_rate or (24000 if kind == "opus" else RATE))
    at_rate = audio.resample(truth, RATE, rate).numpy()
    assert promised == (len(at_rate) if known else None)
    found = heard(streamed(truth, 1000, kind, samples, out_rate), kind, rate)
    length, before = expected_length(kind, len(at_rate), rate, known=known)
    assert len(found) == length
    found = found[before : before + len(at_rate)]
    if FORMATS[kind].lossless:
        np.testing.assert_allclose(found, at_rate, rtol=0, atol=0 if kind == "wav_f32" else 2**-16)
    assert np.corrcoef(found, at_rate)[0, 1] > 0.98
    assert np.corrcoef(found[-400:], at_rate[-400:])[0, 1] > 0.9  # the end is not lost


@pytest.mark.parametrize("out_rate", [None, 48000])
@pytest.mark.parametrize("kind", FORMATS)
def test_pieces_make_the_bytes_of_the_whole(kind: str, out_rate: int | None) -> None:
    """So there is nothing to hear at their joints; and a length that is unknown changes the header alone."""
    truth = speech(5000)
    whole = audio.encode(truth, RATE, kind, out_rate)
    for size in (37, 256, 4096):
        assert streamed(truth, size, kind, len(truth), out_rate) == whole
    unknown = streamed(truth, 256, kind, None, out_rate)
    assert streamed(truth, 5000, kind, None, out_rate) == unknown
    assert unknown[-1000:] == whole[-1000:]
    assert (unknown == whole) == (kind in ("opus", "aac", "pcm"))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 1500), min_size=1, max_size=6).filter(any), st.sampled_from(list(FORMATS)))
def test_any_pieces_will_do(sizes: list[int], kind: str) -> None:
    """Empty ones too."""
    truth = speech(sum(sizes))
    pieces = b"".join(audio.encode_stream(truth.split(sizes), len(truth), RATE, kind, 16000))
    assert pieces == audio.encode(truth, RATE, kind, 16000)


@pytest.mark.parametrize("kind", LOSSY)
@pytest.mark.parametrize("samples", [1, 575, 576, 577, 1024, 1152, 3001])
def test_a_length_of_any_remainder(kind: str, samples: int) -> None:
    """A frame that is just full, or just not, is padded as it is stated; libsndfile and FFmpeg agree."""
    data = audio.encode(speech(samples), RATE, kind, 16000)
    at_rate = -(-samples * 16000 // RATE)
    if kind == "aac":
        assert len(heard(data, kind, 16000)) == expected_length(kind, at_rate, 16000, known=True)[0]
    else:
        assert soundfile.info(io.BytesIO(data)).samplerate == 16000
        assert len(audio.decode(data, 16000)) == at_rate


@pytest.mark.parametrize("rate", [r for r in FORMATS["mp3"].rates or () if r != 16000])
@pytest.mark.parametrize("kind", LOSSY)
def test_every_rate_of_a_format(kind: str, rate: int) -> None:
    """Each of them is written; a rate that the format lacks is raised to the next, or lowered to the last."""
    fits = FORMATS[kind].rate_for(rate)
    assert fits >= rate and (fits == rate) == (rate in (FORMATS[kind].rates or ()))
    data = audio.encode(speech(3000), rate, kind)
    length, before = expected_length(kind, -(-3000 * fits // rate), fits, known=True)
    found = heard(data, kind, fits)
    assert len(found) == length
    truth = audio.resample(speech(3000), rate, fits).numpy()
    assert np.corrcoef(found[before : before + len(truth)], truth)[0, 1] > 0.95


def test_a_rate_beyond_all_is_lowered() -> None:
    """Audio of 192 kHz is an MP3 of 48 kHz; WAV and FLAC keep it."""
    lowered = {"mp3": 48000, "opus": 48000, "aac": 96000}
    for name, kind in FORMATS.items():
        assert kind.rate_for(192000) == lowered.get(name, 192000)


def test_every_rate_of_aac() -> None:
    """Its table has more than the others', and each index in it is right."""
    for rate in FORMATS["aac"].rates or ():
        assert len(heard(audio.encode(speech(1000), RATE, "aac", rate), "aac", rate)) % 1024 == 0


@pytest.mark.parametrize("kind", ["wav", "wav_f32", "pcm"])
@pytest.mark.parametrize("out_rate", [None, 44100, 11025, 8001])
def test_the_size_is_known_before_the_first_sample(kind: str, out_rate: int | None) -> None:
    """`total_bytes` is the whole file's, and the header is there, and right, before any sample."""
    encoder = Encoder(kind, RATE, out_rate=out_rate, samples=777)
    header = encoder.push(torch.zeros(0))
    data = header + encoder.push(speech(777)) + encoder.finish()
    assert encoder.total_bytes == len(data)
    assert encoder.samples == -(-777 * encoder.sample_rate // RATE)
    assert len(header) == {"wav": 44, "wav_f32": 56, "pcm": 0}[kind]
    if kind == "wav":
        with wave.open(io.BytesIO(data)) as file:
            assert (file.getnframes(), file.getframerate()) == (encoder.samples, encoder.sample_rate)
    assert Encoder(kind, RATE).total_bytes is None


@pytest.mark.parametrize("kind", ["wav", "wav_f32"])
def test_a_wav_of_unknown_length_says_so(kind: str) -> None:
    """Its sizes are 2³² - 1, as everybody's are who streams one; readers go on to the end."""
    data = streamed(speech(999), 100, kind, None)
    assert struct.unpack("<4sI", data[:8]) == (b"RIFF", 2**32 - 1)
    assert struct.unpack("<4sI", data[36:44]) == (b"data", 2**32 - 1)
    assert len(audio.decode(data, RATE)) == 999


def test_a_flac_says_its_length_where_it_is_known() -> None:
    """In its first bytes, which are never put right later; where it is not known it says none."""
    for samples, says in ((9001, 9001), (None, 0)):
        pieces = audio.encode_stream(speech(9001).split(100), samples, RATE, "flac")
        first = next(pieces)
        assert int.from_bytes(first[21:26]) & (2**36 - 1) == says
        assert len(audio.decode(first + b"".join(pieces), RATE)) == 9001


def test_an_mp3_says_what_lame_would_say() -> None:
    """Its first frame counts frames and padding as LAME does, who writes it after the last."""
    for rate, samples in ((16000, 592), (16000, 576), (44100, 1185), (44100, 20000), (8000, 1)):
        theirs = io.BytesIO()
        soundfile.write(theirs, speech(samples).numpy(), rate, **LAME)
        ours, said = audio.encode(speech(samples), rate, "mp3"), theirs.getvalue()
        frames, lame = said.index(b"Info") + 8, said.index(b"LAME") + 21
        assert ours[frames : frames + 4] == said[frames : frames + 4]
        mine = ours.index(b"LAME") + 21
        assert ours[mine : mine + 3] == said[lame : lame + 3]


def test_ogg_pages_are_whole() -> None:
    """Every page has serial number 1, the next number, and a checksum that bit-by-bit division confirms."""
    data, numbers = audio.encode(speech(30000), RATE, "opus"), []
    for page in (b"OggS" + rest for rest in data.split(b"OggS")[1:]):
        serial, number, checksum = struct.unpack("<III", page[14:26])
        assert serial == 1
        assert checksum == slow_checksum(page[:22] + bytes(4) + page[26:])
        numbers.append(number)
    assert numbers == list(range(len(numbers))) and len(numbers) > 12  # 100 ms in each


def slow_checksum(data: bytes) -> int:
    """As RFC 3533 describes it."""
    rest = 0
    for byte in data:
        rest ^= byte << 24
        for _ in range(8):
            rest = (rest << 1 ^ (0x104C11DB7 if rest >> 31 else 0)) & (2**32 - 1)
    return rest


@pytest.mark.parametrize(("kind", "most"), [("flac", 4096), ("mp3", 1152), ("opus", 2600), ("aac", 2048)])
def test_the_first_sound_comes_soon(kind: str, most: int) -> None:
    """No encoder keeps more than a fraction of a second, at the beginning and later."""
    with Encoder(kind, RATE) as encoder:
        due = [len(encoder.push(piece)) for piece in speech(RATE).split(128)]
    silences = "".join("x" if size else "." for size in due).split("x")
    assert max(map(len, silences)) * 128 <= most


@pytest.mark.parametrize("kind", FORMATS)
def test_media_types(kind: str) -> None:
    """Raw samples say how they are to be read, and nothing else depends on the rate."""
    expected = {
        "mp3": "audio/mpeg",
        "opus": "audio/ogg; codecs=opus",
        "pcm": "audio/pcm;rate=48000;channels=1",
        "wav_f32": "audio/wav",
    }
    with Encoder(kind, RATE, out_rate=48000) as encoder:
        assert encoder.media_type == expected.get(kind, f"audio/{kind}")


@pytest.mark.parametrize("kind", FORMATS)
def test_an_encoder_refuses(kind: str) -> None:
    """Too many samples at once, too few at the end, none at all, and what is no audio."""
    many = "101 samples, expected 100"
    with Encoder(kind, RATE, samples=100) as encoder, pytest.raises(InvalidAudio, match=many):
        encoder.push(torch.zeros(101))
    with Encoder(kind, RATE, samples=100) as encoder:
        encoder.push(torch.zeros(99))
        with pytest.raises(InvalidAudio, match="99 samples, expected 100"):
            encoder.finish()
    with Encoder(kind, RATE) as encoder, pytest.raises(InvalidAudio, match="at least one"):
        encoder.finish()
    for bad in (torch.zeros(1, 5), torch.zeros(5, dtype=torch.int16), torch.full((5,), torch.nan)):
        with Encoder(kind, RATE) as encoder, pytest.raises(InvalidAudio):
            encoder.push(bad)
    for samples in (0, -1, 2**30):
        with pytest.raises(InvalidAudio, match=r"at least one and fewer than 2³⁰"):
            Encoder(kind, RATE, samples=samples)


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_too_loud_is_clipped(kind: str) -> None:
    """A lossy encoder is never given more than full scale, whatever it would make of it."""
    loud = torch.cat([speech(2000), torch.tensor([3e38, -3e38]), speech(2000)])
    found = heard(audio.encode(loud, RATE, kind), kind, FORMATS[kind].rate_for(RATE))
    assert np.isfinite(found).all()
    assert np.abs(found).max() < 2 or kind == "wav_f32"


def test_encoders_side_by_side() -> None:
    """Many at once, of every format, each in a thread: none has a byte of another's."""
    kinds = list(FORMATS) * 4
    expected = [audio.encode(speech(4000), RATE, kind) for kind in FORMATS] * 4
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda kind: streamed(speech(4000), 300, kind, 4000), kinds)) == expected


@pytest.mark.parametrize("kind", ["flac", "mp3", "opus"])
def test_an_abandoned_stream_frees_its_encoder(kind: str) -> None:
    """Whoever stops asking for bytes leaves no open encoder behind."""
    pieces = audio.encode_stream(speech(20000).split(5000), 20000, RATE, kind)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    encoders = [thing for thing in gc.get_objects() if type(thing) is soundfile.SoundFile]
    assert all(encoder.closed for encoder in encoders)


def test_aac_without_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where PyAV is not installed, whoever asks for AAC is told what to install, and nothing is written."""
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InvalidAudio, match=r"aac needs the extra codecs: pip install .*\[codecs\]"):
        audio.save(tmp_path / "a.aac", speech(100), RATE)
    assert list(tmp_path.iterdir()) == []
