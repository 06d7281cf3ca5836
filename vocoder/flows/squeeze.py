"""Grouping of samples, or of pixels, into channels, and flows that work inside such a grouping."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vocoder.errors import InvalidConfig, InvalidInput
from vocoder.flows.flow import Flow, refuse_lengths, zero_log_det


class Squeeze(Flow):
    """Fold G neighbouring samples into channels (Prenger et al. 2018, WaveGlow, arXiv:1811.00002, section 2).

    ::

        x [B, T]      x0 x1 x2 x3 | x4 x5 x6 x7 | …           G = 4, S = T / G
        z [B, G, S]   x0 x4 …
                      x1 x5 …      channel g of group s is sample s·G + g
                      x2 x6 …
                      x3 x7 …

    A permutation of the samples, hence ``log_det = 0``.

    Args:
        group: G, at least 1 (else `InvalidConfig`); T must be a multiple of it (else `InvalidInput`).

    Example:
        >>> import torch
        >>> Squeeze(2)(torch.arange(4.0)[None])[0].tolist()
        [[[0.0, 2.0], [1.0, 3.0]]]
    """

    rank = 2

    def __init__(self, group: int) -> None:
        super().__init__()
        if group < 1:
            raise InvalidConfig(f"group (= {group}) must be at least 1")
        self.group = group

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        self.check_rank(x)
        if x.shape[1] == 0 or x.shape[1] % self.group:
            rule = f"must be a positive multiple of group (= {self.group})"
            raise InvalidInput(f"samples (= {x.shape[1]}) {rule}")
        return x.unflatten(1, (-1, self.group)).transpose(1, 2), zero_log_det(x)

    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        if z.ndim != 3 or z.shape[1] != self.group:
            raise InvalidInput(f"Squeeze takes z of shape [B, {self.group}, S], got {tuple(z.shape)}")
        return z.transpose(1, 2).flatten(1), zero_log_det(z)


class Squeezed(Flow):
    """Run ``inner`` on the squeezed signal and un-squeeze on exit: ``[B, T] → [B, T]``.

    ``z = squeeze⁻¹(inner(squeeze(x)))``; the log-determinant is ``inner``'s, and ``cond`` goes to ``inner``
    as it is. Sample s·G + c of z is the latent channel c of group s. ``lengths`` are whole groups.

    Args:
        group: G, as in `Squeeze`, and with its errors.
        inner: a flow ``[B, G, S] → [B, G, S]``.

    Example:
        >>> import torch
        >>> from vocoder.flows import Reverse, Squeezed
        >>> Squeezed(2, Reverse())(torch.arange(4.0)[None])[0].tolist()
        [[1.0, 0.0, 3.0, 2.0]]
    """

    rank = 2

    def __init__(self, group: int, inner: Flow) -> None:
        super().__init__()
        self.squeeze = Squeeze(group)
        self.inner = inner

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        groups, _ = self.squeeze(x)
        z, log_det = self.inner(groups, cond, self._groups(lengths))
        return self.squeeze.inverse(z)[0], log_det

    def local(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        groups, _ = self.squeeze(x)
        z, log_det = self.inner.local(groups, cond, self._groups(lengths))
        shares = (log_det / self.squeeze.group).repeat_interleave(self.squeeze.group, 1)
        return self.squeeze.inverse(z)[0], shares  # a group's samples are told apart by no flow inside

    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        self.check_rank(z)
        groups, _ = self.squeeze(z)
        x, log_det = self.inner.inverse(groups, cond, self._groups(lengths))
        return self.squeeze.inverse(x)[0], log_det

    def steps(self) -> list[Flow]:
        return [Squeezed(self.squeeze.group, step) for step in self.inner.steps()]

    def _groups(self, lengths: Tensor | None) -> Tensor | None:
        return None if lengths is None else lengths // self.squeeze.group


class Squeeze2d(Flow):
    """Fold squares of 2 × 2 pixels into channels: ``[B, C, H, W] → [B, 4C, H/2, W/2]``.

    ::

        x  pixels a b     z, ordered=False   [a₀ b₀ c₀ d₀ | a₁ b₁ c₁ d₁ | …]       channel by channel
                  c d     z, ordered=True    [a₀ a₁ … | d₀ d₁ … | b₀ b₁ … | c₀ c₁ …]    pixel by pixel

    The first is Glow's, and RealNVP's between couplings. The second is that of RealNVP's code where half of
    the channels leave: the half that stays is the diagonal of every square, an image of every other pixel as
    in a checkerboard (Dinh et al. 2016, arXiv:1605.08803, section 3.6). ``log_det = 0``.

    Args:
        ordered: pixel by pixel instead.

    Shapes: H and W even and not 0 in ``forward``, channels a multiple of 4 in ``inverse`` (else
        `InvalidInput`); no ``lengths``.

    Example:
        >>> import torch
        >>> x = torch.arange(4.0).view(1, 1, 2, 2)
        >>> Squeeze2d()(x)[0].flatten().tolist(), Squeeze2d(ordered=True)(x)[0].flatten().tolist()
        ([0.0, 1.0, 2.0, 3.0], [0.0, 3.0, 1.0, 2.0])
    """

    rank = 4

    def __init__(self, ordered: bool = False) -> None:
        super().__init__()
        self.ordered = ordered

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        self.check_rank(x)
        refuse_lengths(x, lengths)
        if 0 in x.shape[2:] or any(size % 2 for size in x.shape[2:]):
            raise InvalidInput(f"Squeeze2d takes x of even height and width, got shape {tuple(x.shape)}")
        return _by_pixel(x) if self.ordered else F.pixel_unshuffle(x, 2), zero_log_det(x)

    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        self.check_rank(z)
        refuse_lengths(z, lengths)
        if z.shape[1] % 4:
            raise InvalidInput(f"Squeeze2d takes z of 4C channels, got shape {tuple(z.shape)}")
        return _from_pixels(z) if self.ordered else F.pixel_shuffle(z, 2), zero_log_det(z)


class Squeezed2d(Flow):
    """Run ``inner`` on the squeezed image and un-squeeze on exit: ``[B, C, H, W] → [B, C, H, W]``.

    ``z = squeeze⁻¹(inner(squeeze(x)))``, so that z is an image, a latent channel of a square one of its
    pixels; the log-determinant is ``inner``'s, and ``cond`` goes to ``inner`` as it is.

    Args:
        inner: a flow ``[B, 4C, H/2, W/2] → [B, 4C, H/2, W/2]``.
        ordered: as in `Squeeze2d`, whose errors it has.

    Example:
        >>> import torch
        >>> from vocoder.flows import Reverse, Squeezed2d
        >>> Squeezed2d(Reverse())(torch.arange(4.0).view(1, 1, 2, 2))[0].flatten().tolist()
        [3.0, 2.0, 1.0, 0.0]
    """

    rank = 4

    def __init__(self, inner: Flow, ordered: bool = False) -> None:
        super().__init__()
        self.squeeze = Squeeze2d(ordered)
        self.inner = inner

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        squares, _ = self.squeeze(x, None, lengths)
        z, log_det = self.inner(squares, cond)
        return self.squeeze.inverse(z)[0], log_det

    def local(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        squares, _ = self.squeeze(x, None, lengths)
        z, log_det = self.inner.local(squares, cond)
        return self.squeeze.inverse(z)[0], (log_det / 2).repeat_interleave(2, 1)  # two columns of pixels

    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        squares, _ = self.squeeze(z, None, lengths)
        x, log_det = self.inner.inverse(squares, cond)
        return self.squeeze.inverse(x)[0], log_det

    def steps(self) -> list[Flow]:
        return [Squeezed2d(step, self.squeeze.ordered) for step in self.inner.steps()]


def _by_pixel(x: Tensor) -> Tensor:
    upper, lower = x[..., 0::2, :], x[..., 1::2, :]
    return torch.cat([upper[..., 0::2], lower[..., 1::2], upper[..., 1::2], lower[..., 0::2]], 1)


def _from_pixels(z: Tensor) -> Tensor:
    upper_left, lower_right, upper_right, lower_left = z.chunk(4, 1)
    upper = torch.stack([upper_left, upper_right], -1).flatten(-2)
    lower = torch.stack([lower_left, lower_right], -1).flatten(-2)
    return torch.stack([upper, lower], -2).flatten(-3, -2)
