"""`vocoder flows`: from files to a model, and from a model to pictures and reports."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vocoder import checkpoint
from vocoder.cli import main
from vocoder.models.density import DensityModel

COMMANDS = ("train", "check", "sample", "interpolate", "spectrum", "edit", "inpaint")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Small grey images of two kinds in an .npz file."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("data") / "bars.npz"
    y = np.arange(120) % 2
    rows = 200 * np.where(y[:, None, None] == 0, np.arange(4)[:, None] < 2, np.arange(4) < 2)
    x = (rows + rng.integers(0, 50, (120, 4, 4))).astype(np.uint8)
    np.savez(path, x_train=x[:90], y_train=y[:90], x_test=x[90:], y_test=y[90:])
    return str(path)


@pytest.fixture(scope="module")
def model(data: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A NICE trained for a moment."""
    out = tmp_path_factory.mktemp("nice")
    wishes = ["--model", "nice", "--data", data, "--out", str(out), "--steps", "60", "--device", "cpu"]
    assert main(["flows", "train", *wishes]) == 0
    return str(out / "model.safetensors")


def size(path: Path) -> tuple[int, int]:
    """Width and height of a picture in images of 4×4 with a gap, whatever it was magnified by."""
    with Image.open(path) as file:
        return file.size


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`flows COMMAND --help` succeeds and says what the command does."""
    with pytest.raises(SystemExit) as end:
        main(["flows", command, "--help"])
    assert end.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) > 8


def test_train_writes_what_it_says(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A time budget, a JSON line with the score, a model that loads, and pictures of it."""
    wishes = ["--model", "nice", "--data", data, "--out", str(tmp_path), "--seconds", "0.5"]
    assert main(["flows", "train", *wishes, "--device", "cpu", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["model"] == "nice-bars" and told["seconds"] >= 0.5 and told["steps"] > 2
    assert 0 < told["bits_per_dim"] < 9
    loaded, header = checkpoint.load(tmp_path / "model.safetensors", DensityModel)
    assert (loaded.shape, header.extra["source"]) == ((1, 4, 4), data)
    for name in ("samples.png", "temperatures.png", "interpolation.png"):
        assert min(size(tmp_path / name)) >= 320


def test_train_of_steps_is_repeatable(
    data: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same steps give the same file, also in constant memory up to rounding; the table tells of them."""
    wishes = ["--model", "nice", "--data", data, "--steps", "60", "--device", "cpu"]
    assert main(["flows", "train", *wishes, "--out", str(tmp_path / "a")]) == 0
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == Path(model).read_bytes()
    assert "| nice-bars | bars |" in capsys.readouterr().out
    assert main(["flows", "train", *wishes, "--out", str(tmp_path / "b"), "--reversible"]) == 0
    plain, reversible = (
        checkpoint.load(path, DensityModel)[0].state_dict()
        for path in (model, tmp_path / "b" / "model.safetensors")
    )
    torch.testing.assert_close(reversible, plain, rtol=1e-2, atol=1e-3)


def test_fewer_bits(data: str, tmp_path: Path) -> None:
    """With --bits the model is one of so many levels, and its commands reduce the data as well."""
    wishes = ["--data", data, "--bits", "5", "--steps", "2", "--device", "cpu"]
    assert main(["flows", "train", "--model", "nice", "--out", str(tmp_path), *wishes]) == 0
    path = tmp_path / "model.safetensors"
    assert checkpoint.load(path, DensityModel)[0].levels == 32
    assert main(["flows", "spectrum", str(path), "--device", "cpu"]) == 0


def test_check_reports(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each layer and a verdict, also as JSON, on the data that the model was trained on."""
    assert main(["flows", "check", model, "--samples", "50", "--device", "cpu"]) == 0
    text = capsys.readouterr().out
    assert "AdditiveCoupling" in text and text.rstrip().endswith("sound")
    assert main(["flows", "check", model, "--samples", "50", "--device", "cpu", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["samples"], told["finite"], told["sound"]) == (50, 50, True)
    assert told["log_det"] < 1e-9


def test_sample_draws_a_grid(model: str, tmp_path: Path) -> None:
    """Nine samples are three by three, the same for the same seed, others for another temperature."""
    for name, wishes in {"a": [], "b": [], "c": ["--temperature", "0.5"], "d": ["--seed", "1"]}.items():
        out = str(tmp_path / f"{name}.png")
        assert main(["flows", "sample", model, "-o", out, "--count", "9", "--device", "cpu", *wishes]) == 0
    a, b, c, d = ((tmp_path / f"{name}.png").read_bytes() for name in "abcd")
    assert a == b and len({a, c, d}) == 3
    width, height = size(tmp_path / "a.png")
    assert width == height and width % (3 * 5 - 1) == 0


def test_spectrum_prints_and_plots(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sixteen deviations, falling, and what is lost without the least; a plot if asked."""
    assert main(["flows", "spectrum", model, "--device", "cpu", "-o", str(tmp_path / "s.png")]) == 0
    assert "sigma" in capsys.readouterr().out and size(tmp_path / "s.png")[0] > 300
    assert main(["flows", "spectrum", model, "--device", "cpu", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["sigma"]) == 16 and told["sigma"] == sorted(told["sigma"], reverse=True)
    assert told["error"][0] < 1e-4 < told["error"][-1]


def test_spectrum_draws_reconstructions(model: str, tmp_path: Path) -> None:
    """A row for each image, a column for each number of dimensions: first the image, last one for all."""
    out = tmp_path / "r.png"
    wishes = ["--device", "cpu", "--images", "1", "2", "0", "--pictures", str(out)]
    assert main(["flows", "spectrum", model, *wishes]) == 0
    width, height = size(out)
    assert width * (5 * 3 - 1) == height * (5 * 17 - 1)  # 16 dimensions: 17 numbers of them, 0 included
    with Image.open(out) as file:
        sheet = np.asarray(file.resize((5 * 17 - 1, 5 * 3 - 1), Image.Resampling.NEAREST))
    tiles = [[sheet[5 * row : 5 * row + 4, 5 * k : 5 * k + 4] for k in (0, 16)] for row in range(3)]
    data = np.load(checkpoint.load(model, DensityModel)[1].extra["source"])["x_test"][[1, 2, 0]]
    for (first, last), image in zip(tiles, data, strict=True):
        assert np.abs(first.astype(int) - image).max() <= 1
        assert np.array_equal(last, tiles[0][1])


PICTURES = {
    "strips": (["edit", "--dimensions", "0", "3", "--steps", "5"], 2, 5),
    "the most important": (["edit", "--steps", "3"], 8, 3),
    "an attribute": (["edit", "--attribute", "1", "--images", "0", "2", "4", "--steps", "4"], 3, 4),
    "interpolations": (["interpolate", "--images", "0", "1", "2", "--steps", "6"], 2, 6),
    "a manifold": (["interpolate", "--manifold", "--steps", "5"], 5, 5),
    "inpainting": (["inpaint", "--images", "0", "1", "--iterations", "3", "--hide", "left"], 2, 3),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_have_their_rows(name: str, model: str, tmp_path: Path) -> None:
    """Each command draws as many rows and columns as it says."""
    wishes, rows, columns = PICTURES[name]
    command, *more = wishes
    assert main(["flows", command, model, "-o", str(tmp_path / "x.png"), "--device", "cpu", *more]) == 0
    width, height = size(tmp_path / "x.png")
    assert width * (5 * rows - 1) == height * (5 * columns - 1)


def test_points_of_a_plane(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Moons are learned as vectors, and drawn as points."""
    wishes = ["--model", "realnvp", "--data", "moons", "--out", str(tmp_path), "--steps", "3"]
    assert main(["flows", "train", *wishes, "--device", "cpu"]) == 0
    assert "| realnvp-moons | moons |" in capsys.readouterr().out
    out = str(tmp_path / "more.png")
    path = str(tmp_path / "model.safetensors")
    assert main(["flows", "sample", path, "-o", out, "--device", "cpu"]) == 0
    assert size(tmp_path / "samples.png")[0] > size(tmp_path / "more.png")[0] > 100


def test_a_density_of_each_label(data: str, tmp_path: Path) -> None:
    """A conditional Glow is trained with the labels, and every command knows which image has which."""
    wishes = ["--model", "glow", "--data", data, "--conditional", "--steps", "2", "--device", "cpu"]
    assert main(["flows", "train", "--out", str(tmp_path), *wishes]) == 0
    path, out = str(tmp_path / "model.safetensors"), ["-o", str(tmp_path / "x.png"), "--device", "cpu"]
    assert checkpoint.load(path, DensityModel)[0].classes == 2
    for command in (["edit"], ["interpolate", "--steps", "3"], ["inpaint", "--iterations", "1"], ["sample"]):
        assert main(["flows", command[0], path, *command[1:], *out]) == 0
    assert main(["flows", "check", path, "--samples", "9", "--device", "cpu"]) == 0
    assert main(["flows", "edit", path, "--attribute", "1", *out]) == 1


REFUSED = {
    "label": ["edit", "MODEL", "-o", "x.png", "--attribute", "7"],
    "--images": ["inpaint", "MODEL", "-o", "x.png", "--images", "99"],
    "--samples": ["check", "MODEL", "--samples", "0"],
    "--count": ["sample", "MODEL", "-o", "x.png", "--count", "0"],
    "4 --images": ["interpolate", "MODEL", "-o", "x.png", "--manifold", "--images", "1", "2"],
    "--steps": ["interpolate", "MODEL", "-o", "x.png", "--steps", "1"],
    "--iterations": ["inpaint", "MODEL", "-o", "x.png", "--iterations", "0"],
    "shape": ["check", "MODEL", "--data", "moons"],
    "must be one of": ["check", "MODEL", "--data", "nowhere"],
    "preset": ["train", "--model", "glow", "--data", "moons", "--out", "x", "--preset", "large"],
    "image": ["train", "--model", "glow", "--data", "moons", "--out", "x"],
    "only a Glow": ["train", "--model", "nice", "--data", "moons", "--out", "x", "--conditional"],
    "above 0": ["train", "--model", "nice", "--data", "moons", "--out", "x", "--steps", "0"],
    "device": ["train", "--model", "nice", "--data", "moons", "--out", "x", "--device", "banana"],
}


@pytest.mark.parametrize("told", REFUSED)
def test_what_makes_no_sense_is_refused(
    told: str, model: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that names the wish, exit status 1, and nothing written."""
    monkeypatch.chdir(tmp_path)
    command = [model if word == "MODEL" else word for word in REFUSED[told]]
    assert main(["flows", *command]) == 1
    error = capsys.readouterr().err
    assert told in error and error.startswith("vocoder: error:") and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_voice_is_no_density(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A checkpoint of a vocoder is told from one of a density."""
    voice = str(Path(__file__).parents[2] / "checkpoints" / "waveglow-tiny.safetensors")
    assert main(["flows", "sample", voice, "-o", str(tmp_path / "x.png")]) == 1
    assert "waveglow" in capsys.readouterr().err
