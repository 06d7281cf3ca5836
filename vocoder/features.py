"""What a mel spectrogram is: `MelSpec` says it, `LogMel` computes it, `MelSpec.segment` cuts it.

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
as `MelSpec.segment`
says: the mel of a cut clip would show the mirror at its edges, and a vocoder taught on it would learn the
mirror. Training cuts with a margin of n_fft/2 on both sides and drops the margin's frames, which comes to the
same.

Letters: B batch, T samples, M mel bands, L mel frames, F frequency bins.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

import torch
from torch import Tensor, nn

from vocoder.errors import InvalidAudio, InvalidConfig, InvalidMel

__all__ = ["LogMel", "MelSpec"]

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
        frame and band).

        >>> MelSpec().check(torch.zeros(79, 5))
        Traceback (most recent call last):
        vocoder.errors.InvalidMel: mel has shape [79, 5], expected [80, frames] or [batch, 80, frames]
        """
        shape = list(mel.shape)
        if mel.ndim not in (2, 3) or shape[-2] != self.n_mels:
            swapped = "; its axes look swapped, bands come before frames" if self.n_mels in shape[-1:] else ""
            expected = f"[{self.n_mels}, frames] or [batch, {self.n_mels}, frames]"
            raise InvalidMel(f"mel has shape {shape}, expected {expected}{swapped}")
        if mel.numel() == 0:
            raise InvalidMel(f"mel has shape {shape}, expected at least one frame")
        if not mel.is_floating_point():
            raise InvalidMel(f"mel has dtype {mel.dtype}, expected a floating-point one")
        lowest, highest = torch.aminmax(mel.detach())
        if not (lowest >= LOWEST and highest <= HIGHEST):  # a NaN fails both comparisons
            raise InvalidMel(_first_offence(mel.detach()))

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


class LogMel(nn.Module):
    """Log-mel spectrogram of audio, `[B, T]` → `[B, M, L]` with L = 1 + T // hop, as `MelSpec` defines it.

    Computed in the dtype of the audio, differentiable, on the device the module is on. Raises `InvalidAudio`
    for a rank other than two, a dtype that is not floating, or fewer than n_fft/2 + 1 samples (nothing to
    reflect).

    >>> LogMel(MelSpec())(torch.zeros(2, 16000)).shape
    torch.Size([2, 80, 63])
    """

    window: Tensor
    filters: Tensor

    def __init__(self, spec: MelSpec) -> None:
        super().__init__()
        self.spec = spec
        dtype = torch.get_default_dtype()
        self.register_buffer(
            "window", torch.hann_window(spec.win_length, dtype=torch.float64).to(dtype), persistent=False
        )
        self.register_buffer("filters", mel_filters(spec).to(dtype), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """ln(max(W |STFT(audio)|, floor)), `[B, T]` → `[B, M, L]`."""
        self._check(audio)
        spec = self.spec
        spectrum = torch.stft(
            audio,
            spec.n_fft,
            spec.hop_length,
            spec.win_length,
            window=self.window.to(audio.dtype),
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )
        mel = self.filters.to(audio.dtype) @ spectrum.abs()  # [M, F] @ [B, F, L]
        return mel.clamp(min=spec.floor).log()

    def _check(self, audio: Tensor) -> None:
        shape, shortest = list(audio.shape), self.spec.n_fft // 2 + 1
        if audio.ndim != 2:
            raise InvalidAudio(f"audio has shape {shape}, expected [batch, samples]")
        if not audio.is_floating_point():
            raise InvalidAudio(f"audio has dtype {audio.dtype}, expected a floating-point one")
        if shape[1] < shortest:
            raise InvalidAudio(f"audio has {shape[1]} samples, expected at least {shortest} (n_fft / 2 + 1)")

    def extra_repr(self) -> str:
        """Show the spec in the module's repr."""
        return repr(self.spec)


def mel_filters(spec: MelSpec) -> Tensor:
    """Triangular filters `[M, F]` in float64, evenly spaced on the Slaney mel scale, of unit area in hertz.

    (Slaney, Auditory Toolbox, 1998; the defaults of librosa.) Written out because the filterbank of
    torchaudio is made in single precision, and takes half of an odd sample rate, such as 11 025 Hz, for a
    whole number.
    """
    bins = torch.arange(spec.n_fft // 2 + 1, dtype=torch.float64) * spec.sample_rate / spec.n_fft
    ends = torch.tensor([spec.f_min, spec.f_max], dtype=torch.float64)
    low_mel, high_mel = _hertz_to_mel(ends).tolist()
    edges = _mel_to_hertz(torch.linspace(low_mel, high_mel, spec.n_mels + 2, dtype=torch.float64))
    left, centre, right = (edges[i : i + spec.n_mels, None] for i in range(3))
    triangles = torch.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)).clamp(min=0)
    return triangles * 2 / (right - left)


_KNEE = 1000.0  # hertz: the Slaney scale is linear below, logarithmic above
_HERTZ_PER_MEL = 200 / 3
_LOG_STEP = math.log(6.4) / 27


def _hertz_to_mel(hertz: Tensor) -> Tensor:
    above = (hertz.clamp(min=_KNEE) / _KNEE).log() / _LOG_STEP
    return hertz.clamp(max=_KNEE) / _HERTZ_PER_MEL + above


def _mel_to_hertz(mel: Tensor) -> Tensor:
    knee = _KNEE / _HERTZ_PER_MEL
    return mel.clamp(max=knee) * _HERTZ_PER_MEL * ((mel - knee).clamp(min=0) * _LOG_STEP).exp()


def _first_offence(mel: Tensor) -> str:
    """Say where the first bad value of `[M, L]` or `[B, M, L]` is."""
    good = (mel >= LOWEST) & (mel <= HIGHEST)  # false for NaN
    *item, band, frame = (~good).nonzero()[0].tolist()
    value = mel[(*item, band, frame)].item()
    place = f"frame {frame}, band {band}" + (f" of item {item[0]}" if item else "")
    within = f"expected natural-log magnitudes within [{LOWEST:g}, {HIGHEST:g}]"
    rule = within if math.isfinite(value) else "every value must be finite"
    return f"mel is {value:g} at {place}; {rule}"


def _number(name: str, value: object, kind: object) -> int | float:
    """A positive integer, or a finite non-negative float, as the field's type asks."""
    if kind is int:
        if type(value) is int and value > 0:
            return value
        raise InvalidConfig(f"MelSpec.{name} (={value!r}) must be a positive integer")
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    raise InvalidConfig(f"MelSpec.{name} (={value!r}) must be a finite number >= 0")
