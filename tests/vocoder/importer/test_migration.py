"""The page for those who come from other software tells commands that there are."""

import re
from pathlib import Path

import pytest

from vocoder.cli import main

PAGE = Path(__file__).parents[3] / "docs" / "migration.md"
COMMANDS = sorted(set(re.findall(r"vocoder ([a-z]+) ?([^`\n]*)", PAGE.read_text(encoding="utf-8"))))


@pytest.mark.parametrize(("command", "rest"), COMMANDS)
def test_the_page_tells_what_there_is(command: str, rest: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command on it is one, with every option that it is told with."""
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    known = set(re.findall(r"(?<!\w)-{1,2}[a-z][a-z-]*", capsys.readouterr().out))
    told = rest.replace("\\|", "|").partition("|")[0].partition("#")[0]
    assert set(re.findall(r"(?<!\S)-{1,2}[a-z][a-z-]*", told)) <= known
