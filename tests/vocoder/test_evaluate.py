"""The evaluation: which clips it takes, the two systems it compares, and the two forms of its report."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vocoder import audio
from vocoder.clips import find_clips
from vocoder.errors import InvalidAudio, InvalidInput
from vocoder.evaluate import GRIFFIN_LIM, Clip, Report, evaluate, griffin_lim
from vocoder.features import LogMel, MelSpec

SPEC = MelSpec()
QUICK = ["pesq", "stoi", "mstft", "mcd"]


def buzz(seconds: float, pitch: float) -> Tensor:
    """A buzz with an envelope of syllables and some breath."""
    t = torch.arange(int(seconds * 22050)) / 22050
    tone = sum(torch.sin(2 * math.pi * pitch * k * t) / k for k in range(1, 15))
    breath = torch.randn(len(t), generator=torch.Generator().manual_seed(0))
    return 0.1 * torch.sin(2 * math.pi * 2 * t).clamp(min=0) * tone + 0.002 * breath


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of 1 s and 0.9 s, in a folder and in a folder below it."""
    folder = tmp_path_factory.mktemp("clips")
    audio.save(folder / "b.wav", buzz(1.0, 200), 22050)
    (folder / "a").mkdir()
    audio.save(folder / "a" / "c.flac", buzz(0.9, 130), 22050)
    (folder / "notes.txt").write_text("not audio")
    return folder


def hum(mel: Tensor, seed: int) -> Tensor:
    """A poor vocoder: noise that is as loud as the mel, the same for the same seed."""
    noise = torch.randn(SPEC.samples(mel.shape[1]), generator=torch.Generator().manual_seed(seed))
    return 0.1 * noise * mel.exp().mean(dim=0).repeat_interleave(SPEC.hop_length)


@pytest.fixture(scope="module")
def report(folder: Path) -> Report:
    """The poor vocoder and Griffin-Lim on the two clips."""
    return evaluate(
        hum,
        SPEC,
        find_clips(folder),
        name="hum",
        metrics=QUICK,
        nll=lambda sound, mel: len(sound) / mel.shape[1],
    )


def test_both_systems_are_measured(report: Report) -> None:
    """There is a row for the vocoder and one for Griffin-Lim, over all clips, with every metric asked for."""
    summary = report.summary()
    assert list(summary) == ["hum", GRIFFIN_LIM] == report.systems
    assert [clip.name for clip in report.clips] == ["c.flac", "b.wav"]
    assert list(summary["hum"]) == [*QUICK, "nll"]
    assert list(summary[GRIFFIN_LIM]) == QUICK
    assert {entry.clips for row in summary.values() for entry in row.values()} == {2}


def test_griffin_lim_is_better_than_noise(report: Report) -> None:
    """What reconstructs phase sounds nearer to the recording than noise of its loudness does."""
    hum, griffin = (report.summary()[system] for system in report.systems)
    assert griffin["stoi"].mean > hum["stoi"].mean + 0.1
    assert griffin["mstft"].mean < hum["mstft"].mean
    assert griffin["mcd"].mean < hum["mcd"].mean / 3


def test_the_summary_is_mean_and_spread(report: Report) -> None:
    """Mean and sample standard deviation are those of the clips' own scores."""
    first, second = (clip.scores["hum"]["mcd"] for clip in report.clips)
    entry = report.summary()["hum"]["mcd"]
    assert entry.mean == pytest.approx((first + second) / 2)
    assert entry.std == pytest.approx(abs(first - second) / 2**0.5)


def test_nll_is_of_the_recording(report: Report) -> None:
    """The likelihood is asked of the recording and its mel, as long as they are, for the vocoder alone."""
    assert [clip.scores["hum"]["nll"] for clip in report.clips] == [19845 / 78, 22050 / 87]
    assert "nll" not in report.clips[0].scores[GRIFFIN_LIM]


def test_json(report: Report) -> None:
    """JSON holds the spec, both systems' means, each clip's scores and the versions of the judges."""
    read = json.loads(report.to_json())
    assert MelSpec.from_dict(read["spec"]) == SPEC
    assert read["systems"]["hum"]["stoi"]["clips"] == 2
    assert read["seconds"] == pytest.approx(1.9, abs=1e-3)
    assert read["clips"][0]["scores"][GRIFFIN_LIM]["pesq"] == report.clips[0].scores[GRIFFIN_LIM]["pesq"]
    assert read["libraries"]["torch"] == torch.__version__.split("+")[0]


def test_markdown(report: Report) -> None:
    """Markdown is a table of systems and one of clips, with arrows for the better direction."""
    systems, clips = report.to_markdown().split("\n\n")
    head, _, hum, griffin = systems.splitlines()
    assert head == "| System | Clips | PESQ-wb ↑ | STOI ↑ | M-STFT ↓ | MCD (dB) ↓ | NLL (nats/sample) ↓ |"
    assert hum.startswith("| hum | 2 | ")
    assert hum.count(" ± ") == 5
    assert griffin.startswith("| Griffin-Lim | 2 | ")
    assert griffin.endswith(" | – |")
    assert [line.split(" | ")[:3] for line in clips.splitlines()[2:]] == [
        ["| c.flac", "hum", "0.90"],
        ["| c.flac", "Griffin-Lim", "0.90"],
        ["| b.wav", "hum", "1.00"],
        ["| b.wav", "Griffin-Lim", "1.00"],
    ]


def test_what_has_no_score_is_left_out() -> None:
    """NaN is null in JSON and a dash in Markdown, and means are over the clips that have a score."""
    scores = [{"pesq": math.nan, "stoi": math.nan}, {"pesq": 2.0, "stoi": math.nan}]
    report = Report(SPEC, 0, tuple(Clip(f"{i}.wav", 1.0, {"hum": score}) for i, score in enumerate(scores)))
    assert report.summary()["hum"]["pesq"].clips == 1
    assert "| hum | 2 | 2.000 (1) | – |" in report.to_markdown()
    read = json.loads(report.to_json())
    assert read["systems"]["hum"] == {
        "pesq": {"mean": 2.0, "std": None, "clips": 1},
        "stoi": {"mean": None, "std": None, "clips": 0},
    }
    assert read["clips"][0]["scores"]["hum"]["pesq"] is None


def test_a_perfect_vocoder_is_perfect(folder: Path) -> None:
    """What returns the recording, filled up to its last frame, is aligned with it and scores as a copy."""
    recording = audio.load(folder / "b.wav", 22050)

    def replay(mel: Tensor, _: int) -> Tensor:
        return torch.cat([recording, torch.zeros(SPEC.samples(mel.shape[1]) - len(recording))])

    report = evaluate(replay, SPEC, [folder / "b.wav"], metrics=QUICK, baseline=False)
    means = [entry.mean for entry in report.summary()["vocoder"].values()]
    assert means == pytest.approx([4.644, 1.0, 0.0, 0.0], abs=1e-3)


def test_a_seed_is_a_result(folder: Path) -> None:
    """The same seed gives the same report, another seed another one."""
    clip = [folder / "b.wav"]
    first, again, other = (
        evaluate(hum, SPEC, clip, seed=seed, metrics=["mcd"], baseline=False).to_json() for seed in (3, 3, 4)
    )
    assert first == again != other


def test_griffin_lim_has_its_length_and_its_seed() -> None:
    """Griffin-Lim returns frames · hop samples, equal for equal seeds, whose mel is near to the one given."""
    mel = LogMel(SPEC)(buzz(0.5, 200)[None])[0]
    sound = griffin_lim(mel, 1, SPEC)
    assert sound.shape == (SPEC.samples(mel.shape[1]),)
    assert sound.dtype == torch.float32
    assert torch.equal(sound, griffin_lim(mel, 1, SPEC))
    assert not torch.equal(sound, griffin_lim(mel, 2, SPEC))
    again = LogMel(SPEC)(sound[None])[0][:, : mel.shape[1]]
    assert float((again - mel).abs().mean()) < 0.3


def test_a_vocoder_of_another_length_is_refused(folder: Path) -> None:
    """A system that does not return frames · hop samples is refused before it is scored."""
    with pytest.raises(InvalidAudio, match=r"returned shape \[22016\], expected \[22272\]"):
        evaluate(lambda mel, seed: hum(mel, seed)[256:], SPEC, [folder / "b.wav"], metrics=["mcd"])


def test_a_clip_without_a_mel_is_named(tmp_path: Path) -> None:
    """A clip that is shorter than half a window is refused by name."""
    audio.save(tmp_path / "click.wav", torch.zeros(300), 22050)
    with pytest.raises(InvalidAudio, match=r"click\.wav has no mel: audio has 300 samples"):
        evaluate(hum, SPEC, [tmp_path / "click.wav"], metrics=["mcd"])


def test_no_clip_and_no_metric() -> None:
    """Nothing to evaluate, and a metric that there is not, are refused."""
    with pytest.raises(InvalidInput, match="clips is empty"):
        evaluate(hum, SPEC, [])
    with pytest.raises(InvalidInput, match="no metric"):
        evaluate(hum, SPEC, [], metrics=["mos"])
