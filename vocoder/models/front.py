"""Whitening fronts: what the mel says of level and spectrum is divided out before the couplings begin.

A front is a flow ``[B, T] → [B, T]`` and a network that makes the flow's ``cond`` from the mel. Its ``reach``
says how many frames beside its own a group reads for that, its ``overlap`` how many groups each side a sample
shares. ``lengths [B]`` are frames.

Shape letters: B batch, T samples, M mel bands, L mel frames, G group size, S = T / G groups, C channels.
"""

from __future__ import annotations

from torch import Tensor, nn

from vocoder.features import MelSpec
from vocoder.flows import Chain, CholeskyWhiten, DiagonalWhiten, Inverse, LappedTransform, Squeezed
from vocoder.flows.flow import full_precision
from vocoder.models.envelope import SpectralEnvelope, toeplitz_covariance
from vocoder.nets.upsample import at_groups


class NoFront(nn.Module):
    """The published WaveGlow: the couplings see the audio itself."""

    reach, overlap = 0, 0

    def __init__(self) -> None:
        super().__init__()
        self.flow = Chain([])

    def condition(self, mel: Tensor, features: Tensor, lengths: Tensor | None = None) -> None:
        """Nothing to say."""


class LappedFront(nn.Module):
    """Overlapping blocks, each of whose spectral coefficients is divided by the deviation the mel gives it.

    ``z = D(mel)⁻¹ Q x``: Q the orthonormal lapped transform with blocks of N samples (`LappedTransform`), D
    diagonal, ``ln D = ½ ln P(frequency; mel) + r(features)``. P is the mel's own envelope
    (`SpectralEnvelope`), r a learned correction that starts at zero: what the bands blur, and the octave
    above their upper edge.

    With ``back_in_time``, ``z = Qᵀ D(mel)⁻¹ Q x``: a whitening filter that changes from block to block, whose
    output is a signal again.

    Args:
        spec: of the mel.
        block: N, even, a multiple of the group.
        group: G.
        channels: C of the features.
        back_in_time: whether Qᵀ follows.

    Shapes: ``[B, T] → [B, T]``; ``condition(mel [B, M, L], features [B, C, S]) → ln D [B, T]``.
    """

    reach = 1

    _response: Tensor

    def __init__(
        self, spec: MelSpec, block: int, group: int, channels: int, *, back_in_time: bool = False
    ) -> None:
        super().__init__()
        self.hop, self.block, self.groups = spec.hop_length, block, block // group
        self.overlap = (1 + back_in_time) * self.groups
        self.envelope = SpectralEnvelope(spec)
        self.correction = nn.Conv1d(channels, block, 1)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)  # type: ignore[arg-type]  # nn.Conv1d types its bias as optional
        transform = LappedTransform(block)
        back = [Inverse(transform)] if back_in_time else []
        self.flow = Chain([transform, DiagonalWhiten(), *back])
        self.register_buffer("_response", transform.power_response(spec.n_fft).float(), persistent=False)

    def condition(self, mel: Tensor, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """``ln D [B, T]``: of coefficient m of block s at s·N + m."""
        with full_precision(mel):
            by_frame = self._response.to(mel.dtype) @ self.envelope(mel)
        by_block = features.unflatten(2, (-1, self.groups)).mean(-1)
        power = at_groups(by_frame, by_block.shape[2], self.hop, self.block, lengths)
        return (0.5 * power.log() + self.correction(by_block)).transpose(1, 2).flatten(1)


class CholeskyFront(nn.Module):
    """Groups of G samples, each decorrelated by the Toeplitz covariance that the mel's spectrum implies.

    ``z = L⁻¹ x`` with ``L Lᵀ = C``, ``C[i, j] = r[|i − j|]``, r the inverse Fourier transform of the mel's
    envelope (`SpectralEnvelope`). Without parameters; blind to what two neighbouring groups have in common.

    Args:
        spec: of the mel.
        group: G.

    Shapes: ``[B, T] → [B, T]``; ``condition(mel [B, M, L], features [B, C, S]) → C [B, S, G, G]``, in
    float64.
    """

    reach, overlap = 1, 0

    def __init__(self, spec: MelSpec, group: int) -> None:
        super().__init__()
        self.hop, self.group = spec.hop_length, group
        self.envelope = SpectralEnvelope(spec)
        self.flow = Squeezed(group, CholeskyWhiten())

    def condition(self, mel: Tensor, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """``C [B, S, G, G]``."""
        power = at_groups(self.envelope(mel), features.shape[2], self.hop, self.group, lengths)
        # Loud speech stands 80 dB above the noise floor; single precision loses that, and C has no factor.
        return toeplitz_covariance(power.double(), self.group)
