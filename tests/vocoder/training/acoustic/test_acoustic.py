"""Recordings with texts become batches, and a run of them lowers its objective, resumes and publishes."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vocoder import audio as shore
from vocoder import checkpoint
from vocoder.cli import main
from vocoder.errors import CheckpointError, InvalidConfig, InvalidInput
from vocoder.features import MelSpec
from vocoder.models.glowtts import GlowTTS, GlowTTSConfig
from vocoder.text.symbols import ids
from vocoder.training.acoustic.batches import Batches, collate
from vocoder.training.acoustic.corpus import Clip, prepare
from vocoder.training.acoustic.nudge import expected, nudge
from vocoder.training.acoustic.objective import Objective, pitch_of_symbols
from vocoder.training.acoustic.pitch import track
from vocoder.training.acoustic.recipes import RECIPES, Recipe
from vocoder.training.acoustic.run import Run, train
from vocoder.training.acoustic.validation import Validation, distortion
from vocoder.training.recipes import Optimiser

SPEC = MelSpec(n_mels=8)
RECIPE = Recipe(
    name="test",
    config=GlowTTSConfig(
        width=16, layers=1, heads=2, hidden=16, predictor=16, flows=2, channels=12, dilations=(1,),
        pitch_channels=4,
    ),
    spec=SPEC,
    optimiser=Optimiser(rate=5e-3, warmup=4),
    frames=256,
    guided_steps=10,
    steps=6,
    validate_every=3,
    save_every=3,
    validation_clips=2,
    precision="32-true",
)
SOUNDS = ["^", "AA1", "S", "|", "IY0", "M", ".", "$"]
LEVELS = torch.linspace(-6, -1, 80)


def clip(seed: int) -> Clip:
    """A clip whose mel says what its symbols are: each has its own spectrum, and pitch goes up and down."""
    rng = np.random.default_rng(seed)
    numbers = ids(["^", *rng.choice(SOUNDS[1:-1], 5), "$"])
    durations = rng.integers(2, 9, len(numbers))
    owner = np.repeat(numbers, durations)
    shape = np.sin(np.outer(owner, np.arange(1, 9)))
    mel = (LEVELS.numpy()[owner][:, None] + shape + 0.1 * rng.standard_normal(shape.shape)).astype(np.float16)
    f0 = (180 + 40 * np.sin(np.arange(len(owner)) / 5)) * (owner > 40)
    return Clip(f"{seed}", mel, f0.astype(np.float32), np.array(numbers, np.int16))


CLIPS = [clip(seed) for seed in range(24)]


def run(out: Path, recipe: Recipe = RECIPE, warm_start: Path | None = None) -> Run:
    """A run on the CPU, not yet started."""
    return Run(recipe, CLIPS[:20], CLIPS[20:], out, warm_start)


def weights(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The trained and the averaged weights of a state, under distinct names."""
    return {**state["model"], **{f"average/{name}": value for name, value in state["average"].items()}}


def test_training_lowers_its_objective_and_publishes(tmp_path: Path) -> None:
    """All terms fall, and what is published is the averaged model with the symbols that it heard."""
    trained = run(tmp_path, dataclasses.replace(RECIPE, steps=80, validate_every=80, save_every=80))
    batch = collate(CLIPS[:20])
    before = {name: value.item() for name, value in Objective(trained.model.eval())(batch).items()}
    trained.go(float("inf"))
    after = {name: value.item() for name, value in Objective(trained.model.eval())(batch).items()}
    assert after["nll"] < before["nll"] - 0.5 and after["duration"] < before["duration"]
    line = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert line["step"] == 80 and {"nll", "length", "duration", "pitch", "mcd"} <= set(line)
    model, header = checkpoint.load(tmp_path / "voice.safetensors", GlowTTS)
    assert set(header.extra["heard"]) <= set(SOUNDS) and header.step == 80 and header.mel == SPEC
    stored = trained.averaged.state_dict()
    assert all(torch.equal(model.state_dict()[n], v.half().to(v.dtype)) for n, v in stored.items() if v.ndim)
    assert (tmp_path / "mels.png").stat().st_size > 1000


def test_a_resumed_run_is_the_undisturbed_one(tmp_path: Path) -> None:
    """Three steps, everything built anew, three more: the same state as six steps without a break."""
    run(tmp_path / "whole").go(float("inf"))
    cut = run(tmp_path / "cut")
    times = iter([0.0, 0, 0, 0, 0, 0, 9])
    cut.go(1.0, clock=lambda: next(times, 9.0))
    assert 0 < cut.step < 6
    resumed = run(tmp_path / "cut")
    assert resumed.step == cut.step
    resumed.go(float("inf"))
    whole, again = (torch.load(tmp_path / n / "state.pt", weights_only=True) for n in ("whole", "cut"))
    assert all(torch.equal(value, weights(again)[name]) for name, value in weights(whole).items())
    torch.testing.assert_close(again["optimiser"], whole["optimiser"], rtol=0, atol=0)


def test_a_step_that_is_not_finite_is_skipped_and_counted(tmp_path: Path) -> None:
    """One batch with an infinite mel changes no weight, and the run goes on and says so."""
    broken = run(tmp_path)
    batches = broken.batches

    def poisoned(step: int) -> Any:
        batch = batches(step)
        return batch._replace(mel=batch.mel / 0) if step == 2 else batch

    broken.batches = poisoned  # type: ignore[assignment]
    broken.go(float("inf"))
    assert (broken.step, broken.skipped) == (6, 1)
    assert all(torch.isfinite(value).all() for value in broken.model.state_dict().values())


def test_warm_start_takes_the_weights_and_refuses_what_does_not_fit(tmp_path: Path) -> None:
    """Published weights begin a run; those of another shape, or over a run to resume, do not."""
    run(tmp_path / "first").go(float("inf"))
    voice = tmp_path / "first" / "voice.safetensors"
    warm = run(tmp_path / "second", warm_start=voice)
    published, _ = checkpoint.load(voice, GlowTTS)
    assert all(torch.equal(warm.model.state_dict()[n], v) for n, v in published.state_dict().items())
    other = dataclasses.replace(RECIPE, config=dataclasses.replace(RECIPE.config, channels=10))
    with pytest.raises(InvalidConfig, match="warm-start"):
        run(tmp_path / "third", other, voice)
    with pytest.raises(InvalidConfig, match="holds a run to resume"):
        run(tmp_path / "first", warm_start=voice)
    with pytest.raises(CheckpointError, match="had other frames"):
        run(tmp_path / "first", dataclasses.replace(RECIPE, frames=128))


def test_batches_are_of_much_the_same_length_and_hold_every_clip_once_an_epoch() -> None:
    """No more padded frames than asked for, epochs that differ, and the same batch for the same step."""
    batches = Batches(CLIPS, 256, seed=3)
    batches(100)
    for first, last in zip([0, *batches.ends], batches.ends, strict=False):
        epoch = [batches(step) for step in range(first, last)]
        lengths = sorted(int(frames) for batch in epoch for frames in batch.frames)
        assert lengths == sorted(len(each.f0) for each in CLIPS)
        shapes = [(len(batch.mel), batch.mel.shape[2]) for batch in epoch]
        assert all(items * longest <= 256 and longest % 32 == 0 for items, longest in shapes)
    again = Batches(CLIPS, 256, seed=3)
    for step in (7, 90, 2):
        assert all(torch.equal(a, b) for a, b in zip(batches(step), again(step), strict=True))
    later = [batches(batches.ends[0] + step).frames for step in range(3)]
    assert any(not torch.equal(batches(step).frames, other) for step, other in enumerate(later))


def test_the_objective_counts_what_is_there() -> None:
    """Padding changes no term: a batch is the mean of its items, weighted by what each counts."""
    torch.manual_seed(0)
    model = GlowTTS(RECIPE.config, SPEC).double()
    pair = collate(CLIPS[:2])
    pair = pair._replace(mel=pair.mel.double(), f0=pair.f0.double())
    model.train()(pair.mel, pair.f0, pair.frames)
    objective = Objective(model.eval())
    together = objective(pair)
    pad = torch.nn.functional.pad
    wider = pair._replace(mel=pad(pair.mel, (0, 32), value=9.0), f0=pad(pair.f0, (0, 32)))
    for name, value in objective(wider).items():
        torch.testing.assert_close(value, together[name], rtol=1e-9, atol=1e-9)


def test_pitch_of_symbols_is_that_of_their_frames() -> None:
    """The mean of ln f0 of voiced frames, and hardly any weight where nothing is voiced."""
    f0 = np.array([0, 0, 100, 0, 200, 200], np.float32)
    single = collate([Clip("", np.zeros((6, 8), np.float16), f0, np.array([0, 1], np.int16))])
    pitch, weight = pitch_of_symbols(single, torch.tensor([[2, 4]]))
    assert weight[0, 0] < 0.2 and weight[0, 1] > 3
    assert 100 < pitch[0, 1].exp() < 200


def test_the_nudge_is_highest_where_a_symbol_is_expected() -> None:
    """Middles go up from symbol to symbol and lie within the item."""
    batch = collate(CLIPS[:3])
    score = nudge(batch.ids, batch.symbols, batch.frames, batch.mel.shape[2])
    for row, n, frames in zip(score, batch.symbols.tolist(), batch.frames.tolist(), strict=True):
        middle = row[:n].argmax(1)
        assert bool((middle.diff() >= 0).all()) and int(middle[0]) >= 0 and int(middle[-1]) < frames
    assert bool((expected() > 0).all())


def test_distortion_is_of_cepstra() -> None:
    """None of a mel with itself, none of a louder one, and more of one that differs more."""
    mel = torch.randn(80, 20)
    assert distortion(mel, mel) == 0
    assert distortion(mel, mel + 1) == pytest.approx(0, abs=1e-4)
    assert distortion(mel, mel + 0.1 * torch.randn(80, 20)) < distortion(mel, mel + torch.randn(80, 20))


def test_validation_repeats_itself() -> None:
    """The same model and clips, the same numbers; and none of them is NaN."""
    torch.manual_seed(0)
    model = GlowTTS(RECIPE.config, SPEC).eval()
    validation = Validation(CLIPS[:3], 0.667)
    scores = validation(model)
    assert scores == validation(model) and not np.isnan(list(scores.values())).any()


def tone(seconds: float, hertz: float) -> np.ndarray:
    """A buzz of ten harmonics at 22 050 Hz."""
    time = np.arange(int(22050 * seconds)) / 22050
    order = np.arange(1, 11)[:, None]
    return (0.05 * (np.sin(2 * np.pi * order * hertz * time) / order).sum(0)).astype(np.float32)


def test_pitch_is_tracked_to_a_step() -> None:
    """A buzz of 200 Hz within 20 cents, silence around it without pitch, as many values as frames."""
    audio = np.concatenate([np.zeros(4096, np.float32), tone(0.5, 200.0), np.zeros(4096, np.float32)])
    f0 = track(audio, MelSpec(), len(audio) // 256)
    assert f0.shape == (len(audio) // 256,) and f0.dtype == np.float32
    np.testing.assert_allclose(1200 * np.log2(f0[20:55] / 200), 0, atol=25)
    assert not f0[:10].any() and not f0[-8:].any()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set of three clips, one of them flagged, and a text for each."""
    place = tmp_path / "speech"
    place.mkdir()
    rows = [("a.wav", "train", "-", "one"), ("b.wav", "train", "bad", "two"), ("c.wav", "val", "-", "three")]
    for name, *_ in rows:
        shore.save(place / name, torch.from_numpy(tone(0.4, 180.0)), 22050)
    table = ["file\tsplit\tflags\ttext", *("\t".join(row) for row in rows)]
    (place / "metadata.tsv").write_text("\n".join(table))
    return place


def spell(text: str) -> list[str]:
    """The plainest front end."""
    return ["^", *["AA1"] * len(text), "$"]


def test_a_corpus_is_made_once(folder: Path, tmp_path: Path) -> None:
    """Flagged clips are left out; a second call reads what the first has kept, another spec does not."""
    (clip,) = prepare([folder], "train", SPEC, tmp_path / "train.npz", spell)
    assert Path(clip.name).name == "a.wav" and len(clip.ids) == 5 and clip.mel.shape == (34, 8)
    kept = (tmp_path / "train.npz").stat().st_mtime_ns
    (again,) = prepare([folder], "train", SPEC, tmp_path / "train.npz", spell)
    assert (tmp_path / "train.npz").stat().st_mtime_ns == kept
    np.testing.assert_array_equal(again.mel, clip.mel)
    np.testing.assert_array_equal(again.f0, clip.f0)
    (wider,) = prepare([folder], "train", MelSpec(), tmp_path / "train.npz", spell)
    assert wider.mel.shape == (34, 80)


def test_a_damaged_cache_is_made_again(folder: Path, tmp_path: Path) -> None:
    """Half a file is as good as none."""
    prepare([folder], "val", SPEC, tmp_path / "val.npz", spell)
    os.truncate(tmp_path / "val.npz", 500)
    assert len(prepare([folder], "val", SPEC, tmp_path / "val.npz", spell)) == 1


def test_what_cannot_be_taught_is_refused(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """More symbols than frames, a text that cannot be said, a table without texts: each by name."""
    with pytest.raises(InvalidInput, match="a frame for every symbol"):
        prepare([folder], "val", SPEC, tmp_path / "a.npz", lambda text: ["^", *["AA1"] * 60, "$"])
    assert "62 symbols" in caplog.text
    with pytest.raises(InvalidInput, match=r"'three' cannot be said: .*'X'"):
        prepare([folder], "val", SPEC, tmp_path / "b.npz", lambda text: ["X"])
    (folder / "metadata.tsv").write_text("file\tsplit\nc.wav\tval")
    with pytest.raises(InvalidInput, match=r"no text for c\.wav"):
        prepare([folder], "val", SPEC, tmp_path / "c.npz", spell)


def test_a_folder_of_recordings_and_texts_is_all_it_takes(folder: Path, tmp_path: Path) -> None:
    """From files to a published model; the same call with more steps goes on, on what it has kept."""
    pytest.importorskip("pycrfsuite", reason="the front end needs the extra `text`")
    train(RECIPE, [folder], tmp_path / "run", steps=1, device="cpu")
    train(RECIPE, [folder], tmp_path / "run", steps=2, device="cpu")
    model, header = checkpoint.load(tmp_path / "run" / "voice.safetensors", GlowTTS)
    assert header.step == 2 and "W" in header.extra["heard"]
    assert model.infer(torch.tensor(ids(["^", "W", "AH1", "N", "$"]))).isfinite().all()
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {"state.pt", "train.npz", "val.npz"}


def test_the_command_knows_the_recipe(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`vocoder train` finds it by name, and says that it runs in one process."""
    asked = ["train", "--recipe", "glowtts-small", "--data", str(folder), "--out", str(tmp_path / "run")]
    assert main([*asked, "--processes", "2"]) == 1
    assert "must be 1 for the recipe glowtts-small" in capsys.readouterr().err


def test_the_recipe_fits_its_budget() -> None:
    """The embedded model has at most six million numbers, twelve megabytes in half precision."""
    recipe = RECIPES["glowtts-small"]
    assert sum(each.numel() for each in GlowTTS(recipe.config, recipe.spec).parameters()) < 6_000_000
