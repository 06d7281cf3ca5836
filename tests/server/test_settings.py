"""Settings: where they come from, what they refuse, and that each says what it is."""

import pytest
from pydantic import ValidationError

from server.settings import Settings


def test_environment_fills_what_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable beats the default, an argument beats the variable."""
    monkeypatch.setenv("VOCODER_PORT", "9001")
    monkeypatch.setenv("VOCODER_MAX_FRAMES", "100")
    settings = Settings(port=9002)
    assert (settings.port, settings.max_frames) == (9002, 100)


def test_listens_on_this_machine_only_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is served from outside unless the operator says so."""
    monkeypatch.delenv("VOCODER_HOST", raising=False)
    assert Settings().host == "127.0.0.1"


SENSELESS = [
    {"port": 70_000},
    {"threads": 0},
    {"request_timeout": 0},
    {"prot": 1},
    {"max_frames": 50_000},  # longer than what may wait
]


@pytest.mark.parametrize("senseless", SENSELESS)
def test_senseless_settings_are_refused(senseless: dict[str, int]) -> None:
    """A value out of range, an unknown name, or a longest request that no queue could hold."""
    with pytest.raises(ValidationError):
        Settings(**senseless)  # type: ignore[arg-type]


def test_every_setting_says_what_it_is() -> None:
    """A field without a description cannot be set by anyone who has not read the code."""
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
