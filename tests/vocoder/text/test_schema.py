"""What a front end may hand over: every bound of it, and what it comes to."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocoder.errors import InvalidInput
from vocoder.text.schema import MAX_FRAMES, MAX_PHONEMES, FrontEndOutput, read_output
from vocoder.text.utterance import Utterance, utterance

RATE = 22050 / 256
HI = ["HH", "AY1"]


def said(**fields: object) -> Utterance:
    """What fields come to at the usual frame rate."""
    return utterance(read_output({"phonemes": HI, **fields}), RATE)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "exactly one of the two"),
        ({"phonemes": []}, "phonemes"),
        ({"phonemes": HI, "version": 2}, "version"),
        ({"phonemes": HI, "unknown": 1}, "unknown"),
        ({"phonemes": ["A" * 17]}, "phonemes.0"),
        ({"phonemes": ["AA1"] * (MAX_PHONEMES + 1)}, "phonemes"),
        ({"phonemes": HI, "alphabet": "sampa"}, "alphabet"),
        ({"phonemes": HI, "durations": [1]}, "1 durations for 2 phonemes"),
        ({"phonemes": HI, "durations": [1, -1]}, "durations.1"),
        ({"phonemes": HI, "durations": [1, math.nan]}, "durations.1"),
        ({"phonemes": HI, "durations": [1, 1.5]}, "whole numbers"),
        ({"phonemes": HI, "durations": [0, 0]}, "sum to 0"),
        ({"phonemes": HI, "durations": [9000, 9000]}, "sum to 18000"),
        ({"phonemes": HI, "durations": [1, 121], "unit": "seconds"}, "at most 120"),
        ({"phonemes": HI, "durations": [1e9, 1]}, "durations.0"),
        ({"phonemes": HI, "durations": [1, 2], "pace": 2}, "one of the two"),
        ({"phonemes": HI, "f0": [100, math.nan]}, "f0.1"),
        ({"phonemes": HI, "f0": [100, math.inf]}, "f0.1"),
        ({"phonemes": HI, "f0": [100, 3]}, "20 to 1200"),
        ({"phonemes": HI, "f0": [100, 5000]}, "f0.1"),
        ({"phonemes": HI, "f0": [100]}, "1 values of f0 for 2 phonemes"),
        ({"phonemes": HI, "f0": [100] * 4, "durations": [2, 3]}, "expected 2 .phonemes. or 5 .frames."),
        ({"phonemes": HI, "energy": [-1, 1]}, "energy.0"),
        ({"phonemes": HI, "pace": 0}, "pace"),
        ({"phonemes": HI, "pace": math.nan}, "pace"),
        ({"phonemes": HI, "pause": 11}, "pause"),
        ({"phonemes": HI, "seed": -1}, "seed"),
        ({"phonemes": HI, "seed": 2**63}, "seed"),
        ({"phonemes": HI, "speaker": "../../etc"}, "speaker"),
        ({"phonemes": HI, "words": [{"text": "hi", "start": 1, "end": 3}]}, "word 0"),
        ({"phonemes": HI, "mel_spec": {"n_mels": 80}}, "mel_spec"),
        ({"mel": [[0.0, 1.0]]}, "mel_spec"),
        ({"mel": [[0.0], [0.0, 1.0]], "mel_spec": {"n_mels": 2}}, "one length"),
        ({"mel": [[math.nan]], "mel_spec": {"n_mels": 1}}, "mel.0.0"),
        ({"mel": [[0.0]], "mel_spec": {"n_mels": 1}, "pace": 2}, "pace"),
        ({"mel": [[0.0]], "mel_spec": {"n_mels": 1}, "phonemes": HI}, "exactly one"),
    ],
)
def test_a_broken_rule_is_told(fields: dict[str, object], told: str) -> None:
    """Each bound is refused as `InvalidInput` that names the field or the rule, from Python and from JSON."""
    with pytest.raises(InvalidInput, match=told):
        read_output(fields)
    with pytest.raises(InvalidInput, match=told):
        read_output(json.dumps(fields))


@pytest.mark.parametrize(
    "came", ["", "[]", "3", "{", '{"phonemes": "HH"}', '{"phonemes": ["HH"], "pace": "2"}', b"\xff"]
)
def test_what_is_no_such_json_is_refused(came: str | bytes) -> None:
    """Not JSON, not an object, or strings for numbers: a refusal of our own, without the body."""
    with pytest.raises(InvalidInput, match="front-end output"):
        read_output(came)


def test_it_survives_json() -> None:
    """Written as JSON and read again it is the same."""
    output = FrontEndOutput(phonemes=("HH", "AY1"), durations=(3, 4), f0=(0, 120.5), seed=1, pause=0.2)
    assert read_output(output.model_dump_json()) == output


def test_a_mel_is_taken_as_it_is() -> None:
    """A mel with its spec is front-end output too, and has no symbols to make an utterance of."""
    output = read_output({"mel": [[0.0, -1.0]], "mel_spec": {"n_mels": 1}})
    with pytest.raises(InvalidInput, match="no symbols"):
        utterance(output, RATE)


def test_both_ends_are_added_once() -> None:
    """`^` and `$` are added where they are not, and have no frames of their own beside given durations."""
    assert said().symbols == ("^", "HH", "AY1", "$")
    assert said(durations=[2, 3]).durations == (0, 2, 3, 0)
    assert said(phonemes=["^", "HH", "$"], durations=[1, 2, 3]).durations == (1, 2, 3)


@pytest.mark.parametrize("alphabet", ["arpabet", "ipa"])
def test_both_alphabets_come_to_the_same(alphabet: str) -> None:
    """ARPAbet and IPA of one word are one utterance; boundaries are written as `|` or, in IPA, as a space."""
    written = {"arpabet": ["HH", "AY1", "|", "JH", "OW1", "."], "ipa": ["h", "ˈaɪ", " ", "dʒ", "ˈoʊ", "."]}
    assert said(phonemes=written[alphabet], alphabet=alphabet).symbols == (
        "^",
        "HH",
        "AY1",
        "|",
        "JH",
        "OW1",
        ".",
        "$",
    )


@pytest.mark.parametrize("alphabet", ["arpabet", "ipa"])
def test_an_unknown_phoneme_is_refused(alphabet: str) -> None:
    """Neither alphabet lets a phoneme through that has no symbol."""
    with pytest.raises(InvalidInput, match="phoneme"):
        said(phonemes=["HH", "ʘ"], alphabet=alphabet)


def test_a_vowel_without_stress_has_none() -> None:
    """ARPAbet without digits is read as unstressed."""
    assert said(phonemes=["HH", "AY"]).symbols[2] == "AY0"


@given(st.lists(st.floats(0, 2), min_size=1, max_size=40).filter(lambda each: sum(each) > 0.05))
def test_seconds_sum_to_the_frames_of_the_whole(seconds: list[float]) -> None:
    """Edges are rounded, not durations: no phoneme is off by a frame, and the sum is that of the whole."""
    row = said(phonemes=["AA1"] * len(seconds), durations=seconds, unit="seconds")
    assert row.durations is not None and row.frames == sum(row.durations) == int(sum(seconds) * RATE + 0.5)
    assert all(
        abs(frames - each * RATE) <= 1 for frames, each in zip(row.durations[1:-1], seconds, strict=True)
    )


def test_a_track_is_of_phonemes_or_of_frames() -> None:
    """f0 for each phoneme becomes one for each symbol; f0 for each frame stays as it came."""
    assert said(f0=[0, 120]).f0 == (0, 0, 120, 0)
    assert said(f0=[0, 120, 125, 130, 0], durations=[2, 3]).f0 == (0, 120, 125, 130, 0)


def test_seconds_and_frames_that_do_not_agree_are_refused() -> None:
    """f0 for each frame of durations in seconds is counted once the frames are known."""
    with pytest.raises(InvalidInput, match=r"expected 2 \(phonemes\) or 26 \(frames\)"):
        said(durations=[0.1, 0.2], unit="seconds", f0=[100] * 25)


def test_a_phoneme_of_several_symbols_shares_its_frames() -> None:
    """IPA for which English writes two symbols: the frames are shared, the sum stays."""
    row = said(phonemes=["n̩"], alphabet="ipa", durations=[5], f0=[100])
    assert (row.symbols, row.durations, row.f0) == (("^", "AH0", "N", "$"), (0, 2, 3, 0), (0, 100, 100, 0))


def test_spans_of_words_follow_the_symbols() -> None:
    """A word's span moves with what is added before it."""
    row = said(words=[{"text": "hi", "start": 0, "end": 2}])
    assert row.symbols[row.words[0].start : row.words[0].end] == ("HH", "AY1")


def test_the_longest_goes_through() -> None:
    """The bounds are bounds that hold: the longest utterance is taken."""
    row = said(phonemes=["AA1"] * MAX_PHONEMES, durations=[MAX_FRAMES // MAX_PHONEMES] * MAX_PHONEMES)
    assert len(row.ids) == MAX_PHONEMES + 2
