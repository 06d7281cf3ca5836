"""Glow: one step against an independent derivation, the published count, its priors, and its bounds."""

import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.golden import reference_glow
from tests.vocoder.laws import stirred
from vocoder.errors import InvalidConfig
from vocoder.flows import ActNorm, AffineCoupling, Chain, InvertibleConv1x1, Split
from vocoder.models.catalogue import PRESETS, preset
from vocoder.models.glow import Glow, GlowConfig, TopPrior
from vocoder.nets.convnet import BorderConv, GlowNet, ZeroConv

SMALL = {"shape": (1, 4, 4), "levels": 17, "scales": 2, "steps": 1, "width": 6, "mix": "dense", "bound": None}


def glow(scale: float = 0.2, **choices: object) -> Glow:
    """A small one in float64, away from where it starts, in evaluation mode."""
    config = GlowConfig(**{**SMALL, **choices})  # type: ignore[arg-type]
    return stirred(Glow(config).double(), scale).eval()


def channels_last(x: Tensor) -> reference_glow.Array:
    """An image as the authors' code has it."""
    return x.detach().movedim(1, -1).numpy()


def in_turn(weight: reference_glow.Array) -> reference_glow.Array:
    """Ours answer all shifts and then all scales; the authors' have them in turn along the last axis."""
    return np.stack(np.split(weight, 2, axis=-1), -1).reshape(weight.shape)


def filters(conv: BorderConv) -> reference_glow.Array:
    """``[3, 3, in + 1, out]``."""
    return conv.weight.detach().permute(2, 3, 1, 0).numpy()


def zero_conv(name: str, conv: ZeroConv) -> Mapping[str, reference_glow.Array]:
    """Its weights in the authors' order."""
    assert conv.conv.bias is not None
    found = {
        f"{name}.W": filters(conv.conv),
        f"{name}.b": conv.conv.bias.detach().numpy(),
        f"{name}.logs": conv.log_gain.detach().numpy(),
    }
    return {key: in_turn(value) for key, value in found.items()}


def norm(name: str, layer: nn.Module) -> Mapping[str, reference_glow.Array]:
    """Those of an ActNorm."""
    assert isinstance(layer, ActNorm)
    return {f"{name}.b": layer.bias.detach().numpy(), f"{name}.logs": layer.log_scale.detach().numpy()}


def part(model: nn.Module, kind: type[nn.Module]) -> nn.Module:
    """The first of a kind."""
    return next(found for found in model.modules() if isinstance(found, kind))


def weights(model: Glow) -> reference_glow.Weights:
    """Those of the first step, and of what factors out behind it, as the reference wants them."""
    mix, net = part(model, InvertibleConv1x1), part(model, GlowNet)
    assert isinstance(mix, InvertibleConv1x1) and isinstance(net, GlowNet)
    pool = [layer for layer in model.modules() if isinstance(layer, AffineCoupling)][1].conditioner
    assert isinstance(pool, ZeroConv)
    return {
        **norm("actnorm", part(model, ActNorm)),
        "W": mix.matrix().detach().T.numpy(),
        "l_1.W": filters(net.start),
        **norm("l_1", net.start_norm),
        "l_2.W": net.middle.weight.detach()[:, :, 0, 0].T.numpy(),
        **norm("l_2", net.middle_norm),
        **zero_conv("l_last", net.end),
        **zero_conv("pool", pool),
        "pool.W": -in_turn(filters(pool.conv)),  # ours adds what theirs subtracts
        "pool.b": -zero_conv("pool", pool)["pool.b"],
    }


@pytest.mark.parametrize("mix", ["dense", "plu"])
def test_a_step_is_the_authors(mix: str) -> None:
    """Squeeze, ActNorm, 1×1 convolution, coupling and factoring out: a derivation in NumPy says the same."""
    model = first_scale(mix)
    x = torch.rand(3, 2, 8, 4, dtype=torch.float64)
    theirs = weights(model)
    expected, log_det = reference_glow.step(reference_glow.squeeze(channels_last(x)), theirs)
    kept, left, left_log_det = reference_glow.split(expected, theirs)
    z, found_log_det = model.flow(x)
    squeezed = channels_last(nn.functional.pixel_unshuffle(z, 2))
    np.testing.assert_allclose(squeezed[..., :4], kept, rtol=0, atol=1e-10)
    np.testing.assert_allclose(squeezed[..., 4:], left, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found_log_det.detach().numpy(), log_det + left_log_det, rtol=0, atol=1e-10)


def first_scale(mix: str) -> Glow:
    """A model whose second scale does nothing, so that what is kept can be seen."""
    model = glow(shape=(2, 8, 4), preprocess="none", mix=mix)
    inner = part(model, Split)
    assert isinstance(inner, Split)
    inner.inner = Chain([])
    return model


def published(channels: int, width: int) -> int:
    """Weights of an affine step: ActNorm, W, and the network with its border channels, norms and gains."""
    net = 9 * (channels // 2 + 1) * width + 2 * width + width**2 + 2 * width + 9 * (width + 1) * channels
    return 2 * channels + channels**2 + net + 2 * channels


def test_the_published_count() -> None:
    """CIFAR-10, affine: 44.6 million weights, and exactly those that the authors' code declares."""
    with torch.device("meta"):
        model = Glow(GlowConfig.cifar10())
    steps = 32 * sum(published(channels, 512) for channels in (12, 24, 48))
    priors = [(6, 12), (12, 24), (96, 96)]  # what leaves twice, and the top
    ends = sum(9 * (read + 1) * answered + 2 * answered for read, answered in priors)
    assert sum(weight.numel() for weight in model.parameters()) == steps + ends == 44_603_604


def test_it_starts_as_a_shrinking_rotation() -> None:
    """Networks and priors start at zero: what couplings change shrinks by sigmoid(2), and that is all."""
    model, x = Glow(GlowConfig(**SMALL)).double().eval(), torch.rand(3, 1, 4, 4).double()  # type: ignore[arg-type]
    log_det = model(x) - model.prior.log_prob(model.encode(x))
    shrunk = (8 + 4) * torch.tensor(2.0).double().sigmoid().log()  # half of 16 pixels, and half of the 8 left
    torch.testing.assert_close(log_det, shrunk.expand(3), rtol=0, atol=1e-6)


def test_what_leaves_is_standardised_by_what_stays() -> None:
    """z of a pixel that left is (x − μ) / σ of what its neighbours that stayed say: it moves with them."""
    model = first_scale("dense")
    coupling = [layer for layer in model.modules() if isinstance(layer, AffineCoupling)][1]
    x = torch.rand(2, 8, 4, 2, dtype=torch.float64)
    answer = coupling.conditioner(x[:, :4], None)
    mean, log_std = -answer[:, :4], -answer[:, 4:]
    z, log_det = coupling(x)
    torch.testing.assert_close(z[:, 4:], (x[:, 4:] - mean) * (-log_std).exp(), rtol=0, atol=1e-12)
    torch.testing.assert_close(log_det, -log_std.sum((1, 2, 3)), rtol=0, atol=1e-12)


def test_the_top_prior_knows_the_border() -> None:
    """What is learned at the top is one mean inside and others along the frame."""
    top = stirred(TopPrior(2)).double()
    mean, _ = top.inverse(torch.zeros(1, 2, 6, 6, dtype=torch.float64))
    inside = mean[..., 1:-1, 1:-1]
    torch.testing.assert_close(inside, inside[..., :1, :1].expand_as(inside), rtol=0, atol=1e-12)
    assert (mean[..., 0, :] != inside[..., 0, :1]).all()


@pytest.mark.parametrize("learned", [30.0, -30.0])
def test_the_top_prior_is_bounded(learned: float) -> None:
    """However far its log σ is driven, it stays within the bound."""
    top = TopPrior(2, bound=1.5)
    torch.nn.init.constant_(top.net.conv.bias, learned)  # type: ignore[arg-type]
    _, log_det = top(torch.zeros(1, 2, 2, 2))
    assert log_det.abs().item() == pytest.approx(1.5 * 8)


def test_classes_have_densities_of_their_own() -> None:
    """A class changes the likelihood and the draws; items of one batch may be of several."""
    model, x = glow(classes=3), torch.rand(3, 1, 4, 4, dtype=torch.float64)
    by_class = [model(x, torch.full((3,), label)) for label in range(3)]
    mixed = model(x, torch.tensor([2, 0, 1]))
    torch.testing.assert_close(mixed, torch.stack([by_class[2][0], by_class[0][1], by_class[1][2]]))
    assert not torch.isclose(by_class[0], by_class[1]).any()
    drawn = [model.sample(2, seed=1, cond=torch.full((2,), label)) for label in (0, 1)]
    assert not torch.isclose(drawn[0], drawn[1]).any()


@pytest.mark.parametrize("mix", ["swap", "reverse", "shuffle"])
def test_mixing_is_a_choice(mix: str) -> None:
    """The rivals of the convolution have no weights, and every channel is changed all the same."""
    model, x = glow(mix=mix, steps=8, scales=1, preprocess="none"), torch.rand(1, 1, 4, 4).double()
    assert not any(isinstance(layer, InvertibleConv1x1) for layer in model.modules())
    jacobian = torch.autograd.functional.jacobian(model.encode, x)
    assert isinstance(jacobian, Tensor)
    assert (jacobian.reshape(16, 16).count_nonzero(1) > 1).all()


def test_additive_coupling_changes_no_volume() -> None:
    """Additive steps leave the log-determinant to ActNorm, matrix and priors, the same at every image."""
    model = glow(coupling="additive", scales=1, preprocess="none")
    x = torch.rand(4, 1, 4, 4, dtype=torch.float64)
    log_det = model(x) - model.prior.log_prob(model.encode(x))
    torch.testing.assert_close(log_det, log_det[:1].expand(4), rtol=0, atol=1e-10)


def eager(**choices: object) -> tuple[Glow, Tensor]:
    """A small one after eager steps on little data, and thousands of latents."""
    config = GlowConfig((1, 4, 4), 17, "logit", scales=2, steps=4, width=8, **choices)  # type: ignore[arg-type]
    torch.manual_seed(0)
    model, images = Glow(config), torch.randint(3, (64, 1, 4, 4)) * 8
    model.initialise((images + 0.5) / 17)
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(60):
        optimiser.zero_grad()
        (-model((images + torch.rand(images.shape)) / 17).mean()).backward()
        optimiser.step()
    return model, model.prior.sample((10000, 1, 4, 4))


@pytest.mark.parametrize("mix", ["plu", "dense"])
def test_draws_are_finite_after_training(mix: str) -> None:
    """Logits of thousands of draws are within 30, and finite at ten deviations, thanks to the bound."""
    model, z = eager(mix=mix)
    logit, rest = list(model.flow)  # type: ignore[call-overload]
    with torch.no_grad():
        assert rest.inverse(z)[0].abs().max() <= 30
        far, _ = rest.inverse(10 * z)
        assert far.isfinite().all()
        assert ((logit.inverse(far)[0] - 0.5).abs() <= 0.56).all()


@pytest.mark.parametrize("mix", ["plu", "dense"])
def test_without_a_bound_draws_explode(mix: str) -> None:
    """As published, with no bound, the same training leaves most draws at ten deviations not finite."""
    model, z = eager(mix=mix, bound=None)
    _, rest = list(model.flow)  # type: ignore[call-overload]
    with torch.no_grad():
        finite = rest.inverse(10 * z)[0].isfinite().flatten(1).all(1)
    assert finite.sum() < len(z) / 2


def test_what_is_chosen_by_default_is_bounded() -> None:
    """All of the presets have bounds, and a Glow triangular matrices, but those that are as published."""
    chosen = {(model, name): preset(model, name) for model in PRESETS for name in PRESETS[model]}
    for (model, name), config in chosen.items():
        published = name.endswith("-published")
        assert (config.bound is None) == published, (model, name)  # type: ignore[attr-defined]
        assert not isinstance(config, GlowConfig) or config.mix == ("dense" if published else "plu")
        if published:
            bounded = chosen[model, name.removesuffix("-published")]
            changed = {key for key, value in config.to_dict().items() if bounded.to_dict()[key] != value}
            assert changed <= {"bound", "mix"}


@pytest.mark.parametrize(
    ("choices", "name"),
    [
        ({"shape": (4,)}, "shape"),
        ({"shape": (1, 4, 6)}, "shape"),
        ({"mix": "qr"}, "mix"),
        ({"coupling": "spline"}, "coupling"),
        ({"classes": -1}, "classes"),
        ({"bound": math.inf}, "bound"),
    ],
)
def test_impossible_choices_are_refused(choices: dict, name: str) -> None:
    """By name, before anything is built."""
    with pytest.raises(InvalidConfig, match=rf"GlowConfig\.{name}"):
        GlowConfig(**{**SMALL, **choices})
