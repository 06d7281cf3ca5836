"""The pitch of a recording, frame by frame, as an acoustic model is taught it.

Letters: T samples, L mel frames.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from vocoder.errors import InvalidInput
from vocoder.features import MelSpec

__all__ = ["track"]

LOWEST, HIGHEST = 65.0, 500.0  # hertz


def track(audio: np.ndarray, spec: MelSpec, frames: int) -> np.ndarray:
    """f0 ``[L]`` in hertz at the centres of the mel's frames, 0 where nothing is voiced, float32.

    Probabilistic YIN (Mauch & Dixon 2014) as librosa has it, within 65 … 500 Hz in steps of 20 cents, and
    then the median of five frames, voiced ones only, which takes off single jumps of an octave. It comes with
    the extra ``train``.
    """
    found, voiced, _ = _librosa().pyin(
        audio, fmin=LOWEST, fmax=HIGHEST, sr=spec.sample_rate, frame_length=spec.n_fft,
        hop_length=spec.hop_length, resolution=0.2,
    )  # fmt: skip
    f0 = np.where(voiced, found, np.nan)[:frames]
    whole = np.pad(f0, (0, frames - len(f0)), constant_values=np.nan)
    return np.nan_to_num(_median(whole)).astype(np.float32)


def _median(f0: np.ndarray) -> np.ndarray:
    """The median of the voiced among five frames, where the middle one is voiced."""
    windows = np.sort(np.lib.stride_tricks.sliding_window_view(np.pad(f0, 2, constant_values=np.nan), 5), 1)
    voiced = np.isfinite(windows).sum(1)  # sorted, they stand in front
    middle = np.take_along_axis(windows, np.maximum(voiced - 1, 0)[:, None] // 2, 1)[:, 0]
    return np.where(np.isnan(f0), np.nan, middle)


def _librosa() -> Any:
    try:
        return import_module("librosa")
    except ModuleNotFoundError as error:
        command = 'pip install "flow-vocoder[train]"'
        raise InvalidInput(f"the pitch of recordings needs librosa, which comes with: {command}") from error
