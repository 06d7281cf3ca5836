"""Other conventions: equal to their formulas and to librosa, there and back, and strict about their own."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from vocoder import audio
from vocoder.errors import InvalidConfig, InvalidMel
from vocoder.features import (
    CONVENTIONS,
    Convention,
    Decibels,
    HifiGan,
    Logarithm,
    LogMel,
    MeanVariance,
    MelSpec,
    Normalised,
)

Array = np.ndarray[Any, np.dtype[np.float64]]
SPEC = MelSpec()
OTHERS = [SPEC, MelSpec(sample_rate=24000, n_mels=100, f_max=12000.0), MelSpec(16000, 1024, 800, 200)]
RNG = np.random.default_rng(0)
MEAN, DEVIATION = RNG.normal(-2.5, 0.5, 80), RNG.uniform(0.5, 1.0, 80)
X: Array = np.exp(RNG.uniform(np.log(2e-4), np.log(5.0), (80, 40)))  # mel magnitudes that no convention cuts


def decibels(x: Array) -> Array:
    """20 log₁₀ x, as librosa and both Tacotrons have it."""
    return 20 * np.log10(np.maximum(1e-5, x))


FORMULAS: list[tuple[str, Convention, Callable[[Array], Array]]] = [
    ("ln", CONVENTIONS["ln"], np.log),
    ("log10", CONVENTIONS["log10"], lambda x: np.log10(np.maximum(1e-10, x))),
    ("log2", Logarithm(base=2.0), lambda x: np.log2(np.maximum(1e-10, x))),
    ("db", CONVENTIONS["db"], decibels),
    ("db above 20", Decibels(reference=20.0), lambda x: decibels(x) - 20),
    (
        "symmetric",
        CONVENTIONS["symmetric"],
        lambda x: np.clip(8 * ((decibels(x) - 20 + 100) / 100) - 4, -4, 4),
    ),
    ("positive", CONVENTIONS["positive"], lambda x: np.clip(4 * ((decibels(x) - 20 + 100) / 100), 0, 4)),
    ("unit", CONVENTIONS["unit"], lambda x: np.clip((decibels(x) + 100) / 100, 0, 1)),
    ("unit above 20", Normalised(0.0, 1.0), lambda x: np.clip((decibels(x) - 20 + 100) / 100, 0, 1)),
    ("standardised", MeanVariance(-6.0, 2.5), lambda x: (np.log(x) + 6) / 2.5),
    (
        "standardised log10",
        MeanVariance(MEAN, DEVIATION, of=Logarithm(base=10)),
        lambda x: (np.log10(np.maximum(1e-10, x)) - MEAN[:, None]) / DEVIATION[:, None],
    ),
]


@pytest.mark.parametrize(
    ("convention", "formula"), [row[1:] for row in FORMULAS], ids=[row[0] for row in FORMULAS]
)
def test_a_convention_is_its_formula(convention: Convention, formula: Callable[[Array], Array]) -> None:
    """Theirs of ours is the formula as its authors wrote it, ours of theirs the logarithm, to 1e-9 nats."""
    x = np.minimum(X, 1.0) if convention is CONVENTIONS["unit"] else X
    ours, theirs = torch.from_numpy(np.log(x)), torch.from_numpy(formula(x))
    torch.testing.assert_close(convention.from_ln(ours, SPEC), theirs, rtol=0, atol=1e-9)
    torch.testing.assert_close(SPEC.convert(theirs, convention), ours, rtol=0, atol=1e-9)


@pytest.mark.parametrize("power", [1, 2])
def test_decibels_are_librosas(power: int) -> None:
    """amplitude_to_db and power_to_db of magnitudes and their squares come back, whatever the reference."""
    theirs = librosa.amplitude_to_db if power == 1 else librosa.power_to_db
    x, reference = torch.from_numpy(X), 0.7
    level = theirs(X**power, ref=reference**power, top_db=None)
    ours = Decibels(20 * math.log10(reference), power=power).to_ln(torch.from_numpy(level), SPEC)
    shift = 0.0 if power == 1 else 0.5 * math.log(1024 / 22050) + math.log(math.sqrt(math.pi) / 2)
    torch.testing.assert_close(ours - shift, x.log(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["ln_power", "log10_power", "db_power"])
@pytest.mark.parametrize("spec", OTHERS, ids=lambda spec: f"{spec.sample_rate}")
def test_powers_are_read_as_noise_has_them(name: str, spec: MelSpec) -> None:
    """The mel of powers of noise becomes that of magnitudes: to 0.05 nats in the mean, to 0.13 by band."""
    sound = 0.1 * torch.randn(1, 6 * spec.sample_rate)
    powers = librosa.feature.melspectrogram(
        y=sound[0].numpy(), power=2.0, pad_mode="reflect", **of_librosa(spec)
    )
    written = {
        "ln_power": np.log(powers),
        "log10_power": np.log10(powers),
        "db_power": librosa.power_to_db(powers, top_db=None),
    }
    error = spec.convert(written[name], name) - LogMel(spec)(sound)[0]
    assert abs(float(error.mean())) < 0.05
    assert float(error.mean(dim=1).abs().max()) < 0.13


def test_powers_of_speech(speech_dir: Path) -> None:
    """On recorded speech the same is off by 0.1 nats at most, in the mean over a clip."""
    for path in clips(speech_dir, 12):
        sound = audio.load(path, 22050)
        powers = librosa.feature.melspectrogram(
            y=sound.numpy(), power=2.0, pad_mode="reflect", **of_librosa(SPEC)
        )
        error = (
            SPEC.convert(librosa.power_to_db(powers, top_db=None), "db_power") - LogMel(SPEC)(sound[None])[0]
        )
        assert float(error.abs().mean()) < 0.1


@pytest.mark.parametrize("name", [name for name in CONVENTIONS if name != "hifigan"])
def test_there_and_back(name: str) -> None:
    """What was not cut comes back as it was, for one clip and for a batch."""
    ours = torch.from_numpy(np.log(np.minimum(X, 1.0) if name == "unit" else X))
    for mel in (ours, torch.stack([ours, ours - 0.1])):
        theirs = CONVENTIONS[name].from_ln(mel, SPEC)
        torch.testing.assert_close(SPEC.convert(theirs, name), mel, rtol=0, atol=1e-9)


@pytest.mark.parametrize("spec", OTHERS, ids=lambda spec: f"{spec.sample_rate}")
@pytest.mark.parametrize("samples", [16000, 16001, 16199])
def test_hifigan_has_the_frames_between_ours(spec: MelSpec, samples: int) -> None:
    """T // hop frames of HiFi-GAN's become 1 + T // hop of ours, nearer to the audio's mel than they were."""
    t = torch.arange(samples) / spec.sample_rate
    pitch = 200 + 20 * torch.sin(2 * math.pi * 3 * t)
    voiced = sum(torch.sin(2 * math.pi * k * pitch.cumsum(0) / spec.sample_rate) / k for k in range(1, 20))
    sound = 0.05 * voiced * (1.2 + torch.sin(2 * math.pi * 4 * t)) + 0.003 * torch.randn(samples)
    theirs, truth = by_hifigan(sound, spec), LogMel(spec)(sound[None])[0]
    ours = spec.convert(theirs, "hifigan")
    assert theirs.shape[1] == samples // spec.hop_length
    assert ours.shape == truth.shape
    assert spec.samples(ours.shape[1]) == spec.samples(theirs.shape[1] + 1)
    as_it_is, moved = (float((mel - truth[:, :-1]).abs().mean()) for mel in (theirs, ours[:, :-1]))
    assert moved < 0.12 and moved < 0.6 * as_it_is
    back = CONVENTIONS["hifigan"].from_ln(truth, spec)
    assert back.shape == theirs.shape
    assert float((back - theirs).abs().mean()) < 0.12


def test_hifigan_on_speech(speech_dir: Path) -> None:
    """On recorded speech the mean error is 0.1 nats at most, a third of what theirs taken for ours has."""
    for path in clips(speech_dir, 12):
        sound = audio.load(path, 22050)
        theirs, truth = by_hifigan(sound, SPEC), LogMel(SPEC)(sound[None])[0]
        error = float((SPEC.convert(theirs, "hifigan") - truth).abs().mean())
        assert error < 0.1
        assert error < 0.4 * float((theirs - truth[:, :-1]).abs().mean())


def test_between_frames_lies_a_cubic() -> None:
    """Frames that follow a cubic are read exactly between them, and mirrored at their ends."""
    polynomial = np.polynomial.Polynomial([-3.0, 0.2, -0.05, 0.002])
    theirs = torch.from_numpy(polynomial(np.arange(12) + 0.5)).expand(80, 12)
    ours = HifiGan().to_ln(theirs, SPEC)
    torch.testing.assert_close(ours[:, 2:11], torch.from_numpy(polynomial(np.arange(2.0, 11))).expand(80, 9))
    first, second = theirs[0, 0], theirs[0, 1]
    torch.testing.assert_close(ours[0, 0], (9 * first - second) / 8)
    torch.testing.assert_close(HifiGan().to_ln(theirs.flip(1), SPEC), ours.flip(1))
    back = HifiGan().from_ln(torch.from_numpy(polynomial(np.arange(12.0))).expand(80, 12), SPEC)
    torch.testing.assert_close(back[:, 1:10], theirs[:, 1:10])
    assert back.shape == (80, 11)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_the_shortest_hifigan_mels(frames: int) -> None:
    """Even one frame has neighbours: itself, mirrored."""
    assert SPEC.convert(torch.full((2, 80, frames), -5.0), "hifigan").unique().tolist() == [-5.0]
    assert SPEC.convert(torch.full((80, frames), -5.0), "hifigan").shape == (80, frames + 1)
    if frames == 1:
        with pytest.raises(InvalidMel, match="1 frame, expected at least 2"):
            HifiGan().from_ln(torch.full((80, 1), -5.0), SPEC)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_silence_is_the_floor(name: str) -> None:
    """Digital silence in any convention is our floor, or what the convention cut it at."""
    theirs = CONVENTIONS[name].from_ln(torch.full((80, 4), -100.0), SPEC)
    lowest = {"symmetric": math.log(1e-4), "positive": math.log(1e-4)}.get(name, SPEC.log_floor)
    found = SPEC.convert(theirs, name)
    torch.testing.assert_close(found, torch.full_like(found, lowest), rtol=0, atol=1e-4)


def test_a_mel_may_be_anything_that_holds_numbers() -> None:
    """Half precision is read in single, double stays double; arrays of any order, and of whole decibels."""
    half = torch.full((80, 3), -2.0, dtype=torch.float16)
    assert SPEC.convert(half, "log10").dtype == torch.float32
    assert SPEC.convert(half.double(), "log10").dtype == torch.float64
    for array in (half.numpy().astype(">f4"), np.asfortranarray(half.numpy()), half.numpy()[:, ::-1]):
        torch.testing.assert_close(
            SPEC.convert(array, "log10"), SPEC.convert(half.double(), "log10"), rtol=0, atol=1e-12
        )
    whole = np.full((80, 3), -40, np.int16)
    torch.testing.assert_close(SPEC.convert(whole, "db"), torch.full((80, 3), math.log(0.01)).double())


def flat(value: float) -> Tensor:
    """A mel that is the same everywhere."""
    return torch.full((80, 3), float(value))


REFUSED: list[tuple[Tensor, Any, type[Exception], str]] = [
    (flat(0), "log", InvalidConfig, "'log'.* must be one of ln, log10, db"),
    (flat(0), "mean_variance", InvalidConfig, "needs its statistics, `MeanVariance`"),
    (flat(0), MeanVariance([0.0] * 79, 1.0), InvalidConfig, "mean is of 79 bands, the mel has 80"),
    (torch.zeros(79, 3), "log10", InvalidMel, r"shape \[79, 3\], expected \[80, frames\]"),
    (torch.zeros(3, 80), "log10", InvalidMel, "axes look swapped"),
    (torch.zeros(80, 0), "hifigan", InvalidMel, "at least one frame"),
    (flat(math.nan), "log10", InvalidMel, "not finite"),
    (flat(12), "log10", InvalidMel, r"read as log10, reaches 27.6\d* .* at most 10"),
    (flat(-7), "symmetric", InvalidMel, r"is -7 .* within \[-4, 4\]"),
    (flat(3), "unit", InvalidMel, r"is 3 .* within \[0, 1\]"),
]


@pytest.mark.parametrize(("mel", "convention", "error", "rule"), REFUSED, ids=[row[3] for row in REFUSED])
def test_what_cannot_be_is_refused(mel: Tensor, convention: Any, error: type[Exception], rule: str) -> None:
    """A convention that is none, a mel of another shape, and numbers that no such mel can hold."""
    with pytest.raises(error, match=rule):
        SPEC.convert(mel, convention)


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: Logarithm(base=1.0), r"Logarithm.base \(=1.0\) must be > 1"),
        (lambda: Logarithm(floor=0.0), "Logarithm.floor .* > 0"),
        (lambda: Logarithm(power=3), "Logarithm.power .* 1 or 2"),
        (lambda: Decibels(reference=math.inf), "Decibels.reference .* finite"),
        (lambda: Decibels(floor=-1.0), "Decibels.floor .* > 0"),
        (lambda: Decibels(power=0), "Decibels.power .* 1 or 2"),
        (lambda: Normalised(low=4.0), r"Normalised.low .* < high \(=4.0\)"),
        (lambda: Normalised(minimum=0.0), "Normalised.minimum .* < 0"),
        (lambda: Normalised(reference=math.nan), "Normalised.reference .* finite"),
        (lambda: MeanVariance(0.0, [1.0, 0.0]), "MeanVariance.std is 0 .* > 0 in every band"),
        (lambda: MeanVariance([math.nan], 1.0), "MeanVariance.mean .* finite"),
        (lambda: MeanVariance(np.zeros((2, 80)), 1.0), r"MeanVariance.mean \[2, 80\] must be .*\[bands\]"),
        (lambda: MeanVariance("no", 1.0), "MeanVariance.mean is a str, expected numbers"),
    ],
)
def test_impossible_numbers_are_refused(make: Callable[[], Convention], rule: str) -> None:
    """A convention that could not be inverted is not made; the message names the field and its rule."""
    with pytest.raises(InvalidConfig, match=rule):
        make()


def test_a_spec_requires_its_equal() -> None:
    """A declared spec with other numbers is refused: every field that differs is named, with both values."""
    SPEC.require(MelSpec(f_max=8000))
    with pytest.raises(InvalidMel) as caught:
        SPEC.require(MelSpec(sample_rate=24000, n_mels=100, f_max=12000.0))
    told = "sample_rate 24000 (expected 22050), n_mels 100 (expected 80), f_max 12000.0 (expected 8000.0)"
    assert str(caught.value) == f"mel was made with {told}"


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_convention_says_whose_it_is(name: str) -> None:
    """Each has its formula and its source."""
    assert CONVENTIONS[name].formula and CONVENTIONS[name].source


def clips(speech_dir: Path, count: int) -> list[Path]:
    """Recordings of several people, evenly chosen."""
    found = [
        *sorted((speech_dir / "kathleen").rglob("*.flac")),
        *sorted((speech_dir / "eval").rglob("*.flac")),
    ]
    return found[:: len(found) // count][:count]


def of_librosa(spec: MelSpec) -> dict[str, Any]:
    """The spec in librosa's words."""
    return {
        "sr": spec.sample_rate,
        "n_fft": spec.n_fft,
        "hop_length": spec.hop_length,
        "win_length": spec.win_length,
        "n_mels": spec.n_mels,
        "fmin": spec.f_min,
        "fmax": spec.f_max,
    }


def by_hifigan(sound: Tensor, spec: MelSpec) -> Tensor:
    """HiFi-GAN's mel `[M, T // hop]`, written out from its formula in double precision."""
    margin = (spec.n_fft - spec.hop_length) // 2
    padded = np.pad(sound.double().numpy(), margin, mode="reflect")
    frames = sliding_window_view(padded, spec.n_fft)[:: spec.hop_length]
    taper = np.zeros(spec.n_fft)
    begin = (spec.n_fft - spec.win_length) // 2
    taper[begin : begin + spec.win_length] = 0.5 - 0.5 * np.cos(
        2 * np.pi * np.arange(spec.win_length) / spec.win_length
    )
    spectrum = np.fft.rfft(frames * taper)
    magnitude = np.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-9)
    filters = librosa.filters.mel(
        sr=spec.sample_rate, n_fft=spec.n_fft, n_mels=spec.n_mels, fmin=spec.f_min, fmax=spec.f_max
    )
    return torch.from_numpy(np.log(np.maximum(filters @ magnitude.T, 1e-5))).float()
