"""Settings: where they come from, what they refuse, and that the documentation tells every one of them."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from server.settings import Settings, strangers
from vocoder.cli import main
from vocoder.errors import InvalidConfig

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"VOCODER_{name.upper()}", raising=False)


def _file(folder: Path, text: str) -> Path:
    path = folder / "service.toml"
    path.write_text(text)
    return path


def test_environment_fills_what_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable beats the default, an argument beats the variable."""
    monkeypatch.setenv("VOCODER_PORT", "9001")
    monkeypatch.setenv("VOCODER_MAX_FRAMES", "100")
    settings = Settings(port=9002)
    assert (settings.port, settings.max_frames) == (9002, 100)


def test_file_fills_what_the_environment_does_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Argument, variable, file, default, in this order; mappings are not mixed."""
    text = 'port = 1\nmax_frames = 2\nmax_clips = 3\napi_keys = ["k"]\n[models]\nold = "waveglow-tiny"\n'
    monkeypatch.setenv("VOCODER_CONFIG", str(_file(tmp_path, text)))
    monkeypatch.setenv("VOCODER_MAX_FRAMES", "20")
    settings = Settings(port=10)
    assert (settings.port, settings.max_frames, settings.max_clips) == (10, 20, 3)
    assert (settings.models, settings.api_keys) == ({"old": "waveglow-tiny"}, [SecretStr("k")])
    monkeypatch.setenv("VOCODER_MODELS", "new=default")
    assert Settings().models == {"new": "default"}


def test_argument_names_another_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`config` given wins over `VOCODER_CONFIG`, which is not even read."""
    monkeypatch.setenv("VOCODER_CONFIG", str(tmp_path / "no-such-file.toml"))
    path = _file(tmp_path, 'device = ["cuda:0", "cuda:1"]')
    settings = Settings(config=path)
    assert (settings.devices, settings.config) == (("cuda:0", "cuda:1"), path)


LISTS = [
    ("a,b", ["a", "b"]),
    (" a , b ,", ["a", "b"]),
    ('["a", "b"]', ["a", "b"]),
    ("a", ["a"]),
    ("", []),
]


@pytest.mark.parametrize(("text", "keys"), LISTS)
def test_lists_have_commas_or_are_json(monkeypatch: pytest.MonkeyPatch, text: str, keys: list[str]) -> None:
    """Both spellings in a variable; an empty variable is an empty list."""
    monkeypatch.setenv("VOCODER_API_KEYS", text)
    assert [key.get_secret_value() for key in Settings().api_keys] == keys


@pytest.mark.parametrize("text", ["a=x, b=dir/y=z.safetensors", '{"a": "x", "b": "dir/y=z.safetensors"}'])
def test_mappings_have_commas_or_are_json(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Both spellings in a variable; a value may hold an equals sign."""
    monkeypatch.setenv("VOCODER_MODELS", text)
    assert Settings().models == {"a": "x", "b": "dir/y=z.safetensors"}


def test_devices_are_a_list() -> None:
    """Names with commas between them; none where none is named."""
    assert Settings(device=" cuda:0, cuda:1").devices == ("cuda:0", "cuda:1")
    assert (Settings(device="cpu").devices, Settings().devices) == (("cpu",), ())


def test_listens_on_this_machine_only_and_openly_by_default() -> None:
    """Nobody is served from outside unless the operator says so, and nothing that costs is on."""
    settings = Settings()
    assert settings.host == "127.0.0.1"
    assert not (settings.telemetry or settings.cors_origins or settings.admin_key)


SENSELESS: list[dict[str, Any]] = [
    {"port": 70_000},
    {"threads": 0},
    {"request_timeout": 0},
    {"write_timeout": 0},
    {"prot": 1},
    {"max_frames": 50_000},  # longer than what may wait
    {"rate_limit": 0},
    {"api_keys": [""]},
    {"api_keys": ["two words"]},
    {"api_keys": ["clé"]},
    {"admin_key": ""},
    {"cors_origins": ["pages.example"]},
    {"cors_origins": ["https://pages.example/path"]},
    {"models": {"../x": "default"}},
    {"models": {"x": ""}},
    {"models": "x"},
    {"models": "{"},
    {"api_keys": "["},
]


@pytest.mark.parametrize("senseless", SENSELESS, ids=str)
def test_senseless_settings_are_refused(senseless: dict[str, Any]) -> None:
    """A value out of range or of no use, an unknown name, a longest request that no queue could hold."""
    with pytest.raises(ValidationError, match="1 validation error"):
        Settings(**senseless)


def test_refusals_do_not_repeat_values() -> None:
    """An error message goes to a log, and a key must not."""
    with pytest.raises(ValidationError) as refusal:
        Settings(api_keys="secret one,secret two", admin_key="secret\x00")
    assert "secret" not in str(refusal.value)
    assert "secret" not in repr(Settings(api_keys=[SecretStr("secret")], admin_key=SecretStr("secret")))


BAD_FILES = [
    ("prot = 1\nmax_frame = 2\n", "unknown settings: max_frame, prot"),
    ("config = 'other.toml'", "unknown settings: config"),
    ("port = [", "not a TOML file"),
    ("port = 'x'", "port"),
    ("[server]\nport = 1", "unknown settings: server"),
]


@pytest.mark.parametrize(("text", "word"), BAD_FILES)
def test_bad_files_are_refused(tmp_path: Path, text: str, word: str) -> None:
    """What is unknown is named, and so is a value of the wrong kind; TOML that is none says where."""
    with pytest.raises(ValueError, match=word):
        Settings(config=_file(tmp_path, text))


def test_missing_file_is_refused(tmp_path: Path) -> None:
    """A file that is not there is not an empty one."""
    with pytest.raises(InvalidConfig, match="cannot be read"):
        Settings(config=tmp_path / "no-such-file.toml")


def test_command_takes_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`vocoder serve --config` reads it, and a mistake in it is one line on standard error."""
    assert main(["serve", "--config", str(_file(tmp_path, "prot = 1"))]) == 1
    assert capsys.readouterr().err == "vocoder: error: config service.toml has unknown settings: prot\n"


def test_unknown_variables_are_reported() -> None:
    """By name; those of settings, in any case, are not."""
    assert strangers(["VOCODER_PORTS", "vocoder_port", "PATH", "VOCODER_MODELS_DIR"]) == ["VOCODER_PORTS"]


def _told(default: Any) -> str:
    if default is None:
        return "unset"
    if default in ([], {}):
        return "none"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def test_every_setting_is_documented_as_it_is() -> None:
    """The table of docs/operations.md is the settings: names, defaults, descriptions, order."""
    defaults = Settings().model_dump()
    fields = Settings.model_fields.items()
    rows = [f"| `{name}` | {_told(defaults[name])} | {field.description} |" for name, field in fields]
    told = re.findall(r"^\| `\w+` \| .+ \| .+ \|$", _section("## Settings"), re.MULTILINE)
    assert told == rows


def test_the_example_of_a_file_is_one(tmp_path: Path) -> None:
    """What the documentation shows can be used as it stands."""
    (example,) = re.findall(r"```toml\n(.+?)```", _section("## Settings"), re.DOTALL)
    settings = Settings(config=_file(tmp_path, example))
    assert (settings.host, settings.rate_limit, len(settings.api_keys)) == ("0.0.0.0", 600, 2)


def _section(title: str) -> str:
    return DOCUMENT.read_text().split(f"{title}\n", 1)[1].split("\n## ", 1)[0]
