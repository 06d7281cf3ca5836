"""Front ends by name: what they say, what they refuse, and that they are asked lazily and by many."""

import csv
import importlib.util
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vocoder.errors import InvalidInput
from vocoder.text import espeak, gruut
from vocoder.text.frontend import FRONT_ENDS, FrontEnd, front_end
from vocoder.text.symbols import SYMBOLS, ids
from vocoder.text.utterance import utterance

needs_espeak = pytest.mark.skipif(
    importlib.util.find_spec("phonemizer") is None, reason="needs the extra espeak"
)
NAMED = [pytest.param("gruut"), pytest.param("espeak", marks=needs_espeak)]


def prompts(speech_dir: Path) -> list[str]:
    """The texts of the recordings of Kathleen."""
    with (speech_dir / "kathleen" / "metadata.tsv").open(encoding="utf-8", newline="") as file:
        return [row["text"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


def gruut_pronouncer() -> gruut.Pronouncer:
    """The pronouncer that the front end `gruut` shares."""
    pronouncer = gruut.load().pronounce
    assert isinstance(pronouncer, gruut.Pronouncer)
    return pronouncer


@pytest.mark.parametrize("name", NAMED)
def test_every_text_of_the_voice_goes_through(name: str, speech_dir: Path) -> None:
    """All of what the voice was recorded with comes to symbols that are known, a sentence or two each."""
    texts = prompts(speech_dir)
    assert len(texts) > 1600
    for text in texts:
        outputs = front_end(name)(text)
        assert 1 <= len(outputs) <= 2
        assert all(utterance(output, 22050 / 256).ids for output in outputs)


@pytest.mark.parametrize("name", NAMED)
def test_it_is_a_front_end(name: str) -> None:
    """The Protocol is kept: words with the phonemes of each, a boundary or a mark between two, both ends."""
    voice = front_end(name)
    assert isinstance(voice, FrontEnd) and voice.name == name
    (output,) = voice("Hello there, my friend!")
    row = output.phonemes or ()
    assert row[0] == "^" and row[-2:] == ("!", "$") and "," in row and "|" in row
    assert [word.text for word in output.words or ()] == ["Hello", "there", "my", "friend"]
    first = (output.words or ())[0]
    assert row[first.start : first.end] == ("HH", "AH0", "L", "OW1") or name == "gruut"


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("text", ["", "...", "😀", "\x00", "<speak></speak>"])
def test_nothing_to_say_is_refused(name: str, text: str) -> None:
    """Text that nothing is left of is the caller's mistake, not silence."""
    with pytest.raises(InvalidInput, match="nothing in it"):
        front_end(name)(text)


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize(
    "text", ["w" * 3000, "a" * 3000, "1" * 3000, "A B C " * 300, "xq'z' " * 400, "of the " * 300]
)
def test_an_utterance_is_bounded(name: str, text: str) -> None:
    """Whatever is said comes in utterances of a size that the schema takes."""
    assert all(len(output.phonemes or ()) <= 2000 for output in front_end(name)(text))


def test_sentences_are_made_when_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first sentence of a long text does not wait for the last: no other is pronounced before it."""
    made: list[str] = []
    voice = gruut.load()

    def counted(tokens: tuple[str, ...]) -> list[list[str]]:
        made.append(" ".join(tokens))
        return pronouncer(tokens)

    pronouncer = gruut_pronouncer()
    monkeypatch.setattr(voice, "pronounce", counted)
    outputs: Iterator[object] = voice.stream("One. " * 500)
    next(outputs)
    assert len(made) == 1


def test_many_threads_are_answered_alike() -> None:
    """The models are shared: sentences said at once by several threads are those said by one."""
    texts = [f"Sentence {number} has zorbs{'x' * (number % 7)} to read." for number in range(60)]
    alone = [front_end()(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(front_end(), texts)) == alone


def test_an_unknown_front_end_is_refused() -> None:
    """The refusal names those that there are."""
    with pytest.raises(InvalidInput, match="gruut, espeak"):
        front_end("festival")


@pytest.mark.parametrize(
    ("name", "needed"), [("gruut", "pycrfsuite"), ("gruut", "gruut_lang_en"), ("espeak", "phonemizer")]
)
def test_a_missing_extra_is_told_with_its_command(
    name: str, needed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the libraries the refusal says how to install them."""

    def without(module: str, package: str | None = None) -> ModuleSpec | None:
        return None if module == needed else importlib.util.find_spec(module, package)

    room = {"gruut": gruut, "espeak": espeak}[name]
    monkeypatch.setattr(room, "find_spec", without)
    room.load.cache_clear()
    with pytest.raises(InvalidInput, match=r"pip install 'flow-vocoder\["):
        front_end(name)
    room.load.cache_clear()


def test_every_word_of_the_lexicon_is_of_our_symbols() -> None:
    """No entry of the lexicon holds a phoneme that has no symbol, and every phoneme of ours is in it."""
    pronouncer = gruut_pronouncer()
    found = {
        symbol
        for word in pronouncer.lexicon
        for said in pronouncer._entries(word).values()
        for symbol in said
    }
    assert ids(found)
    assert found >= set(SYMBOLS[SYMBOLS.index("B") :]) - {"UH0"}


def test_unknown_words_are_guessed() -> None:
    """A word that no lexicon has is guessed from its letters."""
    (output,) = front_end()("Flibber")
    assert output.phonemes == ("^", "F", "L", "IH1", "B", "ER0", ".", "$")


@pytest.mark.parametrize(
    ("sentence", "tags"),
    [
        ("They refuse to permit us to obtain the refuse permit", "PRP VBP TO VB PRP TO VB DT NN NN"),
        ("Philip read it I think", "NNP VBD PRP PRP VBP"),
        ("Go", "VB"),
    ],
)
def test_parts_of_speech_are_those_of_gruut(sentence: str, tags: str) -> None:
    """The features are computed as gruut 2.4.0 computes them: its tags, recorded."""
    assert gruut_pronouncer().tags(sentence.split()) == tags.split()


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("kubernetes", "K Y UW1 B ER0 N IH0 T IH0 S"),
        ("zorblat", "Z AO1 R B L AH0 T"),
        ("antidisestablish", "AE1 N T IH1 D IH0 S EH1 S T AH0 B L IH0 SH"),
    ],
)
def test_guesses_are_those_of_gruut(word: str, phones: str) -> None:
    """So are its guesses at unknown words."""
    assert gruut_pronouncer().guess(word) == tuple(phones.split())


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=80) | st.text("abcXYZ'-. ,$5%/:@", max_size=80))
def test_any_text_comes_to_symbols_or_a_refusal(text: str) -> None:
    """Whatever is typed: symbols that are known, or a refusal of our own."""
    try:
        outputs = front_end()(text)
    except InvalidInput:
        return
    assert all(utterance(output, 22050 / 256).ids for output in outputs)


def test_front_ends_are_named_once() -> None:
    """Every front end is a module of its own with a `load`."""
    assert set(FRONT_ENDS) == {"gruut", "espeak"}
