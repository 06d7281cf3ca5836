"""Mels in files: what they declare is believed, what they were written in can be told, and doubt is told."""

import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

from vocoder import Vocoder, audio
from vocoder.cli import main
from vocoder.features import CONVENTIONS, MeanVariance, MelSpec

SPEC = MelSpec()
HELLO = Path(__file__).parents[3] / "samples" / "hello.npy"
TINY = ["--checkpoint", "waveglow-tiny", "--device", "cpu"]
KEY = "mel_spec"


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Half a second of noise, in a file."""
    path = tmp_path_factory.mktemp("recording") / "recording.wav"
    audio.save(path, 0.1 * torch.randn(11025, generator=torch.Generator().manual_seed(0)), 22050)
    return str(path)


def spoken(place: Path, *wishes: str) -> torch.Tensor:
    """What `vocoder vocode` makes of a file."""
    out = place.with_suffix(".wav")
    assert main(["vocode", str(place), "-o", str(out), "--format", "wav_f32", *wishes, *TINY]) == 0
    return audio.load(out, 22050)


def test_a_written_mel_declares_its_spec(recording: str, tmp_path: Path) -> None:
    """`vocoder mel` writes the spec into safetensors; `vocode` and `score` take what it wrote."""
    place = tmp_path / "mel.safetensors"
    assert main(["mel", recording, "-o", str(place), *TINY[:2]]) == 0
    with safetensors.safe_open(str(place), "np") as file:
        assert MelSpec.from_dict(json.loads(file.metadata()[KEY])) == SPEC
    assert len(spoken(place)) == 44 * 256
    assert main(["score", recording, str(place), *TINY]) == 0


OTHER = json.dumps(MelSpec(24000, hop_length=300).to_dict())
DECLARED = {
    "another spec": (OTHER, "sample_rate 24000 (expected 22050), hop_length 300 (expected 256)"),
    "half a spec": (json.dumps({"sample_rate": 22050}), "'mel_spec' is no JSON of a mel spec: MelSpec lacks"),
    "a list": ("[1, 2]", "'mel_spec' is no JSON of a mel spec"),
    "no JSON": ("{", "'mel_spec' is no JSON of a mel spec"),
    "too deep": ("[" * 100_000, "'mel_spec' is no JSON of a mel spec"),
}


@pytest.mark.parametrize("case", DECLARED)
@pytest.mark.parametrize("command", ["vocode {mel} -o {out}", "score {recording} {mel}"])
def test_a_declared_mismatch_is_refused(
    case: str, command: str, recording: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that says its mel is of other numbers, or says it badly, is refused in one line: why."""
    told, rule = DECLARED[case]
    place, out = tmp_path / "mel.safetensors", tmp_path / "out.wav"
    safetensors.numpy.save_file({"mel": np.full((80, 44), -5.0, np.float32)}, place, {KEY: told})
    line = command.format(mel=place, out=out, recording=recording)
    assert main([*line.split(), *TINY]) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"vocoder: error: cannot read {place}: ") and rule in said
    assert not out.exists()


def test_other_metadata_is_nobodys_business(tmp_path: Path) -> None:
    """A safetensors file that declares nothing, or something else, is taken as it is."""
    mel = np.full((80, 4), -5.0, np.float32)
    for name, metadata in (("none", None), ("other", {"format": "pt"})):
        safetensors.numpy.save_file({"mel": mel}, tmp_path / f"{name}.safetensors", metadata)
        assert len(spoken(tmp_path / f"{name}.safetensors")) == 4 * 256


@pytest.mark.parametrize("name", ["log10", "db", "symmetric", "hifigan"])
def test_a_convention_is_converted(name: str, tmp_path: Path) -> None:
    """With `--convention` the audio is that of `MelSpec.convert`; HiFi-GAN's mels speak a hop more."""
    ours = torch.from_numpy(np.load(HELLO))[:, :60]
    theirs = CONVENTIONS[name].from_ln(ours, SPEC)
    np.save(tmp_path / "theirs.npy", theirs.numpy())
    sound = spoken(tmp_path / "theirs.npy", "--convention", name)
    expected = Vocoder.load("waveglow-tiny", device="cpu")(SPEC.convert(theirs, name))
    torch.testing.assert_close(sound, expected, rtol=0, atol=1e-4)
    assert len(sound) == 60 * 256


@pytest.mark.parametrize("kind", ["npy", "npz std", "npz scale"])
def test_statistics_undo_standardisation(kind: str, tmp_path: Path) -> None:
    """Mean and deviation come as rows of a .npy, or by name in a .npz, and go with any convention."""
    ours = torch.from_numpy(np.load(HELLO))[:, :20]
    log10 = CONVENTIONS["log10"].from_ln(ours, SPEC)
    mean, std = log10.mean(1).numpy(), log10.std(1).numpy() + 0.1
    theirs = MeanVariance(mean, std, of=CONVENTIONS["log10"]).from_ln(ours, SPEC)
    np.save(tmp_path / "theirs.npy", theirs.numpy())
    np.save(tmp_path / "ours.npy", ours.numpy())
    stats = tmp_path / f"stats.{kind[:3]}"
    if kind == "npy":
        np.save(stats, np.stack([mean, std]))
    else:
        with stats.open("wb") as file:
            np.savez(file, mean=mean, **{kind[4:]: std})  # type: ignore[arg-type]  # NumPy types any name as a flag
    sound = spoken(tmp_path / "theirs.npy", "--convention", "log10", "--stats", str(stats))
    torch.testing.assert_close(sound, spoken(tmp_path / "ours.npy"), rtol=0, atol=1e-4)


WRONG: dict[str, tuple[str, Any]] = {
    "expected a .npy [2, bands]": ("stats.npy", lambda path: np.save(path, np.zeros((3, 80)))),
    "or a .npz with 'mean' and 'std'": ("stats.npz", lambda path: np.savez(path, mean=np.zeros(80))),
    "must be > 0 in every band": ("stats.npy", lambda path: np.save(path, np.zeros((2, 80)))),
    "is of 79 bands, the mel has 80": ("stats.npy", lambda path: np.save(path, np.ones((2, 79)))),
    "No such file": ("stats.npy", lambda path: None),
}


@pytest.mark.parametrize("rule", WRONG)
def test_bad_statistics_are_refused(rule: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of statistics that is none, or of other bands, ends the command with one line."""
    name, write = WRONG[rule]
    write(tmp_path / name)
    asked = ["vocode", str(HELLO), "-o", str(tmp_path / "x.wav"), "--stats", str(tmp_path / name)]
    assert main([*asked, *TINY]) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("vocoder: error: ") and rule in said


def test_an_unknown_convention_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line names those that there are."""
    asked = ["vocode", str(HELLO), "-o", str(tmp_path / "x.wav"), "--convention", "bark"]
    assert main([*asked, *TINY]) == 1
    assert "(='bark') must be one of ln, log10, db" in capsys.readouterr().err


def test_doubt_is_one_line_and_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mel that looks like another convention is spoken, and one line of words says so, every time."""
    np.save(
        tmp_path / "theirs.npy", CONVENTIONS["log10"].from_ln(torch.from_numpy(np.load(HELLO)), SPEC).numpy()
    )
    for _ in range(2):
        assert len(spoken(tmp_path / "theirs.npy")) == 392 * 256
        (said,) = capsys.readouterr().err.splitlines()
        assert re.fullmatch(
            "vocoder: warning: mel may be .* looks like log10, .*'log10'.* makes it one", said
        )
    assert len(spoken(tmp_path / "theirs.npy", "--convention", "log10")) == 392 * 256
    assert capsys.readouterr().err == ""


def test_other_warnings_are_left_alone() -> None:
    """A warning that is not about a mel stays what it was: here, an error."""
    with pytest.raises(UserWarning, match="of another kind"):
        _warn_in_a_command()


def _warn_in_a_command() -> None:
    from vocoder.cli.options import plain_warnings

    with plain_warnings():
        warnings.warn("of another kind", UserWarning, stacklevel=1)
