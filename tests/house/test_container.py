"""What the image promises, read off its recipe: who runs, what runs, and that the program understands it."""

import re
import tomllib
from pathlib import Path

import pytest

from vocoder.cli import build_parser

ROOT = Path(__file__).parents[2]
NEEDED = ["LICENSE", "README.md", "checkpoints", "constraints.txt", "pyproject.toml", "server", "vocoder"]


def instructions() -> list[tuple[str, str]]:
    """The (word, argument) pairs of the Dockerfile's last stage, continued lines joined."""
    lines = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", (ROOT / "Dockerfile").read_text())).splitlines()
    pairs = [(word, rest) for word, _, rest in (line.strip().partition(" ") for line in lines) if word]
    start = max(i for i, (word, _) in enumerate(pairs) if word == "FROM")
    return pairs[start:]


def only(word: str) -> str:
    """The argument of the one instruction of that word."""
    (found,) = [rest for name, rest in instructions() if name == word]
    return found


def exec_form(text: str) -> list[str]:
    """The JSON array at the end of an instruction; a plain string would put a shell before the program."""
    return tomllib.loads(f"argv = {text[text.index('['):]}")["argv"]


def test_runs_as_a_numbered_user_that_is_not_root() -> None:
    """Kubernetes can check `runAsNonRoot` only where the user is a number."""
    user, group = (int(part) for part in only("USER").split(":"))
    assert min(user, group) > 0


def test_command_is_one_the_program_understands() -> None:
    """The program accepts the default command, which listens on every interface and on the exposed port."""
    name, *argv = exec_form(only("CMD"))
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts[name] == f"{build_parser.__module__}:main"
    asked = build_parser().parse_args(argv)
    assert (asked.host, asked.port) == ("0.0.0.0", int(only("EXPOSE")))


def test_health_check_asks_whether_it_is_ready() -> None:
    """The check is a program of the image's own that asks /health/ready on the exposed port."""
    interpreter, _, code = exec_form(only("HEALTHCHECK"))
    compile(code, "HEALTHCHECK", "exec")
    assert interpreter == "python"
    assert f":{only('EXPOSE')}/health/ready" in code


def test_label_tells_the_version() -> None:
    """The image is labelled with the version that it holds."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f'image.version="{version}"' in only("LABEL")


@pytest.mark.parametrize("needed", NEEDED)
def test_build_is_given_what_it_needs(needed: str) -> None:
    """What the wheel is made of exists and passes the .dockerignore."""
    assert (ROOT / needed).exists()
    assert f"!{needed}" in (ROOT / ".dockerignore").read_text().splitlines()


def test_nothing_from_the_network_goes_through_a_shell() -> None:
    """Whatever the image holds came from the base image, the package index or this tree."""
    assert not re.search(r"\b(curl|wget)\b|ADD\s+http", (ROOT / "Dockerfile").read_text())
