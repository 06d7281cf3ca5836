"""`MelSpec`: the numbers that say what a mel is, and where its frames lie.

Frame k is centred on sample k·hop and sees the samples k·hop ± n_fft/2. The clip is reflected at both ends to
make that possible, so what the frames at its ends see is partly a mirror (drawn for hop 256, n_fft 1024):

```
sample   -512     -256       0       256      512      768     1024     1280
           ┆      mirror     │        │        │        │        │        │
frame 0    └─────────────────●─────────────────┘
frame 1             └─────────────────●─────────────────┘
frame 2                      └─────────────────●─────────────────┘
segment                                        ├mel[:,2]┬mel[:,3]┬mel[:,4]┤
k=2, n=3                                       └─── audio[2·hop:5·hop] ───┘
```

A clip of T samples has 1 + T // hop frames. Frame k stands for the hop samples that begin at its centre, so n
frames are n·hop samples, exactly. A training segment pairs audio with frames of the mel of the *whole* clip,
as `MelSpec.segment` says: the mel of a cut clip would show the mirror at its edges, and a vocoder taught on
it would learn the mirror. Training cuts with a margin of n_fft/2 on both sides and drops the margin's frames,
which comes to the same.

Letters: B batch, T samples, M mel bands, L mel frames.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vocoder.errors import InvalidAudio, InvalidConfig, InvalidMel
from vocoder.features.conventions import named
from vocoder.features.scales import Convention
from vocoder.features.suspicion import explain, suspect

__all__ = ["MelSpec"]

LOWEST, HIGHEST = -20.0, 10.0  # what a natural-log mel may hold; decibels and linear magnitudes fall outside


@dataclass(frozen=True)
class MelSpec:
    """The one home of sample rate, window, hop and bands; it travels in every checkpoint.

    log-mel = ln(max(W |STFT(audio)|, floor)): magnitude (power 1), periodic Hann window of `win_length`
    centred in `n_fft`, frames centred on multiples of the hop, reflect padding, W the Slaney filters (Slaney
    scale, unit area) from `f_min` to `f_max`. The defaults are those of Tacotron 2 and WaveGlow (Prenger et
    al., 2019, section 3.1). Rates and frequencies are in hertz, lengths in samples.

    Raises `InvalidConfig` where the numbers contradict one another.

    >>> spec = MelSpec()
    >>> spec.frames(16000), spec.samples(63)
    (63, 16128)
    """

    sample_rate: int = 22050
    n_fft: int = 1024
    win_length: int = 1024
    hop_length: int = 256
    n_mels: int = 80
    f_min: float = 0.0
    f_max: float = 8000.0
    floor: float = 1e-5

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, _number(field.name, getattr(self, field.name), field.type))
        self._require(self.n_fft % 2 == 0, "n_fft", "be even")
        self._require(self.win_length <= self.n_fft, "win_length", f"be <= n_fft (={self.n_fft})")
        self._require(
            self.hop_length <= self.win_length, "hop_length", f"be <= win_length (={self.win_length})"
        )
        self._require(self.f_min < self.f_max, "f_min", f"be < f_max (={self.f_max})")
        self._require(
            self.f_max <= self.sample_rate / 2, "f_max", f"be <= sample_rate / 2 (={self.sample_rate / 2})"
        )
        self._require(self.floor > 0, "floor", "be > 0")

    def _require(self, condition: bool, name: str, rule: str) -> None:
        if not condition:
            raise InvalidConfig(f"MelSpec.{name} (={getattr(self, name)}) must {rule}")

    @property
    def log_floor(self) -> float:
        """ln(floor): the lowest value of a mel, and what batches are padded with."""
        return math.log(self.floor)

    def frames(self, samples: int) -> int:
        """How many frames the mel of a clip of this many samples has: 1 + samples // hop."""
        return 1 + samples // self.hop_length

    def samples(self, frames: int) -> int:
        """How many samples are synthesised from this many frames: frames · hop, on every path."""
        return frames * self.hop_length

    def to_dict(self) -> dict[str, int | float]:
        """The fields as plain numbers, for a header or JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> "MelSpec":
        """The inverse of `to_dict`; an unknown or a missing key is `InvalidConfig`.

        >>> MelSpec.from_dict(MelSpec(n_mels=100).to_dict()).n_mels
        100
        """
        names = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - names):
            raise InvalidConfig(f"MelSpec has no field {unknown}; its fields are {sorted(names)}")
        if missing := sorted(names - set(values)):
            raise InvalidConfig(f"MelSpec lacks {missing}; every field must be given")
        return cls(**values)  # type: ignore[arg-type]  # __post_init__ checks each number

    def digest(self) -> str:
        """SHA-256, in hexadecimal, of the canonical JSON: equal specs have equal digests on every machine."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def check(self, mel: Tensor) -> None:
        """Refuse a mel `[M, L]` or `[B, M, L]` that cannot be of this spec.

        Raises `InvalidMel` for a wrong rank, a wrong number of bands, no frame, a dtype that is not floating,
        or a value that is not finite or lies outside [-20, 10] in natural-log units (the message names its
        frame and band, and the convention that the mel seems to be of).

        >>> MelSpec().check(torch.zeros(79, 5))
        Traceback (most recent call last):
        vocoder.errors.InvalidMel: mel has shape [79, 5], expected [80, frames] or [batch, 80, frames]
        """
        self._check_shape(mel)
        lowest, highest = torch.aminmax(mel.detach())
        if not (lowest >= LOWEST and highest <= HIGHEST):  # a NaN fails both comparisons
            raise InvalidMel(_first_offence(mel.detach(), self))

    def _check_shape(self, mel: Tensor) -> None:
        shape = list(mel.shape)
        if mel.ndim not in (2, 3) or shape[-2] != self.n_mels:
            swapped = "; its axes look swapped, bands come before frames" if self.n_mels in shape[-1:] else ""
            expected = f"[{self.n_mels}, frames] or [batch, {self.n_mels}, frames]"
            raise InvalidMel(f"mel has shape {shape}, expected {expected}{swapped}")
        if mel.numel() == 0:
            raise InvalidMel(f"mel has shape {shape}, expected at least one frame")
        if not mel.is_floating_point():
            raise InvalidMel(f"mel has dtype {mel.dtype}, expected a floating-point one")

    def convert(self, mel: Tensor | np.ndarray[Any, Any], convention: Convention | str) -> Tensor:
        """A mel `[M, L]` or `[B, M, L]` of another convention as one of ours: ln(max(x, floor)), our frames.

        The convention is one of `CONVENTIONS` by name, or a `Convention` with its own numbers; sample rate,
        FFT, window, hop and bands have to be this spec's, since nothing makes up for them (`require`). The
        result has as many frames as came, and one more where HiFi-GAN's come, which lie between ours. Convert
        a mel whole, not in pieces.

        Raises `InvalidConfig` for an unknown convention, `InvalidMel` for what it cannot have written.

        >>> MelSpec().convert(torch.full((80, 5), -2.0), "log10")[0, 0]
        tensor(-4.6052)
        """
        theirs = mel.detach() if isinstance(mel, Tensor) else torch.from_numpy(np.array(mel, np.float64))
        self._check_shape(theirs)
        if not theirs.isfinite().all():
            raise InvalidMel("mel has a value that is not finite")
        precise = theirs.to(torch.promote_types(theirs.dtype, torch.float32))
        ours = named(convention).to_ln(precise, self).clamp(min=self.log_floor)
        if not float(ours.max()) <= HIGHEST:
            came = f"mel, read as {convention}, reaches {float(ours.max()):g} in natural logarithms"
            raise InvalidMel(f"{came}; expected at most {HIGHEST:g}")
        return ours

    def require(self, other: "MelSpec") -> None:
        """Raise `InvalidMel`, naming each field in which a mel's declared spec differs from this one.

        >>> MelSpec().require(MelSpec(hop_length=200, n_mels=100))
        Traceback (most recent call last):
        vocoder.errors.InvalidMel: mel was made with hop_length 200 (expected 256), n_mels 100 (expected 80)
        """
        ours, theirs = self.to_dict(), other.to_dict()
        if differing := [name for name in ours if ours[name] != theirs[name]]:
            told = ", ".join(f"{name} {theirs[name]} (expected {ours[name]})" for name in differing)
            raise InvalidMel(f"mel was made with {told}")

    def segment(self, audio: Tensor, mel: Tensor, start_frame: int, frames: int) -> tuple[Tensor, Tensor]:
        """Cut n frames and the n·hop samples they stand for, as drawn at the head of this file.

        `audio [T]` is a whole clip and `mel [M, 1 + T // hop]` the mel of that whole clip; returns the views
        `audio[k·hop : (k+n)·hop]` and `mel[:, k : k+n]`. A clip has T // hop - n + 1 places to start. Raises
        `InvalidMel` if the mel is not as long as the clip's, `InvalidAudio` if the segment does not lie
        inside the clip.

        >>> spec = MelSpec()
        >>> audio, mel = spec.segment(torch.zeros(16000), torch.zeros(80, 63), 2, 32)
        >>> list(audio.shape), list(mel.shape)
        ([8192], [80, 32])
        """
        whole, hop, end = audio.shape[-1], self.hop_length, start_frame + frames
        if mel.shape[-1] != self.frames(whole):
            expected = f"expected {self.frames(whole)}, those of the whole clip of {whole} samples"
            raise InvalidMel(f"mel has {mel.shape[-1]} frames, {expected}")
        if not 0 <= start_frame < end <= whole // hop:
            asked = f"{frames} frames from start_frame {start_frame}"
            raise InvalidAudio(
                f"segment of {asked} must lie within the clip's {whole // hop} frames of {hop} samples"
            )
        return audio[..., start_frame * hop : end * hop], mel[..., start_frame:end]


def _first_offence(mel: Tensor, spec: MelSpec) -> str:
    """Say where the first bad value of `[M, L]` or `[B, M, L]` is, and what the mel may be instead."""
    good = (mel >= LOWEST) & (mel <= HIGHEST)  # false for NaN
    *item, band, frame = (~good).nonzero()[0].tolist()
    value = mel[(*item, band, frame)].item()
    place = f"frame {frame}, band {band}" + (f" of item {item[0]}" if item else "")
    within = f"expected natural-log magnitudes within [{LOWEST:g}, {HIGHEST:g}]"
    rule = within if math.isfinite(value) else "every value must be finite"
    name = suspect(mel, spec) if mel.isfinite().all() else None
    return f"mel is {value:g} at {place}; {rule}" + (f"; {explain(name)}" if name else "")


def _number(name: str, value: object, kind: object) -> int | float:
    """A positive integer, or a finite non-negative float, as the field's type asks."""
    if kind is int:
        if type(value) is int and value > 0:
            return value
        raise InvalidConfig(f"MelSpec.{name} (={value!r}) must be a positive integer")
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    raise InvalidConfig(f"MelSpec.{name} (={value!r}) must be a finite number >= 0")
