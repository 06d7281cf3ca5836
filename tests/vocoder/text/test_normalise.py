"""Bounds of normalisation: what is dropped, what is refused, how long a sentence is and how long it takes."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vocoder.errors import InvalidInput
from vocoder.text.clean import MAX_CHARACTERS, clean
from vocoder.text.normalise import MAX_WORDS, sentences
from vocoder.text.numerals import cardinal, ordinal, roman, year
from vocoder.text.symbols import PUNCTUATION

HOSTILE = [
    "a",
    "a ",
    "1",
    "1,",
    ".",
    "(",
    "a.",
    "A. ",
    "-",
    "- ",
    "* ",
    "a - ",
    "1-",
    "a@",
    "'",
    "$1 ",
    "1 km ",
    "May 5, ",
    "b1",
    "XIV ",
    "a\n\n",
]


@pytest.mark.parametrize("text", ["", " ", "...", "!?", "😀😀", "\x00\x07\x1b", "\u200b", "()", "\n\n\n"])
def test_nothing_to_say_is_no_sentence(text: str) -> None:
    """Marks, pictures and controls alone are no sentence."""
    assert list(sentences(text)) == []


def test_controls_and_pictures_are_dropped() -> None:
    """They part words as a space does, and leave nothing else behind."""
    assert clean("a\x00b\x1b[0m \ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")) == "a b [0m"


@pytest.mark.parametrize("text", ["a" * (MAX_CHARACTERS + 1), "a " * 500_000])
def test_too_long_a_text_is_refused(text: str) -> None:
    """A megabyte is refused before anything is done with it, and told how much is taken."""
    with pytest.raises(InvalidInput, match=f"at most {MAX_CHARACTERS}"):
        sentences(text)


def test_what_is_no_string_is_refused() -> None:
    """Bytes are not text."""
    with pytest.raises(InvalidInput, match="expected a string"):
        sentences(b"hello")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("German", "Das ist nicht gut, und ich weiß auch nicht, wie wir das noch schaffen."),
        ("French", "Je ne sais pas si elle est dans la maison avec les enfants ou non."),
        ("Spanish", "No sé qué es lo que quiere, pero es una casa con mucho sol por la mañana."),
        ("Italian", "Non so che cosa sono queste cose, ma sono della casa di mia nonna."),
        ("Dutch", "Het is niet zo dat ik het niet weet, maar hij heeft het mij niet gezegd."),
        ("Cyrillic", "Привет, как дела? Hello"),
        ("Cjk", "今天天气很好"),
        ("Arabic", "مرحبا بالعالم"),
        ("Hiragana", "こんにちは"),
    ],
)
def test_other_languages_are_refused_by_name(language: str, text: str) -> None:
    """By their letters, or by the small words that English has not."""
    with pytest.raises(InvalidInput, match=f"{language}.*only English"):
        sentences(text)


@pytest.mark.parametrize(
    "text",
    [
        "Angela Merkel, Emmanuel Macron, Pedro Sanchez",
        "He said 'c'est la vie' and left the room.",
        "El Nino and La Nina are in the Pacific.",
        "Die, monster! You don't belong in this world.",
        "Peter Schmidt, Berlin, Hamburg, Stuttgart, Bremen, Dresden, Leipzig",
        "My friend 世界 is here with me today, I think.",
    ],
)
def test_english_with_foreign_words_is_said(text: str) -> None:
    """Names, loans and a few foreign letters do not make another language of a text."""
    assert list(sentences(text))


@pytest.mark.parametrize("unit", HOSTILE)
def test_time_is_linear_whatever_comes(unit: str) -> None:
    """Four times the text takes no more than about four times as long: nothing is quadratic."""
    few, many = (_seconds(unit, size) for size in (2_500, 10_000))
    assert many < 16 * few + 0.5


def _seconds(unit: str, size: int) -> float:
    text = (unit * size)[:size]
    start = time.thread_time()  # threads of other tests may still be at work
    list(sentences(text))
    return time.thread_time() - start


@pytest.mark.parametrize("text", ["word " * 500, "a" * 5000, "1" * 3000, "w" * 3000, "a/" * 2000, "A " * 999])
def test_a_sentence_has_an_end(text: str) -> None:
    """Text without marks is parted all the same, so that a model's memory does not depend on it."""
    parts = list(sentences(text))
    assert all(sum(token not in PUNCTUATION for token in part.tokens) < MAX_WORDS + 130 for part in parts)
    assert all(len(part.text) < 900 for part in parts)


def test_a_long_sentence_ends_at_a_clause() -> None:
    """Where there are many words, the next comma ends it."""
    first = next(iter(sentences("word " * 35 + "here, and " + "more " * 40)))
    assert first.tokens[-2:] == ("here", ",")


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_said_or_refused(text: str) -> None:
    """Whatever comes: words of letters and marks come out, or a refusal of our own."""
    try:
        parts = list(sentences(text))
    except InvalidInput:
        return
    for part in parts:
        assert part.tokens[-1] in PUNCTUATION
        assert all(token in PUNCTUATION or token.replace("'", "").isalpha() for token in part.tokens)


@given(st.integers(0, 10**20))
def test_every_number_has_words(number: int) -> None:
    """Cardinals and ordinals are words; only the last word tells them apart."""
    assert ordinal(str(number))[:-1] == cardinal(str(number))[:-1]
    assert all(word.isalpha() for word in cardinal(str(number)))


def test_cardinals_are_told_apart() -> None:
    """No two numbers below 20 000 are read alike."""
    assert len({tuple(cardinal(str(number))) for number in range(20_000)}) == 20_000


def test_years_are_told_apart() -> None:
    """Nor two years."""
    assert len({tuple(year(str(number))) for number in range(1000, 2100)}) == 1100


def test_roman_numerals_are_read_backwards_too() -> None:
    """Of all well-formed numerals each value comes once, and malformed ones have none."""
    ones, tens = (
        ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"),
        ("", "X", "XX", "XXX", "XL", "L"),
    )
    assert [roman(ten + one) for ten in tens for one in ones][1:] == list(range(1, 60))
    assert [roman(bad) for bad in ("IIII", "VX", "IL", "ABC", "MMMM")] == [None] * 5
