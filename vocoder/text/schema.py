"""`FrontEndOutput`: what a text front end hands over to an acoustic model, as data that can be JSON.

One object is one utterance, a sentence as a rule. It holds phonemes, and as much of how they are to be said
as the front end knows; or a mel that is ready. Whatever is not given is predicted, and what is given is
obeyed:

```
{"version": 1, "phonemes": ["HH", "AH0", "L", "OW1"], "durations": [6, 5, 8, 14], "f0": [0, 180, 185, 170]}
{"version": 1, "alphabet": "ipa", "phonemes": ["h", "ə", "l", "ˈoʊ"], "pace": 1.2, "seed": 7}
{"version": 1, "mel": [[-11.5, …], …], "mel_spec": {"sample_rate": 22050, …}}
```

Every bound stands in the field that it bounds. Letters: N phonemes, L mel frames, M mel bands.
"""  # fmt: skip

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vocoder.errors import InvalidInput

__all__ = ["MAX_FRAMES", "MAX_PHONEMES", "MAX_SECONDS", "FrontEndOutput", "Word", "read_output"]

MAX_PHONEMES = 2000  # N of one utterance; the front ends of this package part sentences far below it
MAX_SECONDS = 120.0  # of one utterance
MAX_FRAMES = 16_384  # L of one utterance
LARGEST_MESSAGE = 300  # characters of what a refusal says

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Word(BaseModel):
    """A word, and the phonemes that are its own: `phonemes[start:end]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str = Field(max_length=200)
    start: int = Field(ge=0, le=MAX_PHONEMES)
    end: int = Field(ge=0, le=MAX_PHONEMES)


class FrontEndOutput(BaseModel):
    """One utterance as a front end hands it over; pydantic's `ValidationError` for what breaks a rule of it.

    `read_output` reads JSON, or what JSON becomes, and raises `InvalidInput` in words instead.

    >>> FrontEndOutput(phonemes=["HH", "AY1"]).pace
    1.0
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = Field(1, description="Of this schema.")
    text: str | None = Field(None, max_length=20_000, description="What is said, for people.")
    alphabet: Literal["arpabet", "ipa"] = Field("arpabet", description="What the phonemes are written in.")
    phonemes: tuple[Annotated[str, Field(min_length=1, max_length=16)], ...] | None = Field(
        None,
        min_length=1,
        max_length=MAX_PHONEMES,
        description=(
            "ARPAbet with stress digits, or IPA with its marks; '|' (in IPA also a space) between words, "
            "or one of , ; : . ? ! — … in its place; '^' and '$' at the ends may be left out."
        ),
    )
    words: tuple[Word, ...] | None = Field(
        None, max_length=MAX_PHONEMES, description="The words in their order, with the phonemes of each."
    )
    durations: tuple[Annotated[float, Field(ge=0, le=MAX_FRAMES, allow_inf_nan=False)], ...] | None = Field(
        None,
        max_length=MAX_PHONEMES,
        description="How long each phoneme lasts; obeyed exactly. In frames they are whole numbers.",
    )
    unit: Literal["frames", "seconds"] = Field("frames", description="What `durations` counts.")
    f0: tuple[Annotated[float, Field(ge=0, le=1200, allow_inf_nan=False)], ...] | None = Field(
        None,
        max_length=MAX_FRAMES,
        description="Hertz, 20 to 1200, or 0 for voiceless: one for each phoneme, or each frame.",
    )
    energy: tuple[Annotated[float, Field(ge=0, le=1e4, allow_inf_nan=False)], ...] | None = Field(
        None,
        max_length=MAX_FRAMES,
        description="Norm of a frame's magnitudes (FastPitch's): one for each phoneme, or each frame.",
    )
    pace: Annotated[float, Field(ge=0.25, le=4, allow_inf_nan=False)] = Field(
        1.0,
        description="How fast: 2 halves what is predicted of durations. Given durations stand as they are.",
    )
    speaker: str | None = Field(None, min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int | None = Field(None, ge=0, lt=2**63, description="One seed is one waveform.")
    pause: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] | None = Field(
        None, description="Seconds of silence after it; the speaker's choice where not given."
    )
    mel: tuple[tuple[Annotated[float, Field(ge=-20, le=10, allow_inf_nan=False)], ...], ...] | None = Field(
        None,
        min_length=1,
        max_length=512,
        description="A mel [M][L] instead of phonemes, in natural logarithms.",
    )
    mel_spec: dict[str, float] | None = Field(
        None, max_length=32, description="Every field of the spec that the mel was made with."
    )

    @model_validator(mode="after")
    def _agree(self) -> FrontEndOutput:
        if (self.phonemes is None) == (self.mel is None):
            raise ValueError("an utterance is either phonemes or a mel: exactly one of the two")
        if self.mel is not None:
            self._require_mel(self.mel)
        else:
            self._require_phonemes(len(self.phonemes or ()))
        return self

    def _require_mel(self, mel: tuple[tuple[float, ...], ...]) -> None:
        said = [name for name in ("words", "durations", "f0", "energy") if getattr(self, name) is not None]
        if said or self.pace != 1:
            raise ValueError(f"a mel is said as it is: it takes no {', '.join(said) or 'pace'}")
        if self.mel_spec is None:
            raise ValueError("a mel comes with its mel_spec")
        if len({len(band) for band in mel}) != 1 or not 1 <= len(mel[0]) <= MAX_FRAMES:
            raise ValueError(f"the bands of a mel are of one length, 1 to {MAX_FRAMES} frames")

    def _require_phonemes(self, count: int) -> None:
        if self.mel_spec is not None:
            raise ValueError("mel_spec belongs to a mel, and none came")
        self._require_words(self.words or (), count)
        if self.durations is not None:
            self._require_durations(self.durations, count)
        for name, values in (("f0", self.f0), ("energy", self.energy)):
            self._require_length(name, values, count)
        if bad := [value for value in self.f0 or () if 0 < value < 20]:
            raise ValueError(f"f0 holds {bad[0]:g}; it is 0 (voiceless) or 20 to 1200 Hz")

    def _require_words(self, words: Iterable[Word], count: int) -> None:
        last = 0
        for place, word in enumerate(words):
            if not last <= word.start <= word.end <= count:
                claim = f"word {place} claims phonemes {word.start} to {word.end} of {count}"
                raise ValueError(f"{claim}, after {last}; words follow one another")
            last = word.end

    def _require_durations(self, durations: tuple[float, ...], count: int) -> None:
        if len(durations) != count:
            raise ValueError(f"{len(durations)} durations for {count} phonemes; each phoneme has one")
        if self.pace != 1:
            raise ValueError("durations are obeyed exactly and pace would change them: give one of the two")
        if self.unit == "frames" and any(each != int(each) for each in durations):
            raise ValueError("durations in frames are whole numbers")
        total, most = sum(durations), MAX_FRAMES if self.unit == "frames" else MAX_SECONDS
        if not 0 < total <= most:
            raise ValueError(
                f"durations sum to {total:g} {self.unit}; more than 0 and at most {most:g} can be said"
            )

    def _require_length(self, name: str, values: tuple[float, ...] | None, count: int) -> None:
        if values is None or len(values) == count:
            return
        if self.durations is None:
            raise ValueError(
                f"{len(values)} values of {name} for {count} phonemes; per frame it needs durations"
            )
        if self.unit == "frames" and len(values) != sum(self.durations):
            frames = int(sum(self.durations))
            raise ValueError(
                f"{len(values)} values of {name}; expected {count} (phonemes) or {frames} (frames)"
            )


def read_output(came: str | bytes | Mapping[str, Any]) -> FrontEndOutput:
    """Front-end output from JSON or from what JSON becomes; `InvalidInput` says what is wrong with it, and
    where.

    >>> read_output('{"phonemes": ["HH", "AY1"], "f0": [120, NaN]}')
    Traceback (most recent call last):
    vocoder.errors.InvalidInput: front-end output, f0.1: Input should be a finite number
    """
    try:
        if isinstance(came, (str, bytes)):
            return FrontEndOutput.model_validate_json(came, strict=True)
        return FrontEndOutput.model_validate(dict(came))
    except ValidationError as error:
        raise InvalidInput(_first(error)) from None


def _first(error: ValidationError) -> str:
    """The first thing wrong, by its place, without the data that came."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(map(str, first["loc"])) or "as a whole"
    message = first["msg"].removeprefix("Value error, ")
    return f"front-end output, {place:.80}: {message:.{LARGEST_MESSAGE}}"
