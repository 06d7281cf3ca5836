"""The little of SSML that is read."""

import pytest

from vocoder.errors import InvalidInput
from vocoder.text.frontend import front_end
from vocoder.text.ssml import Span, spans


def test_plain_text_is_itself() -> None:
    """What does not begin with `<speak` is no SSML, whatever it holds."""
    assert spans("5 < 6 & <b>7</b>") == [Span("5 < 6 & <b>7</b>")]


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ("a &amp; b", [Span("a & b")]),
        ("a<break time='1s'/>b", [Span("a"), Span("", pause=1.0), Span("b")]),
        ("a<break/>", [Span("a"), Span("", pause=0.4)]),
        ("a<break strength='none'/>", [Span("a")]),
        ("<prosody rate='150%'>a</prosody>b", [Span("a", 1.5), Span("b")]),
        ("<prosody rate='slow'>a<prosody rate='2'>b</prosody></prosody>", [Span("a", 0.75), Span("b", 1.5)]),
        ("<p><s>a</s></p>", [Span("a"), Span("", pause=0.4)]),
    ],
)
def test_what_is_read(inner: str, expected: list[Span]) -> None:
    """Breaks, rates (which multiply), paragraphs, sentences and entities."""
    assert spans(f"<speak>{inner}</speak>") == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("<speak>a", "ends within <speak>"),
        ("<speak>a</p></speak>", "closes <p>"),
        ("<speak>a</speak> b", "outside"),
        ("<speak>a</speak><speak>b</speak>", "one element"),
        ("<speak><audio src='x'/></speak>", "<audio> is not read"),
        ("<speak><prosody pitch='high'>a</prosody></speak>", "'pitch' is not read"),
        ("<speak><prosody rate='warp'>a</prosody></speak>", "rate 'warp'"),
        ("<speak><prosody rate='900%'>a</prosody></speak>", "4 times"),
        ("<speak><break time='11s'/></speak>", "break time"),
        ("<speak><break time='x'/></speak>", "break time"),
        ("<speak><break strength='huge'/></speak>", "strength"),
        ("<speak><!DOCTYPE x><a></speak>", "not understood"),
        ("<speak>" + "<p>" * 40, "nested"),
        ("<speak>" + "<" * 100_000, "not understood"),
        ("<speak " + 'a="b" ' * 30_000, "not understood"),
        ("<speak>" + "a" * 300_000, "at most"),
    ],
)
def test_what_is_refused(text: str, told: str) -> None:
    """Elements and attributes that are not read, and what is not well-formed, declarations too."""
    with pytest.raises(InvalidInput, match=told):
        spans(text)


def test_a_pause_belongs_to_the_sentence_before_it() -> None:
    """Breaks become the silence after an utterance, rates its pace."""
    said = front_end()(
        "<speak>One.<break time='300ms'/><break time='200ms'/><prosody rate='fast'>Two.</prosody></speak>"
    )
    assert [(each.text, each.pause, each.pace) for each in said] == [("One.", 0.5, 1.0), ("Two.", None, 1.25)]
