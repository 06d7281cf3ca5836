"""Other frames of the same mel: HiFi-GAN's, which lie between ours.

Letters: B batch, T samples, M mel bands, L mel frames.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from vocoder.errors import InvalidMel
from vocoder.features.scales import Convention

if TYPE_CHECKING:
    from vocoder.features.spec import MelSpec

__all__ = ["HifiGan"]

FLOOR = 1e-5
TAPS = (-1 / 16, 9 / 16, 9 / 16, -1 / 16)  # of the cubic through four, halfway between the inner two


@dataclass(frozen=True)
class HifiGan(Convention):
    """Natural logarithms, as ours, of frames that are centred half a hop later.

    ```
    sample      0        hop       2·hop      3·hop
    ours        0         1          2          3          centred on k·hop, 1 + T // hop frames
    theirs           0          1          2               centred on k·hop + hop/2, T // hop frames
    ```

    So L frames of theirs are L + 1 of ours, and speak (L + 1)·hop samples; the first L · hop are those that
    HiFi-GAN would make. The frames are mirrored at their ends, since the audio is, and logarithms are read
    between them by a cubic: ``(-y₋₁ + 9·y₀ + 9·y₁ - y₂)/16``.

    On recorded speech the mel so made is off from the mel of the same audio by 0.084 nats, the mean of
    |difference|; a straight line would be by 0.106, and theirs taken for ours is by 0.260. The 1e-9 under
    HiFi-GAN's root is not undone: it adds 0.01 nats at the floor, and less above it.
    """

    formula: ClassVar[str] = "ln(max(W √(|STFT|² + 1e-9), 1e-5)), center=False, (n_fft - hop)/2 mirrored"
    source: ClassVar[str] = "jik876/hifi-gan, meldataset.py, mel_spectrogram"

    def to_ln(self, mel: Tensor, spec: "MelSpec") -> Tensor:
        return _between(_lengthened(mel, (1, 0), (-1, -2)))

    def from_ln(self, mel: Tensor, spec: "MelSpec") -> Tensor:
        """ln x → theirs, one frame fewer: L - 1."""
        if mel.shape[-1] < 2:
            raise InvalidMel("mel has 1 frame, expected at least 2: HiFi-GAN's frames lie between ours")
        return _between(_lengthened(mel, (1,), (-2,))).clamp(min=math.log(FLOOR))


def _lengthened(mel: Tensor, before: Sequence[int], behind: Sequence[int]) -> Tensor:
    """Frames `[…, L]` with those of these numbers again before and behind them, or with the only one."""
    first, last = ([number % mel.shape[-1] for number in numbers] for numbers in (before, behind))
    return torch.cat([mel[..., first], mel, mel[..., last]], dim=-1)


def _between(frames: Tensor) -> Tensor:
    """What lies halfway between neighbours: `[…, L + 3]` → `[…, L]`."""
    taps = torch.tensor(TAPS, dtype=frames.dtype, device=frames.device)
    return F.conv1d(frames.reshape(-1, 1, frames.shape[-1]), taps[None, None]).reshape(*frames.shape[:-1], -1)
