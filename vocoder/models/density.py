"""One front for every flow that is a density of images or vectors: score, draw, encode, compare in bits.

Letters: B batch, D numbers in one item.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vocoder.errors import InvalidInput
from vocoder.flows import Centre, Flow, Logit, Prior, dequantise, quantise
from vocoder.models.density_config import DensityConfig, Preprocess

__all__ = ["DensityModel", "fewer_bits", "preprocessing"]


class DensityModel(nn.Module):
    """A density that is a flow: ``log p(x) = log p(z) + log |det ∂z/∂x|``, ``z = flow(x)``.

    All that a model does to its data belongs to the flow, preprocessing included, so that densities of
    different models are densities of the same thing: pixels in [0, 1). All that it factors out early is made
    a standard normal on its way, so that z has the shape of x, and a temperature acts at every level.

    Whoever samples a model that normalises by its batch has to put it into evaluation mode first.

    Args:
        flow: ``[B, *shape] → [B, *shape]``.
        prior: of z.
        shape: of one x.
        levels: grey levels of a pixel, or ``None`` for data that is continuous.
        classes: of a class-conditional density, how many; every ``cond`` is then a class for each item,
            integers ``[B]``, and has to be given. With none, the default, there is no ``cond``.

    Shapes: ``x``, ``z`` ``[B, *shape]``; raises `InvalidInput` for another, and for a ``cond`` that is not as
    above.

    Example:
        >>> from vocoder.flows import Chain, GaussianPrior
        >>> model = DensityModel(Chain([]), GaussianPrior(), (2,), levels=None)
        >>> round(model.log_prob(torch.zeros(1, 2)).item(), 4)  # −ln 2π
        -1.8379
    """

    config: DensityConfig  # of a model that is built from one

    def __init__(
        self, flow: Flow, prior: Prior, shape: tuple[int, ...], levels: int | None, classes: int = 0
    ) -> None:
        super().__init__()
        self.flow, self.prior = flow, prior
        self.shape, self.levels, self.classes = tuple(shape), levels, classes

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """`log_prob`: what is trained, and so what is called through a wrapper."""
        return self.log_prob(x, cond)

    def log_prob(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log p(x | cond)`` ``[B]`` in nats, of data in its own units (pixels in [0, 1))."""
        self._check("x", x, cond)
        z, log_det = self.flow(x, cond)
        return self.prior.log_prob(z) + log_det

    def encode(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """The latent of ``x``."""
        self._check("x", x, cond)
        z, _ = self.flow(x, cond)
        return z

    def decode(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        """The data of the latent ``z``, what `encode` undoes."""
        self._check("z", z, cond)
        x, _ = self.flow.inverse(z, cond)
        return x

    @torch.no_grad()
    def sample(
        self, n: int, *, temperature: float = 1.0, seed: int = 0, cond: Tensor | None = None
    ) -> Tensor:
        """``n`` draws ``[n, *shape]``, a function of the seed; ``temperature`` multiplies the latents."""
        z = self.prior.sample((n, *self.shape), seed, temperature)
        return self.decode(z.to(self._like()), cond)

    def sample_images(
        self, n: int, *, temperature: float = 1.0, seed: int = 0, cond: Tensor | None = None
    ) -> Tensor:
        """`sample`, as the integers 0 … levels − 1 whose cells the draws lie in: int64 ``[n, *shape]``.

        A draw itself may lie a little outside of [0, 1), as an undone logit and a Gaussian do; that is given
        the nearest integer. Raises `InvalidInput` for a model of continuous data, and for draws that are not
        finite, which have no integer.
        """
        if self.levels is None:
            raise InvalidInput("images are of integers; the model has continuous data")
        x = self.sample(n, temperature=temperature, seed=seed, cond=cond)
        if not x.isfinite().all():
            lost = int((~x.isfinite()).flatten(1).any(1).sum())
            raise InvalidInput(f"{lost} of {n} draws are not finite at temperature {temperature:g}")
        return quantise(x.float() if x.dtype.itemsize < 4 else x, self.levels)

    @torch.no_grad()
    def bits_per_dim(self, images: Tensor, *, seed: int = 0, cond: Tensor | None = None) -> Tensor:
        """``−log₂ P(images) / D`` ``[B]`` of integers 0 … levels − 1, an upper bound (Theis et al. 2016).

        Noise on [0, 1), a function of the seed, makes the integers real; then
        ``log₂ levels − log p((images + u) / levels) / (D ln 2)``. Raises `InvalidInput` for other images,
        and for a model of continuous data.
        """
        if self.levels is None:
            raise InvalidInput("bits per dimension are those of integers; the model has continuous data")
        noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(seed))
        x = dequantise(images, self.levels, noise.to(images.device)).to(self._like().dtype)
        nats = self.log_prob(x, cond) / math.prod(self.shape)
        return math.log2(self.levels) - nats / math.log(2)

    @torch.no_grad()
    def interpolate(self, x0: Tensor, x1: Tensor, steps: int, cond: Tensor | None = None) -> Tensor:
        """From ``x0`` to ``x1``, both ``[*shape]``, in equal steps of the latent: ``[steps, *shape]``.

        ``cond`` is one class, ``[1]``, for both (Kingma & Dhariwal 2018, Glow, section 5.1).
        """
        z0, z1 = self.encode(torch.stack([x0, x1]), _repeated(cond, 2))
        weight = torch.linspace(0, 1, steps, device=z0.device, dtype=z0.dtype)
        weight = weight.view(-1, *[1] * z0.ndim)
        return self.decode((1 - weight) * z0 + weight * z1, _repeated(cond, steps))

    @torch.no_grad()
    def manifold(self, corners: Tensor, steps: int, cond: Tensor | None = None) -> Tensor:
        """The surface in latent space through four x, ``[4, *shape] → [steps, steps, *shape]``.

        ``z = cos φ (cos φ' z₁ + sin φ' z₂) + sin φ (cos φ' z₃ + sin φ' z₄)``, both angles over
        ``steps`` equal parts of a full turn (Dinh et al. 2016, RealNVP, eq. 19).
        """
        z = self.encode(corners, _repeated(cond, 4)).flatten(1)
        angle = torch.arange(steps, device=z.device, dtype=z.dtype) * (2 * math.pi / steps)
        turn = torch.stack([angle.cos(), angle.sin()], 1)  # [steps, 2]
        surface = torch.einsum("ia,jb,abd->ijd", turn, turn, z.unflatten(0, (2, 2)))
        x = self.decode(surface.reshape(-1, *self.shape), _repeated(cond, steps**2))
        return x.unflatten(0, (steps, steps))

    @torch.no_grad()
    def direction(self, having: Tensor, lacking: Tensor, cond: Tensor | None = None) -> Tensor:
        """The step in latent space from those that lack an attribute to those that have it, ``[*shape]``.

        ``mean z(having) − mean z(lacking)``: ``decode(encode(x) + 1.6 · direction)`` gives x the attribute
        (Kingma & Dhariwal 2018, Glow, section 5.1; 1.6 is their demonstration's). ``cond`` is one class.
        """
        means = [self.encode(x, _repeated(cond, len(x))).mean(0) for x in (having, lacking)]
        return means[0] - means[1]

    @torch.no_grad()
    def initialise(self, x: Tensor, cond: Tensor | None = None) -> None:
        """Let layers that set themselves up by the first data they see (ActNorm) see ``x``, in training mode.

        Without it, that is the first batch of the training.
        """
        modes = {module: module.training for module in self.modules()}
        self.train()
        try:
            self.encode(x, cond)
        finally:
            for module, mode in modes.items():
                module.training = mode

    def _like(self) -> Tensor:
        """A tensor of the device and the dtype that the model computes with."""
        return next((p for p in self.parameters()), torch.empty(0))

    def _check(self, name: str, x: Tensor, cond: Tensor | None) -> None:
        if x.ndim != 1 + len(self.shape) or tuple(x.shape[1:]) != self.shape:
            raise InvalidInput(f"{name} has shape {tuple(x.shape)}, expected [batch, *{self.shape}]")
        if not self.classes:
            if cond is not None:
                raise InvalidInput("cond must be None: the model was not made for classes")
        elif cond is None or not self._are_classes(cond, len(x)):
            raise InvalidInput(f"cond must be {len(x)} classes, int64 below {self.classes}, got {cond}")

    def _are_classes(self, cond: Tensor, n: int) -> bool:
        if cond.shape != (n,) or cond.dtype != torch.int64:
            return False
        # A compiler cannot branch on values; there, a class out of range is an error of the table's.
        return torch.compiler.is_compiling() or bool(((cond >= 0) & (cond < self.classes)).all())


def preprocessing(kind: Preprocess) -> list[Flow]:
    """The flows that a configuration's ``preprocess`` stands for."""
    if kind == "none":
        return []
    return [Centre() if kind == "centre" else Logit()]


def fewer_bits(images: Tensor, bits: int) -> Tensor:
    """Images of 256 levels as images of 2^bits: ``⌊images / 2^(8 − bits)⌋`` (Glow's ``n_bits``, 5 for faces).

    Example:
        >>> fewer_bits(torch.tensor([7, 8, 255]), 5).tolist()
        [0, 1, 31]
    """
    if not 1 <= bits <= 8:
        raise InvalidInput(f"bits (={bits}) must be within 1 … 8")
    return images >> (8 - bits)


def _repeated(cond: Tensor | None, n: int) -> Tensor | None:
    return None if cond is None else cond.reshape(1).expand(n)
