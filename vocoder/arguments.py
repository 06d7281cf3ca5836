"""What callers hand to a voice, looked at once: each function takes it as it came, or says what is wrong.

Letters: B batch, T samples, M mel bands, L mel frames.
"""

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vocoder.errors import InvalidAudio, InvalidInput, InvalidMel, SynthesisError
from vocoder.features import MelSpec
from vocoder.noise import whole

__all__ = [
    "Mel",
    "as_tensor",
    "at_least",
    "fitted",
    "number_within",
    "require_audio",
    "require_finite",
    "seeds_of",
]

Mel = Tensor | np.ndarray[Any, Any]


def as_tensor(mel: Mel) -> Tensor:
    """A mel as a tensor without gradient; `InvalidMel` for anything but a tensor or an array of floats."""
    if isinstance(mel, Tensor):
        return mel.detach()
    if not isinstance(mel, np.ndarray):
        raise InvalidMel(f"mel is a {type(mel).__name__}, expected a torch tensor or a NumPy array")
    if mel.dtype.kind != "f":
        raise InvalidMel(f"mel has dtype {mel.dtype}, expected a floating-point one")
    with np.errstate(over="ignore"):  # beyond float64 is inf, which the spec refuses by name
        return torch.from_numpy(np.array(mel, np.float64, order="C"))  # any byte order and strides


def seeds_of(seed: int | Sequence[int], clips: int) -> list[int]:
    """A seed for each clip: those given, or `seed`, `seed + 1`, …"""
    if not isinstance(seed, Sequence):
        return [whole("seed", seed) + clip for clip in range(clips)]
    if len(seed) != clips:
        raise InvalidInput(f"seed names {len(seed)} seeds, expected one for each of {clips} clips")
    return [whole("seed", each) for each in seed]


def number_within(name: str, value: float, low: float, high: float) -> float:
    """A real number within low … high."""
    good = isinstance(value, Real) and not isinstance(value, bool) and low <= value <= high
    if not good:
        raise InvalidInput(f"{name} (={value!r}) must be a number within {low:g} … {high:g}")
    return float(value)


def at_least(name: str, value: int, least: int) -> int:
    """An integer, not below `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidInput(f"{name} (={value!r}) must be an integer >= {least}")
    return value


def fitted(audio: Tensor, mel: Tensor, spec: MelSpec) -> tuple[Tensor, Tensor]:
    """`[L · hop]` and `[M, L]`: audio `[T]` and its mel, both cut to the whole frames of the audio.

    The mel has the 1 + T // hop frames that the mel of the audio has, or is exactly as long, T = L · hop.
    Raises `InvalidMel` where it is neither, and `InvalidAudio` for what is no audio of a frame at least.
    """
    require_audio(audio)
    if mel.ndim != 2:
        raise InvalidMel(f"mel has shape {list(mel.shape)}, expected that of one clip, [bands, frames]")
    frames, common = mel.shape[1], len(audio) // spec.hop_length
    if len(audio) != spec.samples(frames) and frames != 1 + common:
        expected = f"{common + 1}, as the mel of the audio has, or {common} without a sample over"
        raise InvalidMel(f"mel has {frames} frames beside {len(audio)} samples; expected {expected}")
    if not common:
        raise InvalidAudio(f"audio has {len(audio)} samples, expected at least {spec.hop_length}")
    return audio[: spec.samples(common)], mel[:, :common]


def require_audio(audio: Tensor) -> None:
    """Refuse what is not a finite, floating-point `[T]`."""
    if not isinstance(audio, Tensor) or audio.ndim != 1 or not audio.is_floating_point():
        came = f"{audio.dtype} {list(audio.shape)}" if isinstance(audio, Tensor) else type(audio).__name__
        raise InvalidAudio(f"audio is {came}, expected a floating-point tensor [samples]")
    if not audio.isfinite().all():
        raise InvalidAudio("audio has a sample that is not finite")


def require_finite(audio: Tensor) -> None:
    """Refuse to hand out audio `[B, T]` that is not finite: `SynthesisError`."""
    if not audio.isfinite().all():
        clip, sample = (~audio.isfinite()).nonzero()[0].tolist()
        value = audio[clip, sample].item()
        raise SynthesisError(f"sample {sample} of clip {clip} is {value}; the model cannot speak this mel")
