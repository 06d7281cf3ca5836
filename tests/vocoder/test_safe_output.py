"""What is not finite is an error on every path, never silence; what is too loud clips, and never wraps."""

import copy
import io
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient
from torch import Tensor, nn

from server.app import create_app
from server.settings import Settings
from tests.server.conftest import until
from tests.server.parcels import NPY, npy
from vocoder import Vocoder, audio, checkpoint
from vocoder.cli import main
from vocoder.errors import InvalidAudio, SynthesisError

KINDS = list(audio.FORMATS)
QUIET, LOUD = (
    -5.0,
    10.0,
)  # the first is what the encoder pads with, so that the ends of a clip are no exception
BAD = r"sample \d+ of clip \d is (nan|-?inf); the model cannot speak this mel"


@pytest.fixture(scope="module")
def good() -> Vocoder:
    """The small seeded voice that is made for tests."""
    return Vocoder.load("waveglow-tiny", device="cpu")


@pytest.fixture(scope="module")
def broken(good: Vocoder) -> Vocoder:
    """The same, its weights such that a loud mel is made louder by e¹⁰⁰⁰, and a quiet one is left alone."""
    model = copy.deepcopy(good.model)
    correction = model.front.get_submodule("correction")
    assert isinstance(correction, nn.Conv1d)
    assert correction.bias is not None
    quiet, loud = (model.encoder(torch.full((1, 80, 40), level), 160)[0, :, 80] for level in (QUIET, LOUD))
    rise = (loud - quiet).detach()
    with torch.no_grad():
        correction.weight.copy_((1000 * rise / rise.square().sum())[None, :, None])
        correction.bias.copy_(-correction.weight[:, :, 0] @ quiet)
    return Vocoder(model, good.header)


def flat(frames: int, loud_from: int | None = None) -> Tensor:
    """A mel that is quiet, and loud from some frame on."""
    mel = torch.full((80, frames), QUIET)
    mel[:, frames if loud_from is None else loud_from :] = LOUD
    return mel


@pytest.mark.parametrize("denoise", [0.0, 0.5])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_call_hands_out_nothing(broken: Vocoder, denoise: float, temperature: float) -> None:
    """A quiet mel is spoken; one that is loud at its end is an error, whole, alone or in a batch."""
    assert broken(flat(60), denoise=denoise, temperature=temperature).isfinite().all()
    for mel in (flat(60, 50), torch.stack([flat(60), flat(60, 50)])):
        with pytest.raises(SynthesisError, match=BAD):
            broken(mel, denoise=denoise, temperature=temperature)


def test_one_bad_clip_fails_its_batch(broken: Vocoder) -> None:
    """In a batch of unequal lengths too, and the clip is named."""
    assert [len(clip) for clip in broken.batch([flat(20), flat(30)])] == [20 * 256, 30 * 256]
    with pytest.raises(SynthesisError, match="of clip 1 is"):
        broken.batch([flat(20), flat(30, 25)])


@pytest.mark.parametrize("denoise", [0.0, 0.5])
def test_a_stream_ends_at_the_bad_chunk(broken: Vocoder, denoise: float) -> None:
    """Every chunk before the bad one is what it would be; the bad one is an error and not a chunk."""
    chunks = broken.stream(flat(200, 150), chunk_frames=32, denoise=denoise)
    heard: list[Tensor] = []
    with pytest.raises(SynthesisError, match=BAD):
        heard.extend(chunks)
    samples = torch.cat(heard)
    assert 50 * 256 < len(samples) < 150 * 256
    expected = broken(flat(200), denoise=denoise)[: len(samples)]
    torch.testing.assert_close(samples, expected, rtol=0, atol=1e-5)


def test_a_denoiser_cannot_overflow_in_silence(good: Vocoder) -> None:
    """Audio that is finite, and whose spectrum is not: an error where the tones are taken off, not before."""
    model = copy.deepcopy(good.model)
    nn.init.constant_(model.front.get_parameter("correction.bias"), 87.0)
    voice = Vocoder(model, good.header)
    assert voice(flat(40)).isfinite().all()
    with pytest.raises(SynthesisError, match=BAD):
        voice(flat(40), denoise=0.5)
    with pytest.raises(SynthesisError, match=BAD):
        list(voice.stream(flat(40), denoise=0.5))


def test_a_reconstruction_is_finite(broken: Vocoder) -> None:
    """Audio → z → audio through a mel that cannot be spoken is an error as well."""
    with pytest.raises(SynthesisError, match=BAD):
        broken.reconstruct(0.1 * torch.randn(40 * 256), flat(40, 30))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, broken: Vocoder) -> Path:
    """The broken voice in a checkpoint, and a good and a bad mel."""
    folder = tmp_path_factory.mktemp("broken")
    checkpoint.save(folder / "broken.safetensors", broken.model, name="broken")
    np.save(folder / "quiet.npy", flat(100).numpy())
    np.save(folder / "loud.npy", flat(100, 80).numpy())
    return folder


@pytest.mark.parametrize("chunks", [[], ["--chunk-frames", "16"]], ids=["whole", "chunks"])
@pytest.mark.parametrize("denoise", ["0", "0.5"])
@pytest.mark.parametrize("kind", ["wav", "wav_f32", "flac", "opus"])
def test_the_command_leaves_no_file(
    files: Path,
    tmp_path: Path,
    kind: str,
    denoise: str,
    chunks: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Status 1, one line, and no file: neither the one that was asked for nor a part of it."""
    voice = ["--checkpoint", str(files / "broken.safetensors"), "--device", "cpu"]
    wishes = ["--format", kind, "--denoise", denoise, *chunks, "-o", str(tmp_path / "out")]
    assert main(["vocode", str(files / "quiet.npy"), *wishes, *voice]) == 0
    with soundfile.SoundFile(tmp_path / "out") as file:
        assert file.frames == -(-100 * 256 * file.samplerate // 22050)
    (tmp_path / "out").unlink()
    assert main(["vocode", str(files / "loud.npy"), *wishes, *voice]) == 1
    assert list(tmp_path.iterdir()) == []
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert "the model cannot speak this mel" in told.err


def test_the_command_leaves_an_older_file_alone(files: Path, tmp_path: Path) -> None:
    """What was there before a failure is there after it."""
    (tmp_path / "out.wav").write_bytes(b"older")
    voice = ["--checkpoint", str(files / "broken.safetensors"), "--device", "cpu"]
    assert main(["vocode", str(files / "loud.npy"), "-o", str(tmp_path / "out.wav"), *voice]) == 1
    assert (tmp_path / "out.wav").read_bytes() == b"older"


def test_nothing_whole_goes_to_standard_output(
    files: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Where the audio comes at once, not a byte of it is written."""
    voice = ["--checkpoint", str(files / "broken.safetensors"), "--device", "cpu"]
    assert main(["vocode", str(files / "loud.npy"), "-o", "-", "--format", "flac", *voice]) == 1
    assert capfdbinary.readouterr().out == b""


@pytest.fixture(scope="module")
def client(broken: Vocoder) -> Iterator[TestClient]:
    """A client of the service with the broken voice, which its warm-up does not notice."""
    with TestClient(create_app(Settings(voice="waveglow-tiny"), load=lambda *_: broken)) as client:
        until(lambda: client.get("/health/ready").status_code == 200)
        yield client


@pytest.mark.parametrize("kind", KINDS)
def test_the_service_sends_no_audio(client: TestClient, kind: str) -> None:
    """The error envelope, with the code that the exception has, and a good mel is served right after."""
    place = f"/v1/vocode?format={kind}"
    response = client.post(place, content=npy(flat(40, 30).numpy()), headers=NPY)
    assert response.status_code >= 400
    assert response.headers["content-type"] == "application/json"
    assert response.json()["error"]["code"] == SynthesisError.code
    assert client.post(place, content=npy(flat(40).numpy()), headers=NPY).status_code == 200


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", KINDS)
def test_no_file_holds_what_is_not_finite(kind: str, value: float) -> None:
    """Encoding, whole and in chunks, refuses a sample that is not finite, in any dtype."""
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        samples = torch.tensor([0.0, 0.5, value, 0.0], dtype=dtype)
        with pytest.raises(InvalidAudio, match=r"sample 2 is (nan|-?inf)"):
            audio.encode(samples, 22050, kind)
        with pytest.raises(InvalidAudio, match=r"sample 2 is (nan|-?inf)"):
            list(audio.encode_stream(samples.split(2), 4, 22050, kind))


def test_a_double_too_large_for_a_float_is_refused_as_one() -> None:
    """1e300 is finite, and would be infinite in a file of floats; sixteen bits clip it."""
    samples = torch.tensor([0.0, 1e300, -1e300], dtype=torch.float64)
    with pytest.raises(InvalidAudio, match="sample 1 is inf"):
        audio.encode(samples, 22050, "wav_f32")
    assert pcm(samples, "wav") == [0, 32767, -32768]


def test_resampling_cannot_overflow_in_silence() -> None:
    """A recording of the largest numbers there are is refused where the filter overshoots them."""
    data = io.BytesIO()
    square = np.repeat(np.array([3.4e38, -3.4e38], np.float32), 500)
    soundfile.write(data, square, 44100, format="WAV", subtype="FLOAT")
    with pytest.raises(InvalidAudio, match=r"sample \d+ is -?inf"):
        audio.decode(data.getvalue(), 22050)


def test_the_loudest_audio_has_a_level() -> None:
    """Bringing it to a level makes no silence of audio whose power no single-precision number holds."""
    rms = audio.at_level(torch.full((100,), 1e30)).square().mean().sqrt()
    assert float(rms) == pytest.approx(audio.LEVEL)


def pcm(samples: Tensor, kind: str) -> list[int]:
    """What another reader finds in the file."""
    data = audio.encode(samples, 22050, kind)
    found: list[int] = soundfile.read(io.BytesIO(data), dtype="int16")[0].tolist()
    return found


def expected(sample: float) -> int:
    """Sixteen bits of a sample, in exact arithmetic: Python rounds half to even, whatever the size."""
    return max(-(2**15), min(2**15 - 1, round(sample * 2**15)))


FULL_SCALE = [1.0, 1.5, 32767 / 32768, 32767.49 / 32768, 32767.5 / 32768, 32768.5 / 32768, 65536 / 32768, 2.0]
FULL_SCALE += [0.0, 0.5 / 32768, 1.5 / 32768, 3e38, 65535 / 32768, 98304 / 32768, 3.0, 1e9]


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_full_scale_is_the_end(kind: str) -> None:
    """At, just inside and far beyond full scale, on either side: clipped, rounded, and never wrapped."""
    samples = [sign * value for value in FULL_SCALE for sign in (1, -1)]
    found = pcm(torch.tensor(samples, dtype=torch.float64), kind)
    assert found == [expected(sample) for sample in samples]
    assert all(a * b >= 0 for a, b in zip(found, samples, strict=True))


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_a_sweep_through_full_scale_never_turns_back(kind: str) -> None:
    """From -1.5 to 1.5 in small steps the samples only ever rise, from the least value to the greatest."""
    found = pcm(torch.linspace(-1.5, 1.5, 200_001, dtype=torch.float64), kind)
    assert found == sorted(found)
    assert (found[0], found[-1], len(set(found))) == (-32768, 32767, 65536)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=50))
def test_any_samples_are_clipped(samples: list[float]) -> None:
    """Whatever single-precision numbers there are, both formats hold them rounded and clipped."""
    for kind in ("wav", "flac"):
        assert pcm(torch.tensor(samples), kind) == [expected(sample) for sample in samples]
