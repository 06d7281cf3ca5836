"""What the documentation quotes and points to is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "ARCHITECTURE.md")] + sorted((ROOT / "docs").glob("*.md"))
QUOTE = re.compile(r"^`([\w/]+\.py)`\n```python\n(.*?)```", re.MULTILINE | re.DOTALL)
QUOTES = [(page.name, *found) for page in PAGES for found in QUOTE.findall(page.read_text())]


def test_the_lesson_quotes_code() -> None:
    """The page to learn flows from stands on lines of the project, ten places at least."""
    assert sum(page == "flows.md" for page, _, _ in QUOTES) >= 10


@pytest.mark.parametrize(("page", "path", "lines"), QUOTES, ids=lambda value: str(value)[:40])
def test_quoted_lines_are_those_of_the_file(page: str, path: str, lines: str) -> None:
    """A quotation is verbatim, indentation and all."""
    assert lines in (ROOT / path).read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    """Relative links, and paths of committed folders in backticks, exist."""
    text = page.read_text()
    links = [page.parent / link for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text)]
    rooms = "benchmarks|checkpoints|docs|samples|server|tests|vocoder"
    paths = [ROOT / path for path in re.findall(rf"`((?:{rooms})/[\w./-]+\.\w+)`", text)]
    assert [str(place) for place in [*links, *paths] if not place.exists()] == []
