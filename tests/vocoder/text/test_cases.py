"""Texts by class and what is to be said of them; the misses are a list in the open."""

import pytest

from tests.vocoder.text import heard


def test_there_are_cases_of_every_class() -> None:
    """At least 200 cases, and several of each class that normalisation promises."""
    kinds = [case.kind for case in heard.cases()]
    promised = {path.stem for path in heard.FOLDER.glob("*.tsv")} - {"misses"}
    assert len(kinds) >= 200
    assert len(promised) >= 12
    assert all(kinds.count(kind) >= 10 for kind in promised)


def test_no_case_stands_twice() -> None:
    """A text has one answer in its class."""
    keys = [(case.kind, case.text) for case in heard.cases()]
    assert len(set(keys)) == len(keys)


def test_the_misses_are_the_cases_that_fail() -> None:
    """The list of misses is exactly the failing set: nothing fails unlisted, nothing mended stays on it."""
    failing = {(case.kind, case.text) for case in heard.cases() if not heard.is_right(case)}
    listed = {(kind, text) for kind, text in heard.lines(heard.FOLDER / heard.MISSES)}
    assert failing == listed


@pytest.mark.parametrize("kind", ["numbers", "money", "dates", "units", "symbols"])
def test_what_is_said_is_letters_and_marks(kind: str) -> None:
    """No digit and no sign is left for a pronouncer to guess at."""
    said = " ".join(heard.words(case.text) for case in heard.cases() if case.kind == kind)
    assert set(said) - set(" |,;:.?!—…'") <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
