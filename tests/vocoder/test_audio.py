"""Files and bytes: exact round trips, clipping, and what a bad file is told."""

import io
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from vocoder import audio
from vocoder.errors import InvalidAudio

STEP = 2.0**-15  # of 16-bit samples


def sound(samples: int, level: float = 0.3) -> Tensor:
    """Noise from a seed, in float32."""
    return level * torch.randn(samples, generator=torch.Generator().manual_seed(1))


def wav_of(samples: np.ndarray, rate: int, **settings: str) -> bytes:
    """A file made by soundfile, not by us."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **({"format": "WAV"} | settings))
    return file.getvalue()


@pytest.mark.parametrize("samples", [1, 2, 255, 256, 22051])
@pytest.mark.parametrize("kind", ["wav", "flac", "wav_f32"])
def test_a_file_comes_back(samples: int, kind: str, tmp_path: Path) -> None:
    """What was saved is loaded: as long as it was, equal for float32, and within half a step for PCM."""
    path = tmp_path / f"sound.{kind}"
    audio.save(path, sound(samples), 22050, kind)
    again = audio.load(path, 22050)
    assert again.dtype == torch.float32
    expected = sound(samples) if kind == "wav_f32" else sound(samples).clamp(-1, 1 - STEP)
    torch.testing.assert_close(again, expected, rtol=0, atol=0 if kind == "wav_f32" else STEP / 2)
    assert soundfile.info(path).format == kind.upper().removesuffix("_F32")
    assert soundfile.info(path).frames == samples


def test_every_pcm_value_survives() -> None:
    """Each of the 65,536 values of a 16-bit sample is decoded and encoded to itself, by WAV and by FLAC."""
    values = torch.arange(-(2**15), 2**15) * STEP
    for kind in ("wav", "flac"):
        assert torch.equal(audio.decode(audio.encode(values, 22050, kind), 22050), values)


def test_speech_survives(speech_dir: Path) -> None:
    """A recording that is loaded and saved has the samples of the file that it came from."""
    path = sorted((speech_dir / "kathleen" / "flac").iterdir())[0]
    data = audio.encode(audio.load(path, 22050), 22050, "flac")
    theirs, ours = (soundfile.read(file, dtype="int16")[0] for file in (path, io.BytesIO(data)))
    np.testing.assert_array_equal(ours, theirs)


def test_pcm_clips_and_never_wraps() -> None:
    """Samples beyond full scale saturate at it, however far beyond they are."""
    loud = torch.tensor([1.0, 1.5, 7e4, 3e38, -1.0, -1.5, -3e38])
    for kind in ("wav", "flac"):
        data = audio.encode(loud, 22050, kind)
        got = soundfile.read(io.BytesIO(data), dtype="int16")[0].tolist()
        assert got == [32767] * 4 + [-32768] * 3


def test_pcm_rounds_half_to_even() -> None:
    """A sample half-way between two steps goes to the even one, so that rounding adds no offset."""
    halves = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5, -2.5]) * STEP
    assert soundfile.read(io.BytesIO(audio.encode(halves, 22050)), dtype="int16")[0].tolist() == [
        0,
        2,
        2,
        0,
        -2,
        -2,
    ]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_floating_dtype_is_encoded(dtype: torch.dtype) -> None:
    """Half and double precision are encoded as their values are, gradients or not."""
    values = torch.tensor([0.0, 0.5, -0.25], dtype=dtype, requires_grad=True)
    assert audio.decode(audio.encode(values, 22050), 22050).tolist() == [0.0, 0.5, -0.25]


@pytest.mark.parametrize(("kind", "width"), [("wav", 2), ("wav_f32", 4)])
def test_a_wav_is_as_the_standard_says(kind: str, width: int) -> None:
    """The sizes in the header are those of the file, and rate and channels are where they belong."""
    data = audio.encode(sound(100), 22050, kind)
    assert struct.unpack("<4sI4s", data[:12]) == (b"RIFF", len(data) - 8, b"WAVE")
    assert struct.unpack("<HHIIHH", data[20:36]) == (
        width // 2 * 2 - 1,
        1,
        22050,
        22050 * width,
        width,
        8 * width,
    )
    assert data[-100 * width - 8 :][:8] == struct.pack("<4sI", b"data", 100 * width)


def test_the_same_audio_is_the_same_bytes() -> None:
    """No time of day and no lot is stamped into a file: encoded again a second later, it is the same."""
    first = [audio.encode(sound(500), 22050, kind) for kind in audio.FORMATS]
    time.sleep(1.1)
    assert [audio.encode(sound(500), 22050, kind) for kind in audio.FORMATS] == first


def test_channels_are_averaged() -> None:
    """A stereo file is heard as the mean of its channels."""
    stereo = np.stack([np.full(50, 0.5), np.full(50, -0.25)], axis=1)
    assert audio.decode(wav_of(stereo, 8000, subtype="FLOAT"), 8000).tolist() == [0.125] * 50


@pytest.mark.parametrize(
    "settings", [{"format": "OGG"}, {"format": "MP3"}, {"format": "AIFF"}, {"subtype": "PCM_24"}]
)
def test_other_formats_are_read(settings: dict[str, str]) -> None:
    """Ogg, MP3, AIFF and 24-bit files are read too, at their own rate and loudness."""
    tone = 0.3 * np.sin(np.arange(22050) * 0.1)
    heard = audio.decode(wav_of(tone, 22050, **settings), 22050)
    assert len(heard) == pytest.approx(22050, abs=1200)  # MP3 may pad
    assert float(heard[5000:15000].square().mean().sqrt()) == pytest.approx(0.3 / 2**0.5, rel=0.02)


def test_file_objects(tmp_path: Path) -> None:
    """Open files are read and written like paths, and one that cannot seek is read too."""
    file = io.BytesIO()
    audio.save(file, sound(100), 22050, "flac")
    assert file.getvalue() == audio.encode(sound(100), 22050, "flac")
    path = tmp_path / "sound.wav"
    path.write_bytes(file.getvalue())
    with subprocess.Popen(["cat", str(path)], stdout=subprocess.PIPE) as pipe:
        assert pipe.stdout is not None
        assert len(audio.load(pipe.stdout, 22050)) == 100


def test_standard_input_and_output() -> None:
    """`-` reads standard input and writes standard output."""
    copy = "from vocoder import audio; audio.save('-', audio.load('-', 22050), 22050, 'flac')"
    data = audio.encode(sound(100).clamp(-1, 1), 22050)
    done = subprocess.run([sys.executable, "-c", copy], input=data, capture_output=True, check=True)
    assert done.stdout.startswith(b"fLaC")
    assert torch.equal(audio.decode(done.stdout, 22050), audio.decode(data, 22050))


FLAC = audio.encode(sound(20000), 22050, "flac")
BAD_FILES = {
    "empty": (b"", "it is empty"),
    "text": (b"RIFF is what I am not" * 10, "not audio, or damaged"),
    "half a flac": (FLAC[: len(FLAC) // 2], "not audio, or damaged"),
    "a head without a body": (FLAC[:30], "not audio, or damaged"),
    "a hole": (FLAC[:5000] + bytes(500) + FLAC[5500:], "not audio, or damaged"),
    "a promise of 2³⁶ samples": (
        FLAC[:21] + bytes([FLAC[21] | 15]) + b"\xff" * 4 + FLAC[26:],
        "not audio, or damaged",
    ),
    "no sample": (wav_of(np.zeros(0), 22050), "it holds no samples"),
    "not a number": (wav_of(np.array([0, np.nan, 0]), 22050, subtype="FLOAT"), "sample 1 is nan"),
    "infinite": (wav_of(np.array([0, 0, np.inf]), 22050, subtype="FLOAT"), "sample 2 is inf"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_is_named(kind: str, tmp_path: Path) -> None:
    """A file that is empty, damaged or no audio is InvalidAudio, with its name and what is wrong with it."""
    data, problem = BAD_FILES[kind]
    path = tmp_path / "clip.wav"
    path.write_bytes(data)
    with pytest.raises(InvalidAudio, match=rf"cannot read .*clip\.wav: {problem}"):
        audio.load(path, 22050)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A file that is not there, or is a folder, is InvalidAudio too."""
    with pytest.raises(InvalidAudio, match=r"cannot read .*none\.wav: No such file"):
        audio.load(tmp_path / "none.wav", 22050)
    with pytest.raises(InvalidAudio, match="Is a directory"):
        audio.load(tmp_path, 22050)


@pytest.mark.parametrize(
    ("bad", "settings", "rule"),
    [
        (torch.zeros(1, 10), {}, r"shape \[1, 10\], expected \[samples\]"),
        (torch.zeros(0), {}, "at least one"),
        (torch.zeros(10, dtype=torch.int16), {}, "int16, expected a floating"),
        (torch.tensor([0.0, float("nan")]), {}, "sample 1 is nan"),
        (torch.tensor([float("-inf")]), {"format": "wav_f32"}, "sample 0 is -inf"),
        (torch.zeros(10), {"format": "ogg"}, "'wav', 'wav_f32', 'flac', 'mp3', 'opus', 'aac', 'pcm'"),
        (torch.zeros(10), {"format": "mp3", "out_rate": 22000}, r"must be one of \(8000, .*48000\) for mp3"),
        (torch.zeros(10), {"format": "opus", "out_rate": 22050}, r"must be one of \(8000, 12000, 16000, 24"),
        (torch.zeros(10), {"out_rate": -1}, "sample rate"),
        (torch.zeros(10), {"sample_rate": 0}, "sample rate"),
        (torch.zeros(10), {"sample_rate": 22050.0}, "sample rate"),
        (torch.zeros(10), {"sample_rate": 700000, "format": "flac"}, "as FLAC at 700000 Hz"),
        (torch.zeros(10), {"out_rate": 70001, "format": "flac"}, "as FLAC at 70001 Hz"),
    ],
)
def test_bad_audio_is_not_written(
    bad: Tensor, settings: dict[str, object], rule: str, tmp_path: Path
) -> None:
    """Audio or settings that cannot be written are refused with the rule, and leave no file behind."""
    with pytest.raises(InvalidAudio, match=rule):
        audio.save(tmp_path / "clip", bad, **({"sample_rate": 22050} | settings))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_level_is_an_rms() -> None:
    """Whatever the level was, it is 0.06 after; silence has none and is refused."""
    loud = 0.5 * torch.randn(1000)
    assert audio.at_level(loud).square().mean().sqrt().item() == pytest.approx(0.06)
    torch.testing.assert_close(audio.at_level(loud), audio.at_level(0.01 * loud))
    with pytest.raises(InvalidAudio, match="silent"):
        audio.at_level(torch.zeros(10))


@pytest.mark.parametrize("kind", ["wav", "wav_f32", "flac"])
@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_stream_is_encoded_as_the_whole(kind: str, size: int) -> None:
    """However the samples are cut, the bytes are those of all of them, and a WAV's head is there at once."""
    whole = torch.linspace(-1.2, 1.2, 100)

    def chunks() -> Iterator[Tensor]:
        yield from whole.split(size)

    pieces = audio.encode_stream(chunks(), 100, 22050, kind)
    assert b"".join(pieces) == audio.encode(whole, 22050, kind)
    if kind == "wav":
        waiting = audio.encode_stream(iter(lambda: pytest.fail("asked too early"), None), 100, 22050)
        assert next(waiting)[:4] == b"RIFF"


def test_a_stream_that_is_not_as_long_as_it_said_leaves_no_file(tmp_path: Path) -> None:
    """Its header would be a lie; what stood in the file before stays, and nothing else is left over."""
    target = tmp_path / "a.wav"
    target.write_bytes(b"before")
    for samples in (99, 101):
        with pytest.raises(InvalidAudio, match="100 samples"):
            audio.save_stream(target, [torch.zeros(100)], samples, 22050)
    bad = torch.zeros(50)
    bad[3] = torch.nan
    with pytest.raises(InvalidAudio, match="sample 53 is nan"):
        audio.save_stream(target, [torch.zeros(50), bad], 100, 22050)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
    assert target.read_bytes() == b"before"


def test_a_link_is_followed_and_neighbours_are_left_alone(tmp_path: Path) -> None:
    """Saving to a link fills what it leads to; a file that is called like a temporary one stays."""
    real, link, other = tmp_path / "real.wav", tmp_path / "link.wav", tmp_path / "real.wav.part"
    other.write_bytes(b"somebody's")
    link.symlink_to(real)
    for target in (link, real):
        audio.save(target, sound(100), 22050)
        assert link.is_symlink() and len(real.read_bytes()) == 244
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.wav", "real.wav", "real.wav.part"]
    assert other.read_bytes() == b"somebody's"


@pytest.mark.parametrize("target", ["", "folder/"])
def test_a_target_without_a_name_is_refused(target: str) -> None:
    """A slash at the end means a folder, which is not made into a file."""
    with pytest.raises(InvalidAudio, match="a file has a name"):
        audio.save(target, sound(100), 22050)
