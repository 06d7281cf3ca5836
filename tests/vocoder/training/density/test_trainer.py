"""The loop: likelihood rises, bits are bits, the best weights are kept, a bad step is left out."""

import math
import time
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from vocoder.errors import InvalidConfig, InvalidInput
from vocoder.models.glow import Glow, GlowConfig
from vocoder.models.nice import NICE, NICEConfig
from vocoder.training.density.data import Dataset, Part
from vocoder.training.density.recipe import Length, Recipe
from vocoder.training.density.trainer import Trainer, adamw, bits, score

RECIPE = Recipe("test", batch=16, rate=1e-2, warmup=2, ema=0.9, validations=4, weight_decay=0.1)


def tiny(levels: int = 8, shape: tuple[int, ...] = (4,)) -> Dataset:
    """Numbers that follow from one another, in three parts, with two classes."""
    random = torch.Generator().manual_seed(0)
    first = torch.randint(0, levels, (96, 1), generator=random)
    x = ((first + torch.arange(math.prod(shape))) % levels // 2).view(96, *shape)
    labels = first[:, 0] % 2
    parts = [Part(x[some], labels[some]) for some in (slice(64), slice(64, 80), slice(80, None))]
    return Dataset("tiny", levels, *parts)


def nice(dropout: float = 0.0) -> NICE:
    """Four numbers, three couplings."""
    torch.manual_seed(0)
    return NICE(NICEConfig((4,), 8, "logit", dropout, couplings=3, layers=1, width=16))


class Uniform(nn.Module):
    """The density 1 on [0, 1)ᴰ, with a parameter to be trained in vain."""

    def __init__(self, gradient: float = 1.0) -> None:
        super().__init__()
        self.zero, self.gradient = nn.Parameter(torch.zeros(2, 2)), gradient

    def forward(self, x: Tensor) -> Tensor:
        """log 1."""
        return (0 * self.gradient * self.zero).sum().expand(len(x))


def test_a_uniform_density_costs_log_levels() -> None:
    """Exactly log₂ levels bits per dimension, however the noise falls."""
    data = tiny()
    assert score(Uniform(), data.test, data) == pytest.approx(3.0, abs=1e-12)


def test_score_is_the_models_own_bits() -> None:
    """The score of many draws is near `bits_per_dim` of one, and near what a long average gives."""
    model, data = nice().eval(), tiny()
    ours = score(model, data.test, data, draws=50)
    own = torch.stack([model.bits_per_dim(data.test.images, seed=seed).mean() for seed in range(50)]).mean()
    assert ours == pytest.approx(float(own), abs=0.02)
    assert bits(torch.tensor(-math.log(2) * 4), data).item() == pytest.approx(4.0)


def test_training_raises_the_likelihood_and_keeps_the_best() -> None:
    """A hundred steps save half a bit of each dimension on held-out data; the best weights are kept."""
    data, model = tiny(), nice()
    before = score(model, data.test, data)
    trainer = Trainer(model, data, RECIPE, Length(steps=100))
    values = []
    while trainer.progress < 1:
        trainer.train_step()
        if trainer.due:
            values.append(trainer.validate())
    assert len(values) == 4 and trainer.best["bits"] == min(values)
    finished = trainer.finished()
    assert not finished.training
    assert score(finished, data.valid, data, RECIPE.validation_draws) == min(values)
    assert score(finished, data.test, data) < before - 0.5


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_resume_is_bit_exact(dropout: float) -> None:
    """Six steps, or three, a state, and three more: weights, average, optimiser and best are the same."""
    data, recipe = tiny(), replace(RECIPE, validations=6)

    def trainer() -> Trainer:
        return Trainer(nice(dropout), data, recipe, Length(steps=6))

    def go(trainer: Trainer, until: int) -> Trainer:
        while trainer.step < until:
            torch.rand(3)  # somebody else draws too
            trainer.train_step()
            if trainer.due:
                trainer.validate()
        return trainer

    whole, cut, resumed = go(trainer(), 6), go(trainer(), 3), trainer()
    torch.rand(50)
    resumed.load_state(cut.state())
    go(resumed, 6)
    ours, theirs = whole.state(), resumed.state()
    for state in (ours, theirs):
        state.pop("seconds"), state["best"].pop("seconds")
    torch.testing.assert_close(theirs, ours, rtol=0, atol=0)


def test_dropped_features_do_not_disturb_the_callers_numbers() -> None:
    """A step that drops features leaves the default generator where it was."""
    trainer = Trainer(nice(0.5), tiny(), RECIPE, Length(steps=6))
    before = torch.get_rng_state()
    trainer.train_step()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_step_that_is_not_finite_is_skipped_and_counted() -> None:
    """A gradient of infinity changes no weight."""
    trainer = Trainer(Uniform(math.inf), tiny(), RECIPE, Length(steps=3))
    trainer.train_step()
    assert (trainer.step, trainer.skipped) == (1, 1)
    assert torch.equal(next(trainer.model.parameters()), torch.zeros(2, 2))


def test_seconds_are_those_of_training() -> None:
    """A run of seconds ends when its steps have taken them by its clock; validation is not counted."""
    now = [0.0]

    def clock() -> float:
        now[0] += 0.5
        return now[0]

    trainer = Trainer(Uniform(), tiny(), RECIPE, Length(seconds=10.0), clock)
    steps = 0
    while trainer.progress < 1:
        trainer.train_step()
        if trainer.due:
            now[0] += 100
            trainer.validate()
        steps += 1
    assert steps == 20 and trainer.seconds == 10.0 and trainer.validated == 4


def test_only_networks_decay() -> None:
    """Filters decay; mixing matrices, scales of a flow, and vectors of one number a channel do not."""
    model = Glow(GlowConfig((1, 4, 4), 8, scales=1, steps=1, width=4))
    decaying, others = adamw(model, RECIPE).param_groups
    names = {parameter: name for name, parameter in model.named_parameters()}
    assert decaying["weight_decay"] == 0.1 and others["weight_decay"] == 0.0
    assert len(decaying["params"]) + len(others["params"]) == len(names)
    told = " ".join(names[parameter] for parameter in decaying["params"])
    kept = " ".join(names[parameter] for parameter in others["params"])
    assert "conditioner.middle.weight" in told and "log_scale" not in told
    assert "log_scale" in kept and "conditioner.middle.weight" not in kept
    mixing = [name for name, module in model.named_modules() if type(module).__name__ == "InvertibleConv1x1"]
    assert mixing and all(f"{name}." not in told for name in mixing)


def test_classes_are_asked_for_where_the_model_has_them() -> None:
    """A class-conditional model is trained with the labels, and refuses data without them."""
    data = tiny(shape=(1, 4, 4))
    config = GlowConfig((1, 4, 4), 8, scales=1, steps=1, width=4, classes=2)
    trainer = Trainer(Glow(config), data, RECIPE, Length(steps=2))
    assert math.isfinite(trainer.train_step()) and math.isfinite(trainer.validate())
    parts = (Part(part.images) for part in (data.train, data.valid, data.test))
    with pytest.raises(InvalidInput, match="no labels"):
        Trainer(Glow(config), Dataset("bare", 8, *parts), RECIPE, Length(steps=2))
    with pytest.raises(InvalidInput, match="classes"):
        Trainer(Glow(replace(config, classes=1)), data, RECIPE, Length(steps=2))


@pytest.mark.parametrize("given", [{}, {"steps": 1, "seconds": 1.0}, {"steps": 0}, {"seconds": -1.0}])
def test_a_length_is_steps_or_seconds(given: dict[str, int]) -> None:
    """One of the two, above zero."""
    with pytest.raises(InvalidConfig, match="exactly one"):
        Length(**given)


def test_clocks_are_interchangeable() -> None:
    """By process time, what the machine does besides is not counted."""
    trainer = Trainer(Uniform(), tiny(), RECIPE, Length(seconds=1e9), time.process_time)
    trainer.train_step()
    spent = trainer.seconds
    time.sleep(0.05)
    assert trainer.seconds == spent < 0.5
