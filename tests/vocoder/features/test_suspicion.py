"""A mel of another convention is named, one of ours never is, and a warning stops nobody."""

import math
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vocoder import Vocoder, audio
from vocoder.errors import InvalidMel, MelWarning
from vocoder.features import (
    CONVENTIONS,
    Convention,
    Decibels,
    Logarithm,
    LogMel,
    MeanVariance,
    MelSpec,
    Normalised,
    suspect,
)
from vocoder.features.suspicion import REMEDIES, explain

SPEC = MelSpec()
SPECS = [SPEC, MelSpec(sample_rate=24000, n_mels=100, f_max=12000.0), MelSpec(16000, 1024, 800, 200)]
HELLO = torch.from_numpy(np.load(Path(__file__).parents[3] / "samples" / "hello.npy"))
MEAN, DEVIATION = HELLO.mean(1), HELLO.std(1)

WRITTEN: dict[str, tuple[str, Callable[[Tensor, MelSpec], Tensor]]] = {
    "log10": ("log10", CONVENTIONS["log10"].from_ln),
    "db": ("db", CONVENTIONS["db"].from_ln),
    "db above 20": ("db", Decibels(reference=20).from_ln),
    "db_power": ("db", CONVENTIONS["db_power"].from_ln),
    "symmetric": ("symmetric", CONVENTIONS["symmetric"].from_ln),
    "positive": ("positive", CONVENTIONS["positive"].from_ln),
    "unit": ("unit", CONVENTIONS["unit"].from_ln),
    "unit above 20": ("unit", Normalised(0, 1).from_ln),
    "ln_power": ("ln_power", CONVENTIONS["ln_power"].from_ln),
    "linear": ("linear", lambda mel, _: mel.exp()),
    "negated": ("negated", lambda mel, _: -mel),
}


@pytest.fixture(scope="module")
def voice() -> Vocoder:
    """The small seeded voice that is made for tests."""
    return Vocoder.load("waveglow-tiny", device="cpu")


@pytest.mark.parametrize("way", WRITTEN)
@pytest.mark.parametrize("gain", [-1.0, 0.0, 1.0])
def test_speech_in_another_convention_is_named(way: str, gain: float) -> None:
    """The mel that the project ships is known in every other convention, 9 dB up and down, and in a batch."""
    name, write = WRITTEN[way]
    theirs = write((HELLO + gain).clamp(min=SPEC.log_floor), SPEC)
    assert suspect(theirs, SPEC) == name
    assert suspect(torch.stack([torch.full_like(theirs, -5.0), theirs]), SPEC) == name
    assert suspect(theirs.half(), SPEC) == name


@pytest.mark.parametrize("of", [Logarithm(), Logarithm(base=10.0), Decibels()])
def test_a_standardised_mel_is_named(of: Convention) -> None:
    """Statistics of mean 0 and deviation 1 give a standardised mel away, whatever was standardised."""
    written = of.from_ln(HELLO, SPEC)
    theirs = MeanVariance(written.mean(1), written.std(1), of=of).from_ln(HELLO, SPEC)
    assert suspect(theirs, SPEC) == "mean_variance"


@pytest.mark.parametrize("gain", [-4.6, -2.3, -1.0, 0.0, 1.0, 2.3])
def test_ours_is_not(gain: float) -> None:
    """The same mel as it is, 40 dB down to 20 dB up, passes, and so does it with silence around it."""
    mel = (HELLO + gain).clamp(min=SPEC.log_floor)
    assert suspect(mel, SPEC) is None
    silence = torch.full((80, 500), SPEC.log_floor)
    assert suspect(torch.cat([silence, mel, silence], 1), SPEC) is None


def test_what_no_mel_holds_raises_nothing_else() -> None:
    """Numbers beyond single precision, and a single band, are refused or pass as without a suspicion."""
    huge = HELLO.double() * 1e300
    with pytest.raises(InvalidMel, match="expected natural-log magnitudes"):
        SPEC.check(huge)
    assert suspect(huge, SPEC) is None
    assert suspect(HELLO[:1], MelSpec(n_mels=1)) is None


def unsuspicious() -> Iterator[Tensor]:
    """Mels that are odd, and legal."""
    noise, t = torch.randn(4, 88200), torch.arange(88200) / 22050
    log_mel = LogMel(SPEC)
    yield from (torch.full((80, 300), value) for value in (-11.5129, -5.0, 0.0, 2.0))
    yield from (torch.rand(80, 300) * scale + start for scale, start in ((1, 0), (4, -4), (9, -11), (2, -1)))
    yield from (torch.randn(80, frames) * scale + mean for frames, scale, mean in ((300, 1, 0), (99, 2, -5)))
    yield from log_mel(noise * torch.tensor([[0.001], [0.05], [0.2], [0.5]]))
    yield log_mel(0.3 * torch.sin(2 * math.pi * 440 * t)[None])[0]
    yield log_mel(0.5 * torch.sin(math.pi * 2000 * t.square())[None])[0]
    yield log_mel((noise[0] * (torch.sin(2 * math.pi * 3 * t) > 0))[None])[0]
    yield CONVENTIONS["log10"].from_ln(HELLO, SPEC)[:, :49]


def test_what_is_odd_passes() -> None:
    """Constants, numbers at random, noise, tones, and half a second of anything: no doubt, no warning."""
    assert [suspect(mel, SPEC) for mel in unsuspicious()] == [None] * len(list(unsuspicious()))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.sample_rate}")
def test_recordings(speech_dir: Path, spec: MelSpec) -> None:
    """A dozen recordings pass as they are, at full scale, 20 dB down, with noise; and are known otherwise."""
    log_mel = LogMel(spec)
    found = [
        *sorted((speech_dir / "kathleen").rglob("*.flac"))[::200],
        *sorted((speech_dir / "eval").rglob("*.flac"))[::5],
    ]
    assert len(found) >= 12
    for path in found:
        sound = audio.load(path, spec.sample_rate)
        noisy = sound + 0.1 * sound.std() * torch.randn(len(sound))
        for heard in (sound, 0.95 * sound / sound.abs().max(), 0.1 * sound, noisy):
            assert suspect(log_mel(heard[None])[0], spec) is None
        mel = log_mel(sound[None])[0]
        named = {way: suspect(write(mel, spec), spec) for way, (_, write) in WRITTEN.items()}
        assert named == {way: name for way, (name, _) in WRITTEN.items()}


def test_a_voice_warns_and_speaks(voice: Vocoder) -> None:
    """Call, batch, stream and score warn whoever called them, naming the convention, and do what they do."""
    theirs = CONVENTIONS["log10"].from_ln(HELLO, SPEC)
    pieces = iter([theirs[:, :200], theirs[:, 200:]])
    silence = torch.zeros(392 * 256)
    ways: list[Callable[[], Any]] = [
        lambda: len(voice(theirs)),
        lambda: len(voice.batch([theirs])[0]),
        lambda: sum(len(chunk) for chunk in voice.stream(theirs)),
        lambda: sum(len(chunk) for chunk in voice.stream(pieces)),
        lambda: math.isfinite(voice.score(silence, theirs)),
    ]
    for way in ways:
        with pytest.warns(MelWarning, match=r"looks like log10.*`MelSpec.convert\(mel, 'log10'\)`") as caught:
            assert way() in (392 * 256, True)
        assert {Path(each.filename).name for each in caught} == {Path(__file__).name}


def test_a_voice_does_not_warn_of_its_own(voice: Vocoder) -> None:
    """Speech as it should be is spoken, whole, in a batch and in pieces, without a word."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        voice(torch.stack([HELLO, HELLO]))
        list(voice.stream(iter([HELLO, HELLO])))
        converted = SPEC.convert(CONVENTIONS["symmetric"].from_ln(HELLO, SPEC), "symmetric")
        voice(converted)
    assert caught == []


@pytest.mark.parametrize("way", ["db", "db above 20", "negated"])
def test_what_is_refused_is_named_too(way: str) -> None:
    """A mel out of range is refused with the place, the rule, and what it looks like."""
    name, write = WRITTEN[way]
    with pytest.raises(
        InvalidMel, match=rf"at frame \d+, band \d+; .*\[-20, 10\]; it looks like {name}, not"
    ):
        SPEC.check(write(HELLO - 0.5, SPEC))


@pytest.mark.parametrize("name", REMEDIES)
def test_every_suspicion_has_words(name: str) -> None:
    """The sentence holds the name and a remedy; where that is a conversion, it is one that exists."""
    words = explain(name)
    assert name in words
    for asked in re.findall(r"convert\(mel, '(\w+)'\)", words):
        assert asked in CONVENTIONS
