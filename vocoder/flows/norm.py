"""Normalisation of channels: by a first batch, once and for all, or by every batch anew."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn

from vocoder.errors import InvalidConfig, InvalidInput
from vocoder.flows.flow import Flow, bounded, log_det_dtype, over_cells, per_channel, refuse_lengths
from vocoder.padding import cleared

Moments = tuple[Tensor, Tensor]  # mean and variance of every channel, [C] each

FLAT = 1e-6
"""A channel that deviates by less than this, relative to 1 and to its mean, is taken to be constant."""


class ActNorm(Flow):
    """Shift and scale every channel, so that the first batch comes out with mean 0 and variance 1.

    ``z[:, c] = (x[:, c] + b_c) · exp(s_c)``, ``log_det = S · Σ_c s_c`` for S positions (Kingma & Dhariwal
    2018, Glow, arXiv:1807.03039, section 3.1; shift first, and ``s = factor · log_scale``, as in its code).
    The first ``forward`` in training sets b and s, from then on they are learned. Until then, in evaluation,
    and in ``inverse``, an ActNorm that nobody has initialised is the identity.

    s is set within ±``bound``/2, and saturates smoothly towards ``bound`` beyond it. A constant channel, as
    are all in a batch of one vector, is shifted to zero and keeps its scale: it says nothing about another.

    Whether it was initialised is part of the state dict, and a loaded one is not initialised again. In a
    process group (DistributedDataParallel) all processes must take part in the first forward: they pool
    their moments, and so start equal. ``torch.compile`` it after the first forward.

    Args:
        channels: C, at least 1 (else `InvalidConfig`).
        factor: of the learned log-scale; 3 lets the scale learn faster than the rest.
        bound: largest ``|s|``. Not above zero, it is `InvalidConfig`.

    Shapes: ``[B, C, …]``, kept; another C is `InvalidInput`, and so is a first batch that is not finite.
    ``lengths`` only with sequences ``[B, C, S]``.

    Example:
        >>> import torch
        >>> ActNorm(1)(torch.tensor([[2.0], [6.0]]))[0].flatten().tolist()
        [-1.0, 1.0]
    """

    initialised: Tensor

    def __init__(self, channels: int, *, factor: float = 3.0, bound: float = 14.0) -> None:
        super().__init__()
        _check_config(channels, factor=factor, bound=bound)
        self.factor, self.bound = factor, bound
        self.bias = nn.Parameter(torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.register_buffer("initialised", torch.tensor(False))
        self._ready = False  # what a compiler can branch on; true only if `initialised` is
        self.register_load_state_dict_post_hook(_look_again)

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        _check_channels(self, x, len(self.bias))
        if self.training and not self._ready and not self.undoing:
            self._start(x, lengths)
        log_s = self._log_scale()
        z = (x + per_channel(self.bias, x)) * per_channel(log_s.exp(), x)
        return cleared(z, lengths), over_cells(log_s.sum(), x, lengths)

    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        _check_channels(self, z, len(self.bias))
        log_s = self._log_scale()
        x = z * per_channel((-log_s).exp(), z) - per_channel(self.bias, z)
        return cleared(x, lengths), -over_cells(log_s.sum(), z, lengths)

    @torch.no_grad()
    def initialise(self, x: Tensor, lengths: Tensor | None = None) -> None:
        """Set b and s by ``x``, whether they have been set before or not."""
        _check_channels(self, x, len(self.bias))
        mean, var = _pooled(_moments(x, lengths), x, lengths)
        if not (mean.isfinite().all() and var.isfinite().all()):
            raise InvalidInput(f"x (of shape {tuple(x.shape)}) must be finite to initialise an ActNorm by it")
        std = var.sqrt()
        flat = std <= FLAT * (1 + mean.abs())
        log_s = -torch.where(flat, 1.0, std).log().clamp(-self.bound / 2, self.bound / 2)
        self.bias.copy_(-mean)
        self.log_scale.copy_(log_s / self.factor)
        self.initialised.fill_(True)
        self._ready = True

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _start(self, x: Tensor, lengths: Tensor | None) -> None:
        self._ready = bool(self.initialised)
        if not self._ready:
            self.initialise(x, lengths)

    def _log_scale(self) -> Tensor:
        return bounded(self.factor * self.log_scale.to(log_det_dtype(self.log_scale)), self.bound)


class BatchNorm(Flow):
    """Normalise every channel by the moments of its batch: ``z = (x − μ) / √(σ² + ε)``, and learn nothing.

    ``log_det = −½ S · Σ_c ln(σ²_c + ε)`` for S positions (Dinh et al. 2016, RealNVP, arXiv:1605.08803,
    section 3.7): that of the map with these moments. In training they are the batch's, so that items of a
    batch do touch one another, and gradients flow through them; in evaluation they are running averages,
    ``running ← (1 − m) · running + m · batch`` (the first batch counts whole, the k-th at least 1/k).

    With ``running`` training normalises by the running averages too, right after they have moved, and
    gradients flow through the share that the batch has in them (appendix E there: for small batches).

    ``inverse`` always uses the running averages, as does RealNVP's code: what comes out is then a draw from
    the one density that evaluation has, whatever batch was last seen. So in training it does not undo
    ``forward``, unless with ``running``; a reversible chain does, with the moments of that very call.

    Of several processes each takes the moments of its own batch, and the first one's averages are kept.

    Args:
        channels: C, at least 1 (else `InvalidConfig`).
        momentum: m, in (0, 1] (else `InvalidConfig`).
        running: the second variant.
        eps: ε, above zero (else `InvalidConfig`): nothing is magnified by more than 1/√ε.

    Shapes: ``[B, C, …]``, kept; another C is `InvalidInput`. ``lengths`` only with sequences ``[B, C, S]``.

    Example:
        >>> import torch
        >>> z, log_det = BatchNorm(1)(torch.tensor([[2.0], [6.0]]))
        >>> [round(value, 3) for value in z.flatten().tolist()], round(log_det[0].item(), 3)  # −ln 2
        ([-1.0, 1.0], -0.693)
    """

    mean: Tensor
    var: Tensor
    batches: Tensor
    _used: Tensor

    def __init__(
        self, channels: int, momentum: float = 0.1, running: bool = False, *, eps: float = 1e-4
    ) -> None:
        super().__init__()
        _check_config(channels, momentum=momentum, eps=eps)
        if momentum > 1:
            raise InvalidConfig(f"momentum (= {momentum}) must be at most 1")
        self.momentum, self.running, self.eps = momentum, running, eps
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))
        self.register_buffer("batches", torch.tensor(0))
        self.register_buffer("_used", torch.zeros(2, channels), persistent=False)

    def forward(
        self, x: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        _check_channels(self, x, len(self.mean))
        mean, log_std = self._kept() if self.undoing else self._of_batch(x, lengths)
        z = (x - per_channel(mean, x)) * per_channel((-log_std).exp(), x)
        return cleared(z, lengths), -over_cells(log_std.sum(), x, lengths)

    def inverse(
        self, z: Tensor, cond: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        _check_channels(self, z, len(self.mean))
        mean, log_std = self._kept() if self.undoing else self._keep(self._averages())
        x = z * per_channel(log_std.exp(), z) + per_channel(mean, z)
        return cleared(x, lengths), over_cells(log_std.sum(), z, lengths)

    def _of_batch(self, x: Tensor, lengths: Tensor | None) -> Moments:
        """Mean and log-deviation that ``x`` is normalised by; in training the averages move on."""
        if not self.training:
            return self._keep(self._averages())
        batch, before, batches = _moments(x, lengths), self._averages(), self.batches + 1
        weight = (1 / batches).clamp(min=self.momentum).to(batch[0].dtype)
        mean, var = ((1 - weight) * old + weight * new for old, new in zip(before, batch, strict=True))
        self._write(mean=mean, var=var, batches=batches)
        return self._keep((mean, var) if self.running else batch)

    def _averages(self) -> Moments:
        return self.mean.to(log_det_dtype(self.mean)), self.var.to(log_det_dtype(self.var))

    def _keep(self, moments: Moments) -> Moments:
        """Mean and log-deviation of ``moments``, remembered in training in case the call is undone."""
        mean, log_std = moments[0], 0.5 * (moments[1] + self.eps).log()
        if self.training:
            self._write(_used=torch.stack([mean, log_std]))
        return mean, log_std

    def _write(self, **buffers: Tensor) -> None:
        """Into the buffers; in a compiled graph, in their place.

        There torch 2.11 may compute again, for the backward pass, what the forward pass has read from a
        buffer, from what it has written into it, and answer with a wrong gradient (pytorch#197039).
        """
        for name, value in buffers.items():
            buffer = self.get_buffer(name)
            if torch.compiler.is_compiling():
                setattr(self, name, value.detach().to(buffer.dtype))
            else:
                buffer.copy_(value.detach())

    def _kept(self) -> Moments:
        """Those of the call that is being undone; in evaluation all calls have the same."""
        if not self.training:
            return self._keep(self._averages())
        mean, log_std = self._used.to(log_det_dtype(self._used)).unbind()
        return mean, log_std


def _check_config(channels: int, **positive: float) -> None:
    if channels < 1:
        raise InvalidConfig(f"channels (= {channels}) must be at least 1")
    for name, value in positive.items():
        if not value > 0:
            raise InvalidConfig(f"{name} (= {value}) must be above zero")


def _check_channels(flow: Flow, x: Tensor, channels: int) -> None:
    flow.check_rank(x)
    if x.shape[1] != channels:
        rule = f"{type(flow).__name__} takes x of shape [B, {channels}, …]"
        raise InvalidInput(f"{rule}, got {tuple(x.shape)}")


def _look_again(norm: ActNorm, _: Any) -> None:
    norm._ready = bool(norm.initialised)


def _moments(x: Tensor, lengths: Tensor | None) -> Moments:
    """Mean and variance ``[C]`` over items and positions; the variance divided by n, for n may be 1."""
    x = x.to(log_det_dtype(x))
    axes = [0, *range(2, x.ndim)]
    if lengths is None:
        var, mean = torch.var_mean(x, axes, correction=0)
        return mean, var
    refuse_lengths(x, lengths)
    count = lengths.sum()
    mean = cleared(x, lengths).sum(axes) / count
    return mean, cleared((x - per_channel(mean, x)).square(), lengths).sum(axes) / count


def _pooled(moments: Moments, x: Tensor, lengths: Tensor | None) -> Moments:
    """Those of the batches of all processes together, if there are several."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return moments
    mean, var = moments
    count = over_cells(torch.ones_like(mean[0]), x, lengths).sum()
    share = count / _total(count)
    whole = _total(share * mean)
    return whole, _total(share * (var + (mean - whole).square()))


def _total(part: Tensor) -> Tensor:
    total = part.clone()
    distributed.all_reduce(total)
    return total
