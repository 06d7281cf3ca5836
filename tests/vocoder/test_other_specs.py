"""Other rates, windows, hops and bands: voices of them train, load, speak, stream, score and are measured."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.vocoder.other_specs import OTHERS, Other, train_one
from vocoder import Vocoder, audio, checkpoint
from vocoder.cli import main
from vocoder.errors import InvalidMel
from vocoder.features import LogMel, MelSpec
from vocoder.training.data import Batches, Cut, Recordings, margin_frames
from vocoder.training.objective import Objective, Weights, resolutions


@pytest.fixture(scope="module", params=OTHERS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Other, Path]:
    """A kind of voice, and a checkpoint of it that a few steps made."""
    folder = tmp_path_factory.mktemp("other")
    return OTHERS[request.param], train_one(OTHERS[request.param], request.param, folder)


@pytest.fixture(scope="module")
def voice(trained: tuple[Other, Path]) -> Vocoder:
    """The voice of that checkpoint."""
    return Vocoder.load(trained[1], device="cpu")


def random_mel(spec: MelSpec, frames: int) -> Tensor:
    """A mel of speech's level."""
    return torch.randn(spec.n_mels, frames).clamp(-2, 2) - 5


def test_the_checkpoint_is_of_its_spec(trained: tuple[Other, Path], voice: Vocoder) -> None:
    """Spec and shape come back from the file as they went into the recipe."""
    assert (voice.spec, voice.model.config) == (trained[0].spec, trained[0].config)
    assert checkpoint.inspect(trained[1])["mel"] == trained[0].spec.to_dict()


@pytest.mark.parametrize("frames", [1, 2, 7, 40])
def test_frames_times_hop(voice: Vocoder, frames: int) -> None:
    """Every mel gives exactly a hop for each frame, and what was spoken encodes to what it was made of."""
    mel = random_mel(voice.spec, frames)
    sound = voice(mel, seed=3, temperature=1.0)
    assert sound.shape == (frames * voice.spec.hop_length,)
    again = voice.model.inverse(voice.encode(sound, mel)[None], mel[None])[0][0]
    torch.testing.assert_close(again, sound, rtol=0, atol=1e-4)


def test_chunks_are_the_whole(voice: Vocoder) -> None:
    """A stream is the call, whatever the hop and the group."""
    mel = random_mel(voice.spec, 90)
    chunks = list(voice.stream(mel, seed=1, chunk_frames=16))
    torch.testing.assert_close(torch.cat(chunks), voice(mel, seed=1), rtol=0, atol=1e-4)
    assert len(chunks) > 3


def test_a_recording_has_a_score(voice: Vocoder) -> None:
    """The mel of a recording at the voice's rate fits it, and its likelihood is a number."""
    sound = 0.1 * torch.randn(voice.spec.sample_rate)
    mel = LogMel(voice.spec)(sound[None])[0]
    assert mel.shape == (voice.spec.n_mels, 1 + voice.spec.sample_rate // voice.spec.hop_length)
    assert np.isfinite(voice.score(sound, mel))


def test_usual_mels_are_refused(voice: Vocoder) -> None:
    """A declared spec of 22 050 Hz is refused by name, and a mel with other bands by its shape."""
    with pytest.raises(InvalidMel, match=rf"sample_rate 22050 \(expected {voice.spec.sample_rate}\)"):
        voice.spec.require(MelSpec())
    with pytest.raises(InvalidMel, match=rf"expected \[{voice.spec.n_mels}, frames\]"):
        voice(torch.full((voice.spec.n_mels + 1, 5), -5.0))


def test_the_commands_follow_the_voice(
    trained: tuple[Other, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A recording becomes a mel of the voice's spec, the mel audio of its rate, and both a table."""
    spec, place = trained[0].spec, ["--checkpoint", str(trained[1])]
    recording, mel, out = tmp_path / "r" / "in.wav", tmp_path / "mel.safetensors", tmp_path / "out.wav"
    recording.parent.mkdir()
    audio.save(recording, 0.1 * torch.randn(22050), 22050)
    assert main(["mel", str(recording), "-o", str(mel), *place]) == 0
    assert main(["vocode", str(mel), "-o", str(out), *place, "--device", "cpu"]) == 0
    rate, samples = _wav(out)
    assert (rate, samples) == (spec.sample_rate, spec.samples(spec.frames(spec.sample_rate)))
    assert main(["score", str(recording), str(mel), *place, "--device", "cpu"]) == 0
    capsys.readouterr()
    asked = [
        "evaluate",
        "--data",
        str(recording.parent),
        "--metrics",
        "mcd",
        "--json",
        *place,
        "--device",
        "cpu",
    ]
    assert main(asked) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["spec"] == spec.to_dict()
    assert all(np.isfinite(row["mcd"]["mean"]) for row in report["systems"].values())
    assert main(["vocode", str(mel), "-o", str(out)]) == 1  # by the default voice
    assert f"sample_rate {spec.sample_rate} (expected 22050)" in capsys.readouterr().err


def test_training_lowers_the_objective(trained: tuple[Other, Path]) -> None:
    """Twenty steps on one batch of this spec lower both terms; segments pair with their own samples."""
    other = trained[0]
    spec, cut = other.spec, Cut(batch=2, frames=16)
    clips = sorted((trained[1].parent.parent / "clips").glob("*.wav"))
    batches = Batches(Recordings(clips, spec, 1, quiet=True), spec, cut, seed=0)
    sound, mel, noise = batches(0)
    assert sound.shape == (2, 16 * spec.hop_length) and mel.shape == (2, spec.n_mels, 16)
    margin = margin_frames(spec) * spec.hop_length
    assert margin - spec.hop_length < spec.n_fft // 2 <= margin
    model = Vocoder.load(trained[1], device="cpu").model.train().requires_grad_(True)
    objective = Objective(model, Weights(spectral=1.0))
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    terms = []
    for _ in range(20):
        terms.append(objective(sound, mel, noise))
        optimiser.zero_grad()
        terms[-1]["loss"].backward()
        optimiser.step()
    assert terms[-1]["nll"] < terms[0]["nll"] and terms[-1]["spectral"] < terms[0]["spectral"]


@pytest.mark.parametrize("name", OTHERS)
def test_the_spectral_distance_is_at_the_mels_resolutions(name: str) -> None:
    """Windows of a quarter to twice the FFT, hops in the same ratio; by default those that are published."""
    spec = OTHERS[name].spec
    assert resolutions(MelSpec()) == ((256, 64), (512, 128), (1024, 256), (2048, 512))
    assert resolutions(spec)[2] == (spec.n_fft, spec.hop_length)
    assert [window / hop for window, hop in resolutions(spec)] == [spec.n_fft / spec.hop_length] * 4


def _wav(path: Path) -> tuple[int, int]:
    """Sample rate and number of samples, as the header tells."""
    data = path.read_bytes()
    return int.from_bytes(data[24:28], "little"), (len(data) - 44) // 2
