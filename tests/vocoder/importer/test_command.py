"""`vocoder import`: a voice, a report, or an error in one line."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.vocoder.importer import authors
from tests.vocoder.importer.authors import NET, SHAPE, author, trained
from vocoder import Vocoder, checkpoint
from vocoder.cli import main

Output = pytest.CaptureFixture[str]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file of NVIDIA's; what it is of cannot be imported."""
    with author("glow", "glow") as glow:
        network = trained(glow.WaveGlow(**SHAPE, WN_config=NET))
        return authors.save(authors.checkpoint(network), tmp_path / "waveglow_ljs_v3.pt", zipped=False)


def test_a_voice_that_speaks(source: Path, tmp_path: Path, capsys: Output) -> None:
    """What is written loads, by the one command, as a voice that speaks."""
    out = tmp_path / "v.safetensors"
    assert main(["import", str(source), "-o", str(out), "--licence", "BSD-3-Clause", "--half"]) == 0
    told = capsys.readouterr()
    count = checkpoint.inspect(out)["parameters"]
    assert f"waveglow_ljs_v3, {count} parameters, temperature 0.6" in told.out
    assert "note: the file does not tell its mel" in told.err
    voice = Vocoder.load(out, device="cpu")
    assert (voice.name, voice.header.licence) == ("waveglow_ljs_v3", "BSD-3-Clause")
    mel = np.random.default_rng(0).normal(-5, 1, (4, 6)).astype(np.float32)
    assert voice(mel).isfinite().all() and len(voice(mel)) == 6 * 256


def test_what_is_said_is_written(source: Path, tmp_path: Path, capsys: Output) -> None:
    """Name, temperature, and halves that alternate; JSON tells everything found."""
    out = tmp_path / "v.safetensors"
    wishes = ["--name", "mine", "--temperature", "0.7", "--alternate-halves", "--json"]
    assert main(["import", str(source), "-o", str(out), *wishes]) == 0
    told = json.loads(capsys.readouterr().out)
    header = checkpoint.inspect(out)
    assert (header["name"], header["temperature"]) == ("mine", 0.7)
    assert header["config"]["halves"] == told["config"]["halves"] == "alternate"
    assert header["extra"]["imported_from"]["sha256"] == told["sha256"]
    assert "class WaveGlow" in told["sources"]["glow.WaveGlow"]


def test_a_report(source: Path, tmp_path: Path, capsys: Output) -> None:
    """What is in the file, and nothing is written."""
    before = sorted(tmp_path.iterdir())
    assert main(["import", str(source), "--report"]) == 0
    told = capsys.readouterr().out
    for line in (
        "container    legacy",
        "class        glow.WaveGlow",
        "iteration      580000",
        "  WN.*.cond_layer.weight_v         float32 [36, 32, 1] ×5",
        "  glow.WaveGlow",
        "can be imported",
    ):
        assert line in told
    assert sorted(tmp_path.iterdir()) == before
    assert main(["import", str(source), "--report", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tensors"]["upsample.bias"] == {
        "dtype": "float32",
        "shape": [4],
    }


def test_a_report_of_what_cannot_be(tmp_path: Path, capsys: Output) -> None:
    """The report is printed all the same, and the status says that it is of a failure."""
    path = authors.save({"generator": {"conv_pre.weight": torch.zeros(1)}}, tmp_path / "g.pt")
    assert main(["import", str(path), "--report"]) == 1
    told = capsys.readouterr()
    assert "PROBLEM: holds no WaveGlow" in told.out and "conv_pre.weight" in told.out
    assert told.err.startswith(f"vocoder: error: {path} holds no WaveGlow")
    assert main(["import", str(path), "-o", str(tmp_path / "v.safetensors")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "v.safetensors").exists()


def test_a_destination_or_a_report(source: Path) -> None:
    """One of both must be asked for."""
    for wishes in ([], ["-o", "x", "--report"]):
        with pytest.raises(SystemExit) as end:
            main(["import", str(source), *wishes])
        assert end.value.code == 2


CONFIG = {
    "sampling_rate": 16000,
    "filter_length": 1024,
    "hop_length": 256,
    "win_length": 1024,
    "mel_fmax": 7600.0,
}


def test_the_config_it_was_trained_with(source: Path, tmp_path: Path) -> None:
    """NVIDIA's config.json tells the mel, which its checkpoints do not."""
    config, out = tmp_path / "config.json", tmp_path / "v.safetensors"
    config.write_text(json.dumps({"data_config": CONFIG, "waveglow_config": {}}))
    assert main(["import", str(source), "-o", str(out), "--config", str(config)]) == 0
    mel = checkpoint.inspect(out)["mel"]
    assert (mel["sample_rate"], mel["f_max"], mel["n_mels"]) == (16000, 7600.0, 4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "config.json cannot be read"),
        ("{}", "config.json has no data_config"),
        (json.dumps({"data_config": {**CONFIG, "hop_length": 200}}), "kernel 1024 and stride 256"),
        (json.dumps({"data_config": {**CONFIG, "mel_fmax": 9000.0}}), "a mel that cannot be"),
    ],
)
def test_a_config_that_does_not_fit(
    source: Path, tmp_path: Path, capsys: Output, text: str, expected: str
) -> None:
    """A file that is none, or of another model."""
    config = tmp_path / "config.json"
    config.write_text(text)
    assert main(["import", str(source), "-o", str(tmp_path / "v"), "--config", str(config)]) == 1
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "v").exists()


def test_another_hop(tmp_path: Path) -> None:
    """An upsampler of another window and hop is imported with the config that says so, and not without."""
    with author("glow", "glow") as glow:
        network = glow.WaveGlow(**SHAPE, WN_config=NET)
        network.upsample = torch.nn.ConvTranspose1d(4, 4, 800, stride=200)
        path = authors.save({"model": trained(network)}, tmp_path / "x.pt")
    out, config = tmp_path / "v.safetensors", tmp_path / "config.json"
    assert main(["import", str(path), "-o", str(out)]) == 1
    config.write_text(json.dumps({"data_config": {**CONFIG, "hop_length": 200, "win_length": 800}}))
    assert main(["import", str(path), "-o", str(out), "--config", str(config)]) == 0
    assert checkpoint.inspect(out)["mel"]["hop_length"] == 200
