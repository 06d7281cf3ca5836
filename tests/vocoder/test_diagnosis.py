"""Likelihood as a product: frame by frame, there and back, and what is wrong with a mel."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vocoder import Vocoder, audio
from vocoder.cli import main
from vocoder.diagnosis import TOLERANCE, Diagnosis, Reconstruction, diagnose, reconstruction
from vocoder.errors import InvalidAudio, InvalidInput, InvalidMel
from vocoder.features import CONVENTIONS, LogMel, MelSpec

ROOT = Path(__file__).parents[2]
TINY = ["--checkpoint", "waveglow-tiny", "--device", "cpu"]


@pytest.fixture(scope="module")
def voice() -> Vocoder:
    """The small seeded voice that is made for tests."""
    return Vocoder.load("waveglow-tiny", device="cpu")


@pytest.fixture(scope="module")
def hello(voice: Vocoder) -> Tensor:
    """A second and a half of whispered speech."""
    return voice(np.load(ROOT / "samples" / "hello.npy")[:, :130])


@pytest.fixture(scope="module")
def mel(voice: Vocoder, hello: Tensor) -> Tensor:
    """Its mel."""
    return LogMel(voice.spec)(hello[None])[0]


def test_the_score_is_the_mean_of_its_frames(voice: Vocoder, hello: Tensor, mel: Tensor) -> None:
    """`score_frames` has a number for every whole frame, for the same seed; their mean is `score`."""
    first, other = (voice.score_frames(hello, mel, seed=seed) for seed in (0, 3))
    assert first.shape == (130,)
    assert not first.is_inference()
    assert float(first.mean()) == pytest.approx(voice.score(hello, mel), abs=1e-5)
    assert float(other.mean()) == pytest.approx(voice.score(hello, mel, seed=3), abs=1e-5)
    assert not torch.equal(first, other)


def test_the_frames_say_where(voice: Vocoder, hello: Tensor, mel: Tensor) -> None:
    """A click that the mel knows nothing of costs its own frame the most, and distant ones nothing."""
    clicked = hello.clone()
    clicked[60 * 256 + 128] += 0.5
    loss = voice.score_frames(hello, mel) - voice.score_frames(clicked, mel)
    assert loss.argmax() in (59, 60, 61)
    assert loss.max() > 1
    assert loss[: 60 - voice.model.halo].abs().max() == 0


def test_there_and_back(voice: Vocoder, hello: Tensor, mel: Tensor) -> None:
    """Audio → z → audio is the audio, cut to whole frames; its error is measured as it is defined."""
    again = voice.reconstruct(hello[:-100], mel[:, :-1])
    assert again.shape == (129 * 256,)
    error = again - hello[: 129 * 256]
    assert 0 < error.abs().max() < 1e-5
    found = reconstruction(voice, hello[:-100], mel[:, :-1])
    assert found.max_error == pytest.approx(float(error.abs().max()))
    powers = hello[: 129 * 256].double().square().sum() / error.double().square().sum()
    assert found.snr_db == pytest.approx(10 * math.log10(powers))
    assert found.snr_db > 100


def test_a_reconstruction_in_words() -> None:
    """The figures, in one line and as JSON, where an infinite one is null."""
    assert Reconstruction(2.9e-6, 100.44).message == "audio → z → audio: error at most 2.9e-06, SNR 100.4 dB"
    assert Reconstruction(0.0, math.inf).to_dict() == {"max_error": 0.0, "snr_db": None}


def test_audio_without_a_latent_is_refused(voice: Vocoder, mel: Tensor) -> None:
    """Audio so loud that its latent or likelihood overflows is an error, frame by frame too."""
    loud = torch.full((130 * 256,), 1e38)
    for judge in (voice.encode, voice.reconstruct, voice.score_frames, voice.score):
        with pytest.raises(InvalidAudio, match=r"audio has a (latent|likelihood) of (-?inf|nan)"):
            judge(loud, mel)


def test_its_own_mel_fits(voice: Vocoder, hello: Tensor, mel: Tensor) -> None:
    """The mel of the recording loses nothing: as it is, cut, in half precision, as an array."""
    for same in (mel, mel[:, :130], mel.half(), mel.numpy(), mel.double()):
        found = diagnose(voice, hello, same)
        assert found.fits
        assert abs(found.loss) < 1e-3
        assert found.message == "the mel fits: this audio is as likely under it as is usual"
        assert (found.cause, found.tried) == (None, {})


@pytest.mark.parametrize("gain", [0.03, 0.1, 8.0])
def test_a_level_is_no_fault(voice: Vocoder, hello: Tensor, mel: Tensor, gain: float) -> None:
    """Recordings are compared at one level, whatever theirs is; a gain the mel does not share is told."""
    scaled = gain * hello
    found = diagnose(voice, scaled, _mel(voice.spec, scaled))
    assert found.fits
    assert found.usual == pytest.approx(diagnose(voice, hello, mel).usual, abs=0.02)
    other = diagnose(voice, scaled, mel)
    told = f"{20 * abs(math.log10(gain)):.1f} dB {'quieter' if gain > 1 else 'louder'} than the audio"
    assert other.cause == told


def _mel(spec: MelSpec, sound: Tensor) -> Tensor:
    return LogMel(spec)(sound[None])[0]


def _late(mel: Tensor, frames: int) -> Tensor:
    return torch.cat([mel[:, :1].expand(-1, frames), mel[:, :-frames]], 1)


DECIBELS = 20 / math.log(10)
CAUSES: dict[str, Callable[[MelSpec, Tensor, Tensor], Tensor]] = {
    "like log10, not ln": lambda spec, sound, mel: mel / math.log(10),
    "like db, not ln": lambda spec, sound, mel: DECIBELS * mel,
    "like symmetric, not ln": lambda spec, sound, mel: CONVENTIONS["symmetric"].from_ln(mel, spec),
    "like ln_power, not ln": lambda spec, sound, mel: CONVENTIONS["ln_power"].from_ln(mel, spec),
    "linear, without a logarithm": lambda spec, sound, mel: mel.exp(),
    "in decibels of some reference, 8.69 times what it should be and +30": lambda spec, sound, mel: (
        DECIBELS * mel + 30
    ),
    "normalised, 0.5 times what it should be and +3": lambda spec, sound, mel: mel / 2 + 3,
    "6.0 dB louder than the audio": lambda spec, sound, mel: mel + math.log(2),
    "6.0 dB quieter than the audio": lambda spec, sound, mel: mel - math.log(2),
    "1 frame late": lambda spec, sound, mel: _late(mel, 1),
    "2 frames late": lambda spec, sound, mel: _late(mel, 2),
    "3 frames early": lambda spec, sound, mel: _late(mel.flip(1), 3).flip(1),
    "made by filters up to 7000 Hz instead of 8000": lambda spec, sound, mel: _mel(
        replace(spec, f_max=7000.0), sound
    ),
    "made by filters up to 11025 Hz instead of 8000": lambda spec, sound, mel: _mel(
        replace(spec, f_max=11025.0), sound
    ),
    "made by filters for audio of 24000 Hz instead of 22050": lambda spec, sound, mel: _mel(
        replace(spec, sample_rate=24000), sound
    ),
    "off by a constant in every band, as other filters or an equaliser make it": lambda spec, sound, mel: (
        mel + torch.linspace(-1, 2, 80)[:, None]
    ),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_a_simple_fault_is_named(voice: Vocoder, hello: Tensor, mel: Tensor, cause: str) -> None:
    """Of a mel that is wrong in one simple way it says which, and that nothing is left of the loss then."""
    found = diagnose(voice, hello, CAUSES[cause](voice.spec, hello, mel))
    assert not found.fits
    assert found.cause == cause
    assert found.tried[cause] < 0.2 * found.loss
    assert found.message == (
        f"this audio is {found.loss:.3g} nats per sample less likely under this mel than is usual: "
        f"the mel looks {cause}"
    )


STRANGE: dict[str, Callable[[Tensor], Tensor]] = {
    "of other audio": lambda mel: mel.flip(1),
    "of other audio, in log10": lambda mel: mel.flip(1) / math.log(10),
    "of other audio, normalised": lambda mel: mel.flip(1) / 11.5 + 1,
    "upside down": lambda mel: mel.flip(0),
    "noise": lambda mel: torch.randn_like(mel) - 5,
    "the same number everywhere": lambda mel: torch.full_like(mel, -5.0),
    "zeros": torch.zeros_like,
    "infinite": lambda mel: torch.full_like(mel, -math.inf),
}


@pytest.mark.parametrize("what", STRANGE)
def test_what_is_not_simple_is_not_explained(voice: Vocoder, hello: Tensor, mel: Tensor, what: str) -> None:
    """Of a mel that no hypothesis restores it says that much and no more."""
    found = diagnose(voice, hello, STRANGE[what](mel))
    assert found.loss > 0.5
    assert found.cause is None
    assert "no simple cause; is it the mel of this audio" in found.message


def test_a_fault_that_costs_little_is_none(voice: Vocoder, hello: Tensor, mel: Tensor) -> None:
    """A decibel is within the tolerance."""
    assert 0 < diagnose(voice, hello, mel + 0.1).loss < TOLERANCE


def test_numbers_of_a_diagnosis(voice: Vocoder, hello: Tensor, mel: Tensor) -> None:
    """Score and usual are scores at the common level, the loss is of the median frame, and JSON holds all."""
    level, late = audio.at_level(hello), _late(mel, 2)
    gain = math.log(float(level.norm() / hello.norm()))
    found = diagnose(voice, hello, late, seed=5)
    assert found.score == pytest.approx(voice.score(level, late + gain, seed=5), abs=1e-4)
    assert found.usual == pytest.approx(voice.score(level, mel + gain, seed=5), abs=1e-4)
    frames = [voice.score_frames(level, each + gain, seed=5) for each in (mel, late)]
    assert found.loss == pytest.approx(float((frames[0] - frames[1]).median()), abs=1e-4)
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["loss"] == found.loss
    assert (told["fits"], told["cause"], told["message"]) == (False, "2 frames late", found.message)
    assert told["tried"] == found.tried


def test_a_mel_without_any_likelihood() -> None:
    """An infinite loss is told as such, and is null in JSON."""
    never = Diagnosis(score=-math.inf, usual=4.0, loss=math.inf, tried={"1 frame late": math.inf})
    assert "inf nats per sample less likely" in never.message
    assert (never.to_dict()["loss"], never.to_dict()["tried"]) == (None, {"1 frame late": None})


def test_unusual_audio_is_told_where_the_voice_knows_what_is_usual(
    voice: Vocoder, hello: Tensor, mel: Tensor
) -> None:
    """With the likelihood of its recordings in its header, a voice says that noise is not like them."""
    told = Vocoder(voice.model, replace(voice.header, extra={"nll": -4.2}))
    noise = 0.1 * torch.randn(len(hello))
    own = _mel(voice.spec, noise)
    assert diagnose(voice, noise, own).typical is None
    assert diagnose(told, hello, mel).message == diagnose(voice, hello, mel).message
    found = diagnose(told, noise, own)
    assert found.typical == 4.2
    assert found.message.endswith(
        f"unusual for this voice, {4.2 - found.usual:.3g} nats per sample below its recordings"
    )


@pytest.mark.parametrize(
    ("samples", "shape", "error", "rule"),
    [
        (33280, (79, 130), InvalidMel, r"shape \[79, 130\]"),
        (33280, (80, 129), InvalidMel, "129 frames beside 33280 samples"),
        (33280, (80, 132), InvalidMel, "132 frames beside 33280 samples"),
        (33280, (1, 80, 130), InvalidMel, "expected that of one clip"),
        (500, (80, 2), InvalidAudio, "500 samples, expected at least 513"),
    ],
)
def test_refuses_what_does_not_fit(
    voice: Vocoder, samples: int, shape: tuple[int, ...], error: type[InvalidInput], rule: str
) -> None:
    """What cannot be compared is refused as by `score`."""
    with pytest.raises(error, match=rule):
        diagnose(voice, 0.1 * torch.randn(samples), torch.randn(shape) - 5)


def test_refuses_silence_and_what_is_no_number(voice: Vocoder, hello: Tensor, mel: Tensor) -> None:
    """Silence has no level to compare at, and NaN no meaning."""
    with pytest.raises(InvalidAudio, match="silent"):
        diagnose(voice, torch.zeros(33280), mel)
    with pytest.raises(InvalidMel, match="not a number"):
        diagnose(voice, hello, mel.index_fill(1, torch.tensor(7), math.nan))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, hello: Tensor, mel: Tensor) -> Path:
    """A recording, its mel, and the same late, in decibels and in log10."""
    folder = tmp_path_factory.mktemp("pair")
    audio.save(folder / "hello.wav", hello, 22050, "wav_f32")
    spoilt = {"own": mel, "late": _late(mel, 2), "db": DECIBELS * mel, "log10": mel / math.log(10)}
    for name, each in spoilt.items():
        np.save(folder / f"{name}.npy", each.numpy())
    return folder


def test_the_mel_may_be_left_out(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a mel the recording is scored under its own."""
    assert main(["score", str(files / "hello.wav"), str(files / "own.npy"), *TINY]) == 0
    told = capsys.readouterr().out
    assert main(["score", str(files / "hello.wav"), *TINY]) == 0
    assert capsys.readouterr().out == told


def test_frames_in_a_file(
    voice: Vocoder,
    files: Path,
    tmp_path: Path,
    hello: Tensor,
    mel: Tensor,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    """`--frames` writes `score_frames`, beside the score, or to standard output instead of it."""
    pair = [str(files / "hello.wav"), str(files / "own.npy")]
    assert main(["score", *pair, "--frames", str(tmp_path / "nats.npy"), "--seed", "2", *TINY]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "nats.npy"), voice.score_frames(hello, mel, seed=2))
    assert capfdbinary.readouterr().out == f"{voice.score(hello, mel, seed=2):.4f} nats per sample\n".encode()
    assert main(["score", *pair, "--frames", "-", "--seed", "2", *TINY]) == 0
    assert capfdbinary.readouterr().out == (tmp_path / "nats.npy").read_bytes()


def test_a_diagnosis_on_the_command_line(
    voice: Vocoder, files: Path, hello: Tensor, mel: Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--diagnose` prints the score, the reconstruction and the message; JSON has all of it."""
    late = _late(mel, 2)
    asked = ["score", str(files / "hello.wav"), str(files / "late.npy"), "--diagnose", *TINY]
    assert main(asked) == 0
    found, again = diagnose(voice, hello, late), reconstruction(voice, hello, late)
    score = f"{voice.score(hello, late):.4f} nats per sample"
    assert capsys.readouterr().out.splitlines() == [score, again.message, found.message]
    assert main([*asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "nats_per_sample": voice.score(hello, late),
        "nats_per_sample_by_frame": voice.score_frames(hello, late).tolist(),
        "reconstruction": again.to_dict(),
        "diagnosis": found.to_dict(),
        "samples": len(hello),
        "voice": "waveglow-tiny",
        "seed": 0,
    }


def test_decibels_are_diagnosed_though_they_have_no_score(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mel that `score` refuses is named by `--diagnose`, with status 0."""
    asked = ["score", str(files / "hello.wav"), str(files / "db.npy"), *TINY]
    assert main(asked) == 1
    assert "natural-log" in capsys.readouterr().err
    assert main([*asked, "--diagnose"]) == 0
    assert capsys.readouterr().out.endswith("the mel looks like db, not ln\n")


def test_a_diagnosis_says_it_once(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the mel looks like is in the diagnosis, and not in a warning beside it as well."""
    assert main(["score", str(files / "hello.wav"), str(files / "log10.npy"), "--diagnose", *TINY]) == 0
    told = capsys.readouterr()
    assert told.out.endswith("the mel looks like log10, not ln\n")
    assert told.err == ""


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ("--frames -  --json", "leaves no room on standard output"),
        ("--frames - --diagnose", "leaves no room on standard output"),
        ("--frames nats.txt", "must be a .npy file"),
    ],
)
def test_wishes_that_cannot_be_met(
    files: Path, wishes: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two results for one place, and a format that is not written, are refused before any work."""
    assert main(["score", str(files / "hello.wav"), *wishes.split(), *TINY]) == 1
    assert words in capsys.readouterr().err


def test_real_speech_is_diagnosed(speech_dir: Path) -> None:
    """The default voice takes recordings' own mels, and none that is two frames late or in log10."""
    voice = Vocoder.load(device="cpu")
    for name in ("kathleen/flac/arctic_b0500_1592526468.flac", "eval/thorsten/emo_drunk.flac"):
        samples = audio.load(speech_dir / name, voice.spec.sample_rate)[: 2 * 22050]
        own = _mel(voice.spec, samples)
        assert diagnose(voice, samples, own).fits
        assert diagnose(voice, samples, _late(own, 2)).cause == "2 frames late"
        assert diagnose(voice, samples, own / math.log(10)).cause == "like log10, not ln"
        assert reconstruction(voice, samples, own).snr_db > 60
