"""NICE: what its scaling means, how far its couplings reach, and the published shape."""

import pytest
import torch
from torch import Tensor

from tests.vocoder.laws import stirred
from vocoder.errors import InvalidConfig
from vocoder.flows import AdditiveCoupling, Scale
from vocoder.models.nice import NICE, NICEConfig
from vocoder.nets.mlp import MLP

SMALL = {"shape": (6,), "levels": None, "layers": 1, "width": 8}


def nice(**choices: object) -> NICE:
    """A small one of vectors, in float64, away from where it starts."""
    return stirred(NICE(NICEConfig(**{**SMALL, **choices})).double())  # type: ignore[arg-type]


def scale(model: NICE) -> Scale:
    """Its scaling."""
    (found,) = (part for part in model.modules() if isinstance(part, Scale))
    return found


def test_a_scale_is_a_learned_prior_variance() -> None:
    """Scaling by s before N(0, I) is the same density as no scaling before N(0, 1/s²), to 1e-10."""
    model, x = nice(prior="gaussian"), torch.randn(5, 6, dtype=torch.float64)
    scored = model(x)
    log_s = scale(model).log_scale.detach().clone()
    with torch.no_grad():
        scale(model).log_scale.zero_()
    prior = torch.distributions.Normal(0.0, (-log_s).exp())
    torch.testing.assert_close(prior.log_prob(model.encode(x)).sum(1), scored, rtol=0, atol=1e-10)


@pytest.mark.parametrize("prior", ["gaussian", "logistic"])
def test_volume_is_changed_by_the_scale_alone(prior: str) -> None:
    """The log-determinant is the sum of s, whatever the networks say."""
    model, x = nice(prior=prior), torch.randn(5, 6, dtype=torch.float64)
    log_det = model(x) - model.prior.log_prob(model.encode(x))
    torch.testing.assert_close(log_det, scale(model).log_scale.sum().expand(5), rtol=0, atol=1e-12)


def test_importances_are_sorted_deviations() -> None:
    """σ = exp(−s), from the largest to the smallest, and where in the latent each belongs."""
    model = nice(shape=(4,))
    with torch.no_grad():
        scale(model).log_scale.copy_(torch.tensor([0.0, -2.0, 1.0, -1.0]))
    sigma, dimensions = model.importances()
    torch.testing.assert_close(sigma, torch.tensor([2.0, 1.0, 0.0, -1.0]).double().exp())
    assert dimensions.tolist() == [1, 3, 0, 2]


def test_importances_stay_within_the_bound() -> None:
    """However far s is driven, σ is within exp(± bound)."""
    model = nice(bound=2.0)
    with torch.no_grad():
        scale(model).log_scale.copy_(torch.linspace(-50, 50, 6))
    sigma, _ = model.importances()
    assert sigma[[0, -1]].log().tolist() == pytest.approx([2.0, -2.0])


def depends(model: NICE) -> Tensor:
    """Which latent depends on which entry, where the rectifiers of the networks are all open."""
    for name, parameter in model.named_parameters():
        if "hidden" in name and "bias" in name:
            parameter.data.fill_(50.0)
    jacobian = torch.autograd.functional.jacobian(model.encode, torch.zeros(1, 6, dtype=torch.float64))
    assert isinstance(jacobian, Tensor)
    return jacobian.reshape(6, 6) != 0


@pytest.mark.parametrize("partition", ["half", "odd_even"])
@pytest.mark.parametrize("between", ["swap", "reverse"])
def test_three_couplings_let_everything_depend_on_everything(partition: str, between: str) -> None:
    """Section 3.2: two are not enough, since what the first changed is blind to its own part; three are."""
    choices = {"partition": partition, "between": between}
    assert not depends(nice(couplings=2, **choices)).all()
    assert depends(nice(couplings=3, **choices)).all()


@pytest.mark.parametrize("partition", ["half", "odd_even"])
@pytest.mark.parametrize("size", [2, 5, 6])
def test_turns_are_taken(partition: str, size: int) -> None:
    """What one coupling changed, the next keeps: networks see what is kept and answer for the rest."""
    model = nice(partition=partition, shape=(size,), couplings=3)
    nets = [part.conditioner for part in model.modules() if isinstance(part, AdditiveCoupling)]
    shapes = [[weight.shape for weight in net.parameters()] for net in nets if isinstance(net, MLP)]
    sizes = [(weights[0][1], weights[-1][0]) for weights in shapes]
    assert all(sum(pair) == size for pair in sizes)
    assert sizes[0] == sizes[1][::-1] == sizes[2]


def test_shuffles_differ_from_step_to_step() -> None:
    """Every shuffle is another one, and they are part of the configuration, not of the weights."""
    model, again = nice(between="shuffle", couplings=4), nice(between="shuffle", couplings=4)
    again.load_state_dict(model.state_dict())
    x = torch.randn(2, 6, dtype=torch.float64)
    assert torch.equal(model.encode(x), again.encode(x))
    orders = {tuple(buffer.tolist()) for name, buffer in model.named_buffers() if name.endswith("_order")}
    assert len(orders) == 3


def test_dropping_dimensions_costs_the_least_important_least() -> None:
    """Zeroing latents in the order of σ, from the smallest on, moves the reconstruction ever farther."""
    model, x = nice(couplings=3), torch.randn(64, 6, dtype=torch.float64)
    with torch.no_grad():
        scale(model).log_scale.copy_(torch.linspace(-3, 3, 6))
    _, order = model.importances()
    lost = []
    for kept in (6, 4, 2, 0):
        z = model.encode(x)
        z[:, order[kept:]] = 0
        lost.append((model.decode(z) - x).norm().item())
    assert lost == sorted(lost)
    assert lost[0] < 1e-9 < lost[1]


def test_the_published_shape() -> None:
    """MNIST: 4 couplings of 5 × 1000 rectifiers, odd and even, logistic: 19 158 352 weights."""
    config = NICEConfig.mnist()
    with torch.device("meta"):
        model = NICE(config)
    net = (392 + 1) * 1000 + 4 * (1000 + 1) * 1000 + (1000 + 1) * 392
    assert sum(weight.numel() for weight in model.parameters()) == 4 * net + 784 == 19_158_352
    assert (config.partition, config.prior, config.levels) == ("odd_even", "logistic", 256)


@pytest.mark.parametrize(
    ("choices", "name"),
    [
        ({"shape": (1,)}, "shape"),
        ({"shape": (5,), "between": "reverse"}, "between"),
        ({"partition": "thirds"}, "partition"),
        ({"prior": "cauchy"}, "prior"),
        ({"couplings": 0}, "couplings"),
        ({"bound": 0.0}, "bound"),
    ],
)
def test_impossible_choices_are_refused(choices: dict, name: str) -> None:
    """By name, before anything is built."""
    with pytest.raises(InvalidConfig, match=rf"NICEConfig\.{name}"):
        NICEConfig(**{**SMALL, **choices})
