"""The command line: results where they belong, errors in one line, exit statuses to rely on."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import soundfile
import torch

from vocoder import Vocoder, __version__, audio, checkpoint, voices
from vocoder.cli import build_parser, main, sound
from vocoder.features import LogMel, MelSpec

ROOT = Path(__file__).parents[2]
HELLO = str(ROOT / "samples" / "hello.npy")
TINY = ["--checkpoint", "waveglow-tiny", "--device", "cpu"]
COMMANDS = ["mel", "vocode", "score", "voices", "inspect", "import", "train", "evaluate"]
COMMANDS += ["flows", "bench", "serve"]


def process(arguments: Sequence[str], **settings: Any) -> "subprocess.CompletedProcess[bytes]":
    """Run the command in a process of its own, warnings as errors."""
    command = [sys.executable, "-W", "error", "-m", "vocoder.cli", *arguments]
    settings = {"capture_output": True, **settings}
    return subprocess.run(command, cwd=ROOT, check=False, timeout=120, **settings)


@pytest.fixture(scope="module")
def mel(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A short mel in a file."""
    path = tmp_path_factory.mktemp("mel") / "mel.npy"
    np.save(path, np.random.default_rng(0).normal(-5, 1, (80, 12)).astype(np.float32))
    return str(path)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Half a second of a tone with noise, at 16 kHz, in a file."""
    path = tmp_path_factory.mktemp("recording") / "recording.wav"
    torch.manual_seed(0)
    audio.save(path, 0.1 * torch.sin(torch.arange(8000) / 20) + 0.01 * torch.randn(8000), 16000)
    return str(path)


def test_help_is_light() -> None:
    """Help, and the list of voices, come without torch and without NumPy."""
    for arguments in (["--help"], ["vocode", "--help"], ["voices"], ["--version"]):
        code = (
            "import sys; from vocoder.cli import main\n"
            f"try: main({arguments})\nexcept SystemExit as end: assert end.code == 0\n"
            "print({'torch', 'numpy', 'tqdm'} & sys.modules.keys())"
        )
        command = [sys.executable, "-W", "error", "-c", code]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.stdout.splitlines()[-1] == "set()", done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`COMMAND --help` succeeds and says what the command does."""
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) > 4


def test_the_commands_are_these(capsys: pytest.CaptureFixture[str]) -> None:
    """The list in the help is the list of what there is."""
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = capsys.readouterr().out
    assert [line.split()[0] for line in listed.splitlines() if line.startswith("    ")] == [
        "COMMAND",
        *COMMANDS,
    ][1:]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` tells the package's."""
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"flow-vocoder {__version__}\n"


def test_vocode_writes_what_the_voice_speaks(mel: str, tmp_path: Path) -> None:
    """The file holds frames × hop samples: those of `Vocoder`, for that seed and temperature."""
    out = tmp_path / "out.wav"
    wishes = ["--seed", "7", "--temperature", "0.5", "--format", "wav_f32"]
    assert main(["vocode", mel, "-o", str(out), *wishes, *TINY]) == 0
    expected = Vocoder.load("waveglow-tiny", device="cpu")(np.load(mel), seed=7, temperature=0.5)
    assert torch.equal(audio.load(out, 22050), expected)
    assert len(expected) == 12 * 256


def test_sigma_is_temperature(mel: str, tmp_path: Path) -> None:
    """The two names of one thing give the same bytes, and only one of them may be given."""
    for name in ("temperature", "sigma"):
        assert main(["vocode", mel, "-o", str(tmp_path / name), f"--{name}", "0.3", *TINY]) == 0
    assert (tmp_path / "sigma").read_bytes() == (tmp_path / "temperature").read_bytes()
    with pytest.raises(SystemExit) as end:
        main(["vocode", mel, "-o", "x", "--sigma", "1", "--temperature", "1"])
    assert end.value.code == 2


FILES: list[tuple[str, str | None, bytes, int | None]] = [
    ("a.wav", None, b"RIFF", 6188),
    ("a.flac", None, b"fLaC", None),
    ("a", None, b"RIFF", 6188),
]
FILES += [("a.wav", "flac", b"fLaC", None), ("a.flac", "wav", b"RIFF", 6188), ("a", "wav_f32", b"RIFF", None)]
FILES += [("a.MP3", None, b"\xff\xf3", None), ("a.opus", None, b"OggS", None), ("a.ogg", None, b"OggS", None)]
FILES += [("a.aac", None, b"\xff\xf1", None), ("a.raw", None, b"", 6144), ("a.wav", "pcm", b"", 6144)]


@pytest.mark.parametrize(("name", "kind", "magic", "size"), FILES)
def test_the_format_follows_the_name_unless_it_is_given(
    mel: str, tmp_path: Path, name: str, kind: str | None, magic: bytes, size: int | None
) -> None:
    """WAV of 16 bits unless the name or `--format` says otherwise."""
    wish = ["--format", kind] if kind else []
    assert main(["vocode", mel, "-o", str(tmp_path / name), *wish, *TINY]) == 0
    data = (tmp_path / name).read_bytes()
    assert data.startswith(magic)
    assert size in (None, len(data))


def test_the_rate_is_the_one_that_was_asked_for(mel: str, tmp_path: Path) -> None:
    """`--sample-rate` resamples to ⌈samples · out / in⌉; Opus takes the next rate that it has."""
    for wish, rate in ((["--sample-rate", "48000"], 48000), (["--sample-rate", "8000"], 8000), ([], 24000)):
        kind = "wav" if wish else "opus"
        assert main(["vocode", mel, "-o", str(tmp_path / f"a.{kind}"), *wish, *TINY]) == 0
        found = soundfile.info(tmp_path / f"a.{kind}")
        assert (found.samplerate, found.frames) == (rate, -(-3072 * rate // 22050))


def test_the_formats_are_those_that_there_are() -> None:
    """The names that the help lists, without loading what writes them, are all of `audio.FORMATS`."""
    assert tuple(audio.FORMATS) == sound.FORMATS


def test_mels_in_other_clothes(mel: str, tmp_path: Path) -> None:
    """Safetensors, and an axis for a batch of one, speak as the plain array does."""
    plain = np.load(mel)
    np.save(tmp_path / "batch.npy", plain[None])
    safetensors.numpy.save_file({"mel": plain, "more": plain[:1]}, tmp_path / "named.safetensors")
    safetensors.numpy.save_file({"x": plain}, tmp_path / "only.safetensors")
    made = set()
    for place in (mel, *map(str, tmp_path.iterdir())):
        assert main(["vocode", place, "-o", str(tmp_path.parent / "out.wav"), *TINY]) == 0
        made.add((tmp_path.parent / "out.wav").read_bytes())
    assert len(made) == 1


def test_mel_is_the_voices_mel(recording: str, tmp_path: Path) -> None:
    """The mel of a recording of another rate is that of the resampled audio, in float32, in either format."""
    for name in ("mel.npy", "mel.safetensors"):
        assert main(["mel", recording, "-o", str(tmp_path / name), "--checkpoint", "waveglow-tiny"]) == 0
    expected = LogMel(MelSpec())(audio.load(recording, 22050)[None])[0].numpy()
    assert expected.shape == (80, 1 + 11025 // 256)
    for found in (
        np.load(tmp_path / "mel.npy"),
        safetensors.numpy.load_file(tmp_path / "mel.safetensors")["mel"],
    ):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


def test_mel_follows_the_checkpoints_spec(recording: str, tmp_path: Path) -> None:
    """A voice of another spec gets mels of that spec."""
    model, _ = checkpoint.load(voices.find("waveglow-tiny"))
    spec = MelSpec(sample_rate=16000, n_mels=40)
    other = type(model)(model.config, spec)
    checkpoint.save(tmp_path / "other.safetensors", other, name="other")
    place = ["--checkpoint", str(tmp_path / "other.safetensors")]
    assert main(["mel", recording, "-o", str(tmp_path / "mel.npy"), *place]) == 0
    assert np.load(tmp_path / "mel.npy").shape == (40, 1 + 8000 // 256)


def test_score_in_words_and_json(recording: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The score is `Vocoder.score`, for the seed that was given."""
    place = str(tmp_path / "mel.npy")
    main(["mel", recording, "-o", place, "--checkpoint", "waveglow-tiny"])
    voice = Vocoder.load("waveglow-tiny", device="cpu")
    expected = voice.score(audio.load(recording, 22050), torch.from_numpy(np.load(place)), seed=3)
    assert main(["score", recording, place, "--seed", "3", *TINY]) == 0
    assert capsys.readouterr().out == f"{expected:.4f} nats per sample\n"
    assert main(["score", recording, place, "--seed", "3", "--json", *TINY]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"nats_per_sample": expected, "samples": 11025, "voice": "waveglow-tiny", "seed": 3}


def test_inspect_prints_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON is `checkpoint.inspect` and the file; the text has a line for each value in it."""
    path = voices.find("waveglow-tiny")
    assert main(["inspect", "waveglow-tiny", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"file": str(path), **json.loads(json.dumps(checkpoint.inspect(path)))}
    assert main(["inspect", str(path)]) == 0
    lines = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert (lines["config.flows"], lines["mel.hop_length"], lines["licence"]) == ("3", "256", "Apache-2.0")
    assert lines["encoder.start.weight"] == "float16 [16, 80, 5]"
    assert told["tensors"].keys() <= lines.keys()


def test_voices_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each voice, a star at the default; JSON is the manifest with paths."""
    assert main(["voices"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-4] for line in lines] == [info.name for info in voices.list_voices()]
    assert [line[0] == "*" for line in lines] == [info.default for info in voices.list_voices()]
    assert main(["voices", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(each["name"], Path(each["path"])) for each in told] == [
        (v.name, v.path) for v in voices.list_voices()
    ]


def test_bench_tells_time_cost_and_machine(capsys: pytest.CaptureFixture[str]) -> None:
    """Ten seconds of audio, a yardstick beside the voice, multiply-adds, threads and versions."""
    assert main(["bench", "--runs", "1", "--json", *TINY]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["audio_seconds"] == pytest.approx(10, abs=0.01)
    for row in told["systems"].values():
        assert row["seconds"] * row["times_real_time"] == pytest.approx(told["audio_seconds"])
    assert [*told["systems"]] == ["waveglow-tiny", "Griffin-Lim, 32"]
    assert 0.01 < told["gmac_per_second_of_audio"] < 0.03
    assert told["machine"]["threads"] == torch.get_num_threads()
    assert told["machine"]["torch"] == torch.__version__


def test_bench_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    """The table names the voice, the yardstick, the cost and the machine."""
    assert main(["bench", "--runs", "1", *TINY]) == 0
    text = capsys.readouterr().out
    for word in (
        "waveglow-tiny",
        "Griffin-Lim",
        "× real time",
        "GMAC",
        "threads",
        f"torch {torch.__version__}",
    ):
        assert word in text


def test_evaluate_writes_json_and_tables(
    recording: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Voice and baseline, the metrics asked for and the likelihood; progress stays off standard output."""
    pytest.importorskip("librosa", reason="needs the eval extra")
    asked = ["evaluate", "--data", str(Path(recording).parent), "--metrics", "mcd", "--limit", "1", *TINY]
    assert main([*asked, "--markdown", str(tmp_path / "table.md"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    systems = report["systems"]
    told = {"voice", "weights", "temperature", "denoise", "device", "griffin_lim_iterations"}
    assert report["settings"].keys() == told
    assert [*systems] == ["waveglow-tiny", "Griffin-Lim"]
    assert systems["waveglow-tiny"].keys() == {"mcd", "tones", "nll"}
    assert systems["Griffin-Lim"].keys() == {"mcd", "tones"}
    samples = audio.at_level(audio.load(recording, 22050))
    score = Vocoder.load("waveglow-tiny", device="cpu").score(samples, LogMel(MelSpec())(samples[None])[0])
    assert systems["waveglow-tiny"]["nll"]["mean"] == pytest.approx(-score)
    assert "| waveglow-tiny | 1 |" in (tmp_path / "table.md").read_text()


def test_train_makes_a_voice_that_speaks(mel: str, tmp_path: Path) -> None:
    """One step of training on two clips leaves a checkpoint that `vocode` takes."""
    pytest.importorskip("lightning_fabric", reason="needs the train extra")
    for name in ("a.wav", "b.wav"):
        audio.save(tmp_path / name, 0.1 * torch.randn(44100), 22050)
    (tmp_path / "metadata.tsv").write_text("file\tsplit\na.wav\ttrain\nb.wav\tval\n")
    place = ["--data", str(tmp_path), "--out", str(tmp_path / "run")]
    limits = ["--steps", "1", "--processes", "1", "--device", "cpu"]
    done = process(["train", "--recipe", "waveglow-small", *place, *limits])
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    voice = ["--checkpoint", str(tmp_path / "run" / "voice.safetensors"), "--device", "cpu"]
    assert main(["vocode", mel, "-o", str(tmp_path / "out.wav"), *voice]) == 0
    assert len(audio.load(tmp_path / "out.wav", 22050)) == 12 * 256


def test_a_pipe_is_a_file(recording: str, tmp_path: Path) -> None:
    """`mel - -o - | vocode - -o -` writes the bytes that the way through files does."""
    place, out = str(tmp_path / "mel.npy"), str(tmp_path / "out.wav")
    assert main(["mel", recording, "-o", place, "--checkpoint", "waveglow-tiny"]) == 0
    assert main(["vocode", place, "-o", out, *TINY]) == 0
    piped = process(["mel", "-", "-o", "-", *TINY[:2]], input=Path(recording).read_bytes())
    assert (piped.returncode, piped.stderr, piped.stdout) == (0, b"", Path(place).read_bytes())
    spoken = process(["vocode", "-", "-o", "-", *TINY], input=piped.stdout)
    assert (spoken.returncode, spoken.stderr) == (0, b"")
    assert spoken.stdout == Path(out).read_bytes()


def test_a_reader_that_goes_away_is_no_error() -> None:
    """Whoever reads no further ends the command, without a word."""
    command = [sys.executable, "-W", "error", "-m", "vocoder.cli", "voices", "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as done:
        assert done.stdout
        assert done.stderr
        done.stdout.close()
        assert done.stderr.read() == b""
        assert done.wait(60) == 1


def test_binary_data_stays_off_the_terminal(mel: str) -> None:
    """`-o -` to a terminal is refused, before any work."""
    reader, terminal = pty.openpty()
    try:
        done = process(
            ["vocode", mel, "-o", "-"], capture_output=False, stdout=terminal, stderr=subprocess.PIPE
        )
    finally:
        os.close(terminal)
        os.close(reader)
    assert done.returncode == 1
    assert b"terminal" in done.stderr


def test_a_missing_extra_is_named() -> None:
    """Without the server's libraries `serve` says how to get them."""
    without = "import sys; sys.modules['pydantic_settings'] = None"
    code = f"{without}; from vocoder.cli import main; sys.exit(main(['serve']))"
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("vocoder: error: ")
    assert 'pip install "flow-vocoder[server]"' in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """A folder of files that are not what they should be."""
    np.save(tmp_path / "bands.npy", np.zeros((79, 5), np.float32))
    np.save(tmp_path / "two.npy", np.zeros((2, 80, 5), np.float32))
    np.save(tmp_path / "objects.npy", np.full((80, 5), None), allow_pickle=True)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_text("no mel\nat all\n")
    (tmp_path / "cut.npy").write_bytes(Path(HELLO).read_bytes()[:5000])
    (tmp_path / "head.npy").write_bytes(b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'shape': (((((")
    (tmp_path / "bad.safetensors").write_bytes(voices.find("waveglow-tiny").read_bytes()[:-1])
    safetensors.numpy.save_file({"a": np.zeros(1), "b": np.zeros(1)}, tmp_path / "ab.safetensors")
    audio.save(tmp_path / "short.wav", torch.zeros(100), 22050)
    return tmp_path


ERRORS: dict[str, tuple[str, str]] = {
    "a missing mel": ("vocode {bad}/none.npy -o {bad}/x.wav", "cannot read {bad}/none.npy: No such file"),
    "a mel that is a folder": ("vocode {bad} -o {bad}/x.wav", "directory"),
    "a mel of other bands": ("vocode {bad}/bands.npy -o {bad}/x.wav", r"shape \[79, 5\]"),
    "two mels": ("vocode {bad}/two.npy -o {bad}/x.wav", r"shape \[2, 80, 5\]"),
    "objects": ("vocode {bad}/objects.npy -o {bad}/x.wav", "objects.npy: it is .* Python objects"),
    "an empty mel": ("vocode {bad}/empty -o {bad}/x.wav", "is empty"),
    "text for a mel": ("vocode {bad}/text -o {bad}/x.wav", "neither a .npy nor a safetensors"),
    "a mel cut short": ("vocode {bad}/cut.npy -o {bad}/x.wav", "damaged .npy"),
    "a mel's head damaged": ("vocode {bad}/head.npy -o {bad}/x.wav", "damaged .npy"),
    "tensors, but which": ("vocode {bad}/ab.safetensors -o {bad}/x.wav", r"the tensors \['a', 'b'\]"),
    "an unknown voice": ("vocode {mel} -o {bad}/x.wav --checkpoint nobody", "no voice is called 'nobody'"),
    "a damaged voice": ("inspect {bad}/bad.safetensors", "truncated"),
    "a voice that is no file": ("inspect {bad}/none.safetensors", "is missing"),
    "an unknown device": ("vocode {mel} -o {bad}/x.wav --device tpu", "'tpu'"),
    "a seed below 0": ("vocode {mel} -o {bad}/x.wav --seed -1", r"seed \(=-1\)"),
    "too clean": ("vocode {mel} -o {bad}/x.wav --denoise 2", r"strength \(=2.0\) must be .* 0 … 1"),
    "too hot": ("vocode {mel} -o {bad}/x.wav --temperature 3", r"temperature \(=3.0\)"),
    "no such rate": ("vocode {mel} -o {bad}/x.opus --sample-rate 22050", r"must be one of .* for opus"),
    "no rate": ("vocode {mel} -o {bad}/x.wav --sample-rate 0", r"sample rate \(=0\)"),
    "no place to write": ("vocode {mel} -o {bad}/none/x.wav", "{bad}/none/x.wav: No such file"),
    "text for audio": ("mel {bad}/text -o {bad}/x.npy", "not audio"),
    "audio too short for a mel": ("mel {bad}/short.wav -o {bad}/x.npy", "100 samples, expected at least 513"),
    "a mel of other audio": ("score {bad}/short.wav {mel}", "12 frames beside 100 samples"),
    "one input for two": ("score - -", "both be standard input"),
    "a convention of no mel": ("score {bad}/short.wav --convention log10", "MEL, which is not given"),
    "no data to evaluate": ("evaluate --data {bad}/none", "is not a folder of recordings"),
    "a limit of none": ("evaluate --data {bad} --limit 0", r"--limit \(=0\)"),
    "an unknown recipe": (
        "train --recipe hum --data {bad} --out {bad}/run",
        "no recipe is called 'hum'; there are .*waveglow-small",
    ),
    "no runs": ("bench --runs 0", r"--runs \(=0\)"),
    "a port that is none": ("serve --port 70000", "port Input should be less than"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_is_one_line(case: str, mel: str, bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever goes wrong is told in one line on standard error, with status 1, and leaves no file behind."""
    line, words = ERRORS[case]
    command = [part.format(mel=mel, bad=bad) for part in line.split()]
    before = sorted(bad.iterdir())
    assert main(command) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("vocoder: error: ")
    assert told.err.count("\n") == 1
    assert re.search(words.format(bad=bad), told.err), told.err
    assert sorted(bad.iterdir()) == before


@pytest.mark.parametrize(
    "line",
    [
        "",
        "sing",
        "vocode",
        "vocode a.npy",
        "vocode a -o b --format ogg",
        "vocode a -o b --seed x",
        "mel",
        "score",
    ],
)
def test_what_is_not_understood_is_status_2(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A command line that cannot be read is told how it should be, with status 2."""
    with pytest.raises(SystemExit) as end:
        main(line.split())
    assert end.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("usage: vocoder")


def test_the_status_reaches_the_shell() -> None:
    """Exit statuses of the process are those of `main`."""
    assert process(["voices"]).returncode == 0
    assert process(["inspect", "nobody"]).returncode == 1
    assert process(["sing"]).returncode == 2


def test_the_parser_is_public() -> None:
    """`build_parser` parses without running anything."""
    asked = build_parser().parse_args(["serve", "--host", "0.0.0.0", "--port", "8000"])
    assert (asked.host, asked.port, asked.voice) == ("0.0.0.0", 8000, None)
