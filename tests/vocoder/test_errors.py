"""The tree of errors: its shape, its codes, and what else each is to those who do not know us."""

import pytest

from vocoder import errors
from vocoder.errors import VocoderError

MEMBERS = [member for name in errors.__all__ if issubclass(member := getattr(errors, name), VocoderError)]
DRAWN = {
    "InvalidInput": ("invalid_input", ValueError),
    "InvalidMel": ("invalid_mel", errors.InvalidInput),
    "InvalidAudio": ("invalid_audio", errors.InvalidInput),
    "InvalidConfig": ("invalid_config", errors.InvalidInput),
    "CheckpointError": ("checkpoint_error", ValueError),
    "UnknownVoice": ("unknown_voice", errors.CheckpointError),
    "SynthesisError": ("synthesis_error", RuntimeError),
}


@pytest.mark.parametrize("name", DRAWN)
def test_each_member_is_what_the_drawing_says(name: str) -> None:
    """Every error has the code and the base that the module's drawing gives it."""
    code, base = DRAWN[name]
    member = getattr(errors, name)
    assert member.code == code
    assert issubclass(member, base)
    assert name in (errors.__doc__ or "")
    assert f'"{code}"' in (errors.__doc__ or "")


def test_the_drawing_is_complete() -> None:
    """No error is missing from the drawing, and every one has a code of its own."""
    assert {member.__name__ for member in MEMBERS} == {*DRAWN, "VocoderError"}
    assert len({member.code for member in MEMBERS}) == len(MEMBERS)


def test_an_unknown_voice_is_a_failed_lookup() -> None:
    """Who looks a voice up can catch LookupError, and an error of synthesis is not the caller's fault."""
    assert issubclass(errors.UnknownVoice, LookupError)
    assert not issubclass(errors.SynthesisError, ValueError)


@pytest.mark.parametrize("member", MEMBERS)
def test_a_message_survives(member: type[VocoderError]) -> None:
    """The message is what `str` gives, and the root catches every member."""
    with pytest.raises(VocoderError, match="79 bands") as caught:
        raise member("mel has 79 bands")
    assert str(caught.value) == "mel has 79 bands"
