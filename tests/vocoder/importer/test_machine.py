"""The machine for pickles: it makes of plain data what Python makes of it, and of nothing else anything."""

import collections
import io
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocoder.errors import CheckpointError
from vocoder.importer.archive import Contents
from vocoder.importer.inert import Global, Inert, plain, shown
from vocoder.importer.machine import Limits, Rules, Seen, run
from vocoder.importer.rules import rules

KEYS = st.one_of(st.text(max_size=5), st.integers(), st.booleans(), st.none())
VALUES = st.recursive(
    st.one_of(KEYS, st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(
        st.lists(inner),
        st.dictionaries(KEYS, inner),
        st.tuples(inner),
        st.tuples(inner, inner),
        st.tuples(inner, inner, inner),
        st.lists(inner, min_size=4).map(tuple),
    ),
    max_leaves=12,
)


def read(data: bytes, seen: Seen | None = None, limits: Limits | None = None) -> Any:
    """The value of a pickle, by the rules for checkpoints."""
    limits, seen = limits or Limits(), seen or Seen()
    return run(io.BytesIO(data), len(data), rules(limits, Contents().gathered), limits, seen)


@given(VALUES, st.integers(0, 5))
def test_plain_data_is_what_it_was(value: Any, protocol: int) -> None:
    """Every protocol, and every instruction that plain data needs."""
    assert read(pickle.dumps(value, protocol)) == value


@given(st.binary(), st.integers(3, 5))
def test_bytes_are_what_they_were(value: bytes, protocol: int) -> None:
    """Before protocol 3 there were none: a function was called for them, and is not here."""
    assert read(pickle.dumps([value, bytearray(value)], protocol))[0] == value


def test_what_is_shared_is_shared() -> None:
    """A thing in two places is one thing, and a list may hold itself."""
    inner: list[int] = [1]
    found = read(pickle.dumps([inner, inner]))
    assert found[0] is found[1]
    inner.append(inner)  # type: ignore[arg-type]  # the point of it
    found = read(pickle.dumps(inner))
    assert found[1] is found


@pytest.mark.parametrize("protocol", range(6))
def test_collections_become_tables_and_lists(protocol: int) -> None:
    """Ordered tables are tables, sets are lists: their members may be what cannot be a member here."""
    table = collections.OrderedDict(a=1, b=2)
    assert read(pickle.dumps([table, {3}, frozenset({4})], protocol))[0] == {"a": 1, "b": 2}
    assert list(read(pickle.dumps({3}, protocol))) == [3]
    assert list(read(pickle.dumps(frozenset({4}), protocol))) == [4]


def test_objects_are_inert() -> None:
    """A class that may be named is a name, and its object the state that it was given."""
    seen = Seen()
    found = read(b"\x80\x02cglow\nWN\n)\x81}X\x08\x00\x00\x00n_layersK\x08sb.", seen)
    assert isinstance(found, Inert) and found.kind == Global("glow", "WN")
    assert (found.attribute("n_layers"), found.attribute("other")) == (8, None)
    assert (seen.refused, dict(seen.globals)) == ([], {Global("glow", "WN"): 1})


def test_a_name_is_refused_once_and_reading_goes_on() -> None:
    """A report reads a bad file to its end."""
    seen = Seen()
    assert read(b"\x80\x02cos\nsystem\ncos\nsystem\ncnt\nsystem\nK\x07.", seen) == 7
    assert seen.refused == [Global("os", "system"), Global("nt", "system")]
    assert seen.globals[Global("os", "system")] == 2


def test_it_stops_where_the_pickle_does() -> None:
    """What follows is the caller's; what lies beyond the window is not seen."""
    data = pickle.dumps([1], 2) + pickle.dumps("next", 2)
    file, nothing = io.BytesIO(data), Rules({}, lambda name: False, lambda reference: reference)
    assert run(file, len(data), nothing, Limits(), Seen()) == [1]
    assert run(file, len(data), nothing, Limits(), Seen()) == "next"
    with pytest.raises(CheckpointError, match="damaged or cut"):
        run(io.BytesIO(data), 5, nothing, Limits(), Seen())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a\n\x1b[2J", "'a\\n\\x1b[2J'"),
        ("x" * 100, "'" + "x" * 78 + "…"),
        (Global("os", "system"), "'os.system'"),
        (10**50, "a huge number"),
        ([1], "a list"),
        (None, "None"),
    ],
)
def test_words_of_a_file_are_fit_to_be_shown(value: Any, expected: str) -> None:
    """Printable, and short."""
    assert shown(value) == expected


def test_what_is_shown_of_a_table_is_bounded() -> None:
    """Shared lists that would be more values than fit in memory, a table in itself, and what JSON has not."""
    wide: Any = [1.5]
    for _ in range(5):
        wide = [wide] * 100
    assert len(repr(plain(wide))) < 100_000
    loop: dict[str, Any] = {"a": 1}
    loop["loop"] = loop
    assert plain(loop)["loop"]["loop"]["a"] == 1
    odd = {"nan": float("nan"), 1: (True, None), "huge": 10**60, "object": Inert(Global("glow", "WN"))}
    assert plain(odd) == {"nan": "nan", "1": [True, None], "huge": "a huge number", "object": "a Inert"}
    json.dumps(plain(odd), allow_nan=False)
