"""Other front ends' output as ours."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from vocoder.errors import InvalidInput
from vocoder.text.convert import from_arrays, from_espeak, from_gruut, from_textgrid
from vocoder.text.utterance import utterance

RATE = 22050 / 256
TIMES = (
    ("", 0, 0.25),
    ("HH", 0.25, 0.3),
    ("AY1", 0.3, 0.62),
    ("DH", 0.62, 0.7),
    ("EH1", 0.7, 0.9),
    ("R", 0.9, 1.0),
)
TAIL = (("sp", 1.0, 1.2), ("Y", 1.2, 1.3), ("UW1", 1.3, 1.5), ("", 1.5, 2.0))
WORDS = (
    ("", 0, 0.25),
    ("hi", 0.25, 0.62),
    ("there", 0.62, 1.0),
    ("", 1.0, 1.2),
    ("you", 1.2, 1.5),
    ("", 1.5, 2.0),
)


@dataclass
class Word:
    """As gruut has it."""

    text: str
    phonemes: list[str] = field(default_factory=list)
    is_major_break: bool = False
    is_minor_break: bool = False


def grid(phones: tuple[tuple[str, float, float], ...] = (*TIMES, *TAIL), short: bool = False) -> str:
    """A TextGrid of two tiers, in Praat's long or short form."""
    tiers = (("words", WORDS), ("phones", phones))
    if short:
        body = "".join(
            f'"IntervalTier"\n"{name}"\n0\n2\n{len(rows)}\n' + _short(rows) for name, rows in tiers
        )
        return f'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n2\n<exists>\n2\n{body}'
    body = "".join(
        f'  item [{place}]:\n    class = "IntervalTier"\n    name = "{name}"\n    xmin = 0\n    xmax = 2\n'
        f"    intervals: size = {len(rows)}\n{_long(rows)}"
        for place, (name, rows) in enumerate(tiers, 1)
    )
    head = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 2\ntiers? <exists>\n'
    return f"{head}size = 2\nitem []:\n{body}"


def _short(rows: tuple[tuple[str, float, float], ...]) -> str:
    return "".join(f'{start}\n{end}\n"{label}"\n' for label, start, end in rows)


def _long(rows: tuple[tuple[str, float, float], ...]) -> str:
    return "".join(
        f'    intervals [{place}]:\n      xmin = {start}\n      xmax = {end}\n      text = "{label}"\n'
        for place, (label, start, end) in enumerate(rows, 1)
    )


@pytest.mark.parametrize("short", [False, True])
def test_an_alignment_keeps_its_times(short: bool) -> None:
    """Silences belong to the ends and to a comma, words that touch have an empty boundary."""
    output = from_textgrid(grid(short=short))
    assert " ".join(output.phonemes or ()) == "^ HH AY1 | DH EH1 R , Y UW1 $"
    assert output.durations == pytest.approx((0.25, 0.05, 0.32, 0, 0.08, 0.2, 0.1, 0.2, 0.1, 0.2, 0.5))
    assert utterance(output, RATE).frames == round(2 * RATE)


def test_an_alignment_in_ipa_is_read() -> None:
    """The aligner's English dictionary writes IPA of its own, diphthongs with a glide."""
    output = from_textgrid(
        grid((("", 0, 0.25), ("h", 0.25, 0.3), ("aj", 0.3, 0.62), ("t̪", 0.62, 1), ("ɫ", 1, 2)))
    )
    assert output.phonemes == ("^", "HH", "AY0", "|", "T", "L", "$")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not a TextGrid"),
        ("hello", "not a TextGrid"),
        (grid()[:-40], "damaged or cut"),
        (grid().replace('"phones"', '"other"'), "tiers of phones"),
        (grid().replace('"words"', '"phones"'), "two tiers named 'phones'"),
        (grid().replace('"DH"', '"spn"'), "spn"),
        (grid().replace('"DH"', '"QQ"'), "QQ"),
        (grid().replace("xmin = 0.7", "xmin = 0.1"), "not after"),
        (grid().replace("size = 2", "size = 1e9"), "promises"),
        (grid().replace("xmin = 0.7", 'xmin = "x"'), "where a number belongs|damaged"),
    ],
)
def test_a_broken_alignment_is_refused(text: str, told: str) -> None:
    """Cut, foreign, unordered, or of phones that nobody knows."""
    with pytest.raises(InvalidInput, match=told):
        utterance(from_textgrid(text), RATE)


def test_espeak_is_read_with_its_flags_and_lines() -> None:
    """Lines are clauses, flags of another language's rules say nothing."""
    assert (
        " ".join(from_espeak("həlˈoʊ\nðə (fr)ʒənˈeɪ(en)").phonemes or ())
        == "HH AH0 L OW1 , DH AH0 | ZH AH0 N EY1"
    )


def test_a_sentence_of_gruut_is_read() -> None:
    """Phonemes are taken one by one, so that ə and ɹ stay two; breaks become marks."""
    row = [
        Word("around", ["ə", "ɹ", "ˈaʊ", "n", "d"]),
        Word(",", is_minor_break=True),
        Word("us", ["ˈʌ", "s"]),
        Word(".", is_major_break=True),
    ]
    output = from_gruut(row)
    assert " ".join(output.phonemes or ()) == "AH0 R AW1 N D , AH1 S ."
    assert [(word.text, word.start, word.end) for word in output.words or ()] == [
        ("around", 0, 5),
        ("us", 6, 8),
    ]


def test_arrays_are_taken_from_numpy() -> None:
    """FastPitch's standardised pitch becomes hertz again, and stays 0 where there is no voice."""
    output = from_arrays(
        ["HH", "AY1", " ", "Y", "UW1"],
        np.array([2, 5, 0, 3, 7]),
        np.array([0, 1.0, 0, -1.0, 0.5]),
        pitch_mean=200,
        pitch_std=40,
    )
    assert output.phonemes == ("HH", "AY1", "|", "Y", "UW1")
    assert output.f0 == (0, 240, 0, 160, 220)
    assert utterance(output, RATE).frames == 17


def test_text_in_braces_is_read() -> None:
    """`{HH AH0 L OW1}, {W ER1 L D}.` is symbols; plain text beside it is refused."""
    assert (
        " ".join(from_arrays("{HH AH0 L OW1}, {W ER1 L D}.").phonemes or ()) == "HH AH0 L OW1 , W ER1 L D ."
    )
    with pytest.raises(InvalidInput, match="outside of braces"):
        from_arrays("{HH AY1} there")
