"""The rules of the house that a machine can keep: versions, dependencies, imports, sizes, names."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import vocoder
from vocoder.voices import list_voices

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = (ROOT / "constraints.txt").read_text().splitlines()
DIRECT = [*PROJECT["dependencies"], *chain.from_iterable(PROJECT["optional-dependencies"].values())]
SOURCES = sorted(path for room in ("vocoder", "server") for path in (ROOT / room).rglob("*.py"))

# Written so that this file does not match itself.
HOST_OR_MACHINE = re.compile(
    r"py[p]i\.org|pytho[n]hosted|registry\.np[m]js|de[b]\.debian\.org|download\.pytorc[h]"
    r"|(?<![\w.~-])/(?:root|home|work|farm|Users)/"
)


def tracked() -> list[Path]:
    """The files that a commit of this tree would hold, or none where it is not a git checkout."""
    if not shutil.which("git"):
        return []
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return [path for line in listing.splitlines() if (path := ROOT / line).is_file()]


def imported(path: Path) -> Iterator[str]:
    """The top-level names that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run a line of Python in a fresh interpreter at the root of the project."""
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_one_version() -> None:
    """The changelog's newest entry, the package and its metadata tell the same version."""
    newest = re.search(r"^## \[(.+?)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == vocoder.__version__ == PROJECT["version"]


def test_constraints_hold_exact_versions_only() -> None:
    """Every line is `name==version`: no address, no path, no marker, no name twice."""
    assert [line for line in PINS if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!]+", line)] == []
    names = [canonicalize_name(line.split("==")[0]) for line in PINS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("line", DIRECT)
def test_what_we_ask_for_is_pinned_within_its_range(line: str) -> None:
    """Each direct dependency has one exact version, which lies within the range in pyproject."""
    asked = Requirement(line)
    pins = {canonicalize_name(name): Version(version) for name, version in (pin.split("==") for pin in PINS)}
    assert asked.specifier.contains(pins[canonicalize_name(asked.name)])


def test_what_is_imported_is_asked_for() -> None:
    """A library that the code or a test imports is a direct dependency, not the guest of another one."""
    asked = {canonicalize_name(Requirement(line).name) for line in DIRECT}
    distributions = packages_distributions()
    tests = (ROOT / "tests").rglob("*.py")
    used = {name for path in chain(SOURCES, tests) for name in imported(path) if name in distributions}
    owners = {name: {canonicalize_name(owner) for owner in distributions[name]} for name in used}
    assert {name for name, owner in owners.items() if not owner & asked} <= {"vocoder", "server", "tests"}


def test_no_host_and_no_machine_in_the_tree() -> None:
    """No file names a package registry or an absolute path of somebody's machine."""
    if not (files := tracked()):
        pytest.skip("not a git checkout")
    texts = {path.relative_to(ROOT): path.read_bytes().decode(errors="ignore") for path in files}
    hits = {path: HOST_OR_MACHINE.search(text) for path, text in texts.items()}
    assert [f"{path}: {hit[0]}" for path, hit in hits.items() if hit] == []


def test_the_wheel_holds_every_voice() -> None:
    """The manifest, and the weights and card of every voice in it, go into the wheel, and nothing else."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    mapped = build["targets"]["wheel"]["force-include"]
    names = {"manifest.json"} | {n for v in list_voices() for n in (v.file, v.card)}
    assert mapped == {f"checkpoints/{name}": f"vocoder/_voices/{name}" for name in names}
    assert all((ROOT / path).is_file() for path in mapped)


def test_a_file_is_one_idea() -> None:
    """No file of the package or the service is longer than 300 lines."""
    assert SOURCES
    assert [path.name for path in SOURCES if len(path.read_text().splitlines()) > 300] == []


def test_the_front_door_is_light() -> None:
    """`import vocoder` brings in neither torch nor the service."""
    done = python("import sys, vocoder; print(sorted({'torch', 'numpy', 'server'} & sys.modules.keys()))")
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("name", vocoder.__all__)
def test_public_names_can_be_imported(name: str) -> None:
    """Every name on the list of the front door leads somewhere."""
    assert getattr(vocoder, name) is not None


def test_imports_run_one_way() -> None:
    """The import contracts of pyproject.toml hold."""
    done = python("from importlinter.cli import lint_imports; raise SystemExit(lint_imports())")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_documented_make_targets_exist(page: str) -> None:
    """Every `make …` that a page tells the reader to type is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    told = set(re.findall(r"(?:`|^\s*(?:\$ )?)make ([a-z][a-z-]*)", (ROOT / page).read_text(), re.MULTILINE))
    assert told, f"{page} names no target"
    assert told - targets == set()
