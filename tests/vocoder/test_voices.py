"""The voices of the package: the manifest tells the truth, and one locator finds them everywhere."""

import hashlib
import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vocoder import checkpoint, voices
from vocoder.errors import CheckpointError, UnknownVoice
from vocoder.voices import VoiceInfo

ROOT = Path(__file__).parents[2]
LISTED = voices.list_voices()
BY_NAME = pytest.mark.parametrize("info", LISTED, ids=[info.name for info in LISTED])


@BY_NAME
def test_the_manifest_says_what_the_file_says(info: VoiceInfo) -> None:
    """Digest, size and every word of the header agree between manifest and checkpoint."""
    assert hashlib.sha256(info.path.read_bytes()).hexdigest() == info.sha256
    told = checkpoint.inspect(info.path)
    for name in ("name", "bytes", "architecture", "config", "mel", "licence"):
        assert getattr(info, name) == told[name], name


@BY_NAME
def test_every_voice_has_a_card(info: VoiceInfo) -> None:
    """The model card is there, and names the voice and its licence."""
    card = info.path.with_name(info.card).read_text(encoding="utf-8")
    assert info.name in card
    assert info.licence in card


def test_nothing_in_the_folder_is_unlisted() -> None:
    """Each checkpoint in the folder is one that the manifest lists."""
    assert {path.name for path in (ROOT / "checkpoints").glob("*.safetensors")} == {v.file for v in LISTED}


def test_exactly_one_voice_is_the_default() -> None:
    """`default` means one voice, and is what `find` looks for if it is told nothing."""
    (default,) = (info for info in LISTED if info.default)
    assert voices.find() == voices.find("default") == default.path


@BY_NAME
def test_a_voice_is_found_by_name_and_by_path(info: VoiceInfo) -> None:
    """Name, path and text of a path lead to the same file."""
    assert voices.find(info.name) == voices.find(info.path) == voices.find(str(info.path)) == info.path


@pytest.mark.parametrize("name", ["waveglow-huge", "", "default ", "waveglow-tiny.md"])
def test_an_unknown_name_is_told_the_known_ones(name: str) -> None:
    """The message repeats the name and lists those there are."""
    with pytest.raises(UnknownVoice, match=f"{name!r}; there are default, .*waveglow-tiny"):
        voices.find(name)


@pytest.mark.parametrize("place", ["none.safetensors", "./none", "/none/at/all", "."])
def test_a_path_that_leads_nowhere_is_told(place: str) -> None:
    """What looks like a path is taken for one, and not for a name."""
    with pytest.raises(CheckpointError, match=r"is (missing|no file); expected a checkpoint") as told:
        voices.find(place)
    assert not isinstance(told.value, UnknownVoice)


def test_tiny_is_what_its_script_makes(tmp_path: Path) -> None:
    """The committed waveglow-tiny is, byte for byte, what `make_tiny.py` writes, and is tiny."""
    script = shutil.copy(ROOT / "checkpoints" / "make_tiny.py", tmp_path)
    runpy.run_path(str(script))["main"]()
    made = (tmp_path / "waveglow-tiny.safetensors").read_bytes()
    assert made == voices.find("waveglow-tiny").read_bytes()
    assert len(made) < 2**20


def test_enlisting_again_changes_nothing(tmp_path: Path) -> None:
    """The entry of a voice is what `enlist.py` reads off its file."""
    shutil.copytree(ROOT / "checkpoints", tmp_path, dirs_exist_ok=True)
    enlist = runpy.run_path(str(tmp_path / "enlist.py"))["enlist"]
    for info in LISTED:
        enlist(info.name, default=info.default, scores=info.scores)
    assert (tmp_path / "manifest.json").read_text() == (ROOT / "checkpoints" / "manifest.json").read_text()


def test_a_new_default_takes_the_place_of_the_old(tmp_path: Path) -> None:
    """After a second voice is enlisted as the default there is still one default."""
    shutil.copytree(ROOT / "checkpoints", tmp_path, dirs_exist_ok=True)
    model, _ = checkpoint.load(voices.find("waveglow-tiny"))
    checkpoint.save(tmp_path / "other.safetensors", model, name="other")
    runpy.run_path(str(tmp_path / "enlist.py"))["enlist"]("other", default=True, scores={"stoi": 1})
    entries = {info.name: info for info in voices.read_manifest(tmp_path)}
    assert [name for name, info in entries.items() if info.default] == ["other"]
    assert entries["other"].scores == {"stoi": 1}


@pytest.mark.parametrize("text", ["", "{", "[{}]", "5", '[{"name": "a"}]', "[1]"])
def test_a_damaged_manifest_is_told(text: str, tmp_path: Path) -> None:
    """A manifest that is no list of entries is an error that names it."""
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"manifest\.json cannot be read"):
        voices.read_manifest(tmp_path)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """As much of an installed wheel as knows of voices, with the voices where the wheel has them."""
    package = tmp_path / "vocoder"
    package.mkdir()
    for name in ("__init__.py", "errors.py", "voices.py"):
        shutil.copy(ROOT / "vocoder" / name, package)
    shutil.copytree(ROOT / "checkpoints", package / "_voices")
    return tmp_path


def look(where: Path, code: str) -> "subprocess.CompletedProcess[str]":
    """Run code in a fresh interpreter that finds the package in a folder."""
    command = [sys.executable, "-W", "error", "-c", f"import sys; from vocoder import voices; {code}"]
    return subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)


def test_an_installed_wheel_finds_its_voices(installed: Path) -> None:
    """Away from a checkout the voices are found inside the package."""
    done = look(installed, "print(voices.find('default'), len(voices.list_voices()))")
    default = next(info.file for info in LISTED if info.default)
    expected = installed / "vocoder" / "_voices" / default
    assert done.stdout.split() == [str(expected), str(len(LISTED))], done.stderr


def test_a_voice_of_another_size_is_not_the_one_shipped(installed: Path) -> None:
    """A file that was cut, or is but a pointer to one, is told before anything reads it."""
    for info in LISTED:
        (installed / "vocoder" / "_voices" / info.file).write_text("version https://git-lfs")
    assert "has 23 bytes, expected" in look(installed, "voices.find()").stderr


def test_an_installation_without_voices_is_told(installed: Path) -> None:
    """Where there is no manifest the message says where it was looked for."""
    (installed / "vocoder" / "_voices" / "manifest.json").unlink()
    assert "no voices come with this installation" in look(installed, "voices.list_voices()").stderr


def test_listing_voices_is_cheap() -> None:
    """Neither torch nor NumPy is needed to list the voices or to find one."""
    done = look(ROOT, "voices.list_voices(); voices.find(); print({'torch', 'numpy'} & sys.modules.keys())")
    assert done.stdout.strip() == "set()", done.stderr


def test_the_manifest_is_plain_json() -> None:
    """It is readable by anything: strict JSON, with a line feed at its end."""
    text = (ROOT / "checkpoints" / "manifest.json").read_text(encoding="utf-8")
    assert text.endswith("]\n")
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
