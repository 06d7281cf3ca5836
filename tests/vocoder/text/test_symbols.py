"""The one list of symbols, and IPA read into it."""

import pytest

from vocoder.errors import InvalidInput
from vocoder.text.symbols import SYMBOLS, digest, from_ipa, ids, is_phoneme, nearest, stress_of


def test_the_order_is_frozen() -> None:
    """Ids are in checkpoints: the list is what it was when the first was trained."""
    assert len(SYMBOLS) == len(set(SYMBOLS)) == 80
    assert digest() == "0a9ad8b9672478f6a7e7e7186ad007f865794d242b7fd2bc8d87bac4a6dc8eaf"


def test_ids_are_places() -> None:
    """Every symbol's id leads back to it."""
    assert ids(SYMBOLS) == list(range(len(SYMBOLS)))


@pytest.mark.parametrize("bad", ["AH", "hh", "AH3", "", " ", "ʘ", 3])
def test_an_unknown_phoneme_is_named(bad: str) -> None:
    """The refusal says which phoneme it was, and where."""
    with pytest.raises(InvalidInput, match="phoneme 1 is"):
        ids(["HH", bad])


@pytest.mark.parametrize(
    ("ipa", "expected"),
    [
        ("həlˈoʊ wˈɜːld", "HH AH0 L OW1 | W ER1 L D"),
        ("bˈʌʔn̩", "B AH1 T AH0 N"),
        ("ˈstɹɛŋkθ", "S T R EH1 NG K TH"),
        ("d͡ʒˈʌdʒ t͡ʃˈɜːt͡ʃ", "JH AH1 JH | CH ER1 CH"),
        ("fˈoːɹ wˈʌɹid", "F AO1 R | W AH1 R IY0 D"),
        ("fəɹˈɛvɚɹ ˌʌnd", "F ER0 EH1 V ER0 | AH2 N D"),
        ("aɪdˈiːə", "AY0 D IY1 AH0"),
        ("jˈɛs, nˈoʊ!  wˈaɪ?", "Y EH1 S , N OW1 ! W AY1 ?"),
        ("ᵻkspˈɛnsɪv", "IH0 K S P EH1 N S IH0 V"),
        (" | hˈaɪ ‖", "HH AY1 ."),
    ],
)
def test_ipa_becomes_symbols(ipa: str, expected: str) -> None:
    """Stress marks, ties, length, syllabic consonants, r-coloured vowels, boundaries and marks."""
    assert from_ipa(ipa) == expected.split()


def test_every_phoneme_of_ipa_is_one_of_ours() -> None:
    """What IPA is read into has an id."""
    assert ids(from_ipa("ɑɒaæʌəɐɔ aʊ aɪ ɛɚɝɜ eɪ ɪᵻɨi oʊ əʊ ɔɪ ʊuʉ btʃdðfɡɡhdʒklmnŋpɹsʃtɾʔθvwʍjzʒɲç"))


@pytest.mark.parametrize("bad", ["hʘ", "5", "á½", "ɣa"])
def test_ipa_that_is_not_english_is_refused(bad: str) -> None:
    """The phoneme is named with its code point, and its place in the text."""
    with pytest.raises(InvalidInput, match=r"U\+[0-9A-F]{4}\) at character \d"):
        from_ipa(bad)


def test_a_stand_in_is_of_its_kind() -> None:
    """A vowel is stood in for by the same vowel, a mark by a mark, and what is known by itself."""
    known = {"AH0", "B", ",", "."}
    assert [nearest(each, known) for each in ("AH2", "?", "—", "B", "OY1")] == ["AH0", ".", ",", "B", "OY1"]


def test_kinds_of_symbols() -> None:
    """Only vowels have a stress, and only consonants and vowels are phonemes."""
    assert [symbol for symbol in SYMBOLS if not is_phoneme(symbol)] == list("^$|,;:.?!—…")
    assert sum(stress_of(symbol) is not None for symbol in SYMBOLS) == 45
