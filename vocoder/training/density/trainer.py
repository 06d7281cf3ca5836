"""The loop: noise onto integers, likelihood up, the best weights by validation kept. It touches no file.

Letters: B batch; the shape of one example is the data set's.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from vocoder.errors import InvalidInput
from vocoder.flows import Flow, dequantise
from vocoder.training.density.data import Batches, Dataset, Part, draw
from vocoder.training.density.recipe import Length, Recipe
from vocoder.training.optimiser import moving_average

Clock = Callable[[], float]
TEST_DRAWS = 20
SCORED = 512  # images scored at once


class Trainer:
    """A model in training: its averaged copy, its optimiser, its place in the schedule and its best weights.

    Args:
        model: any module that answers ``[B, …]`` pixels in [0, 1) with their log-density ``[B]`` in nats, and
            with a second argument ``[B]`` if it has ``classes``; a `DensityModel`, or a wrapped one.
        clock: what seconds are measured by.
    """

    def __init__(
        self, model: nn.Module, data: Dataset, recipe: Recipe, length: Length, clock: Clock = time.monotonic
    ) -> None:
        self.model, self.data, self.recipe, self.length, self.clock = model, data, recipe, length, clock
        self.batches = Batches(data.train, recipe.batch, recipe.seed, flip=recipe.flip)
        self.device = next(model.parameters()).device
        self.drops = any(isinstance(part, nn.Dropout | nn.Dropout2d) and part.p for part in model.modules())
        self._require_classes()
        model.train()
        with torch.no_grad():  # what sets itself up by the first data it sees does so before it is copied
            self.log_prob(model, 0)
        self.average = AveragedModel(model, multi_avg_fn=moving_average(recipe.ema)) if recipe.ema else None
        self.optimiser = adamw(model, recipe)
        self.step, self.skipped, self.seconds, self.validated = 0, 0, 0.0, 0
        self.best: dict[str, Any] = {"bits": math.inf, "step": 0, "seconds": 0.0, "model": {}}

    @property
    def progress(self) -> float:
        """How far the run is, 0 … 1."""
        return min(1.0, self.length.progress(self.step, self.seconds))

    def train_step(self) -> float:
        """One step of the optimiser; the batch's bits per dimension. A gradient that is not finite is skipped
        and counted."""
        begun = self.clock()
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate * self.recipe.factor(self.step, self.progress)
        self.model.train()
        self.optimiser.zero_grad()
        with self._dropping():
            loss = bits(self.log_prob(self.model, self.step), self.data).mean()
            loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        if torch.isfinite(norm):
            self.optimiser.step()
            if self.average is not None:
                self.average.update_parameters(self.model)
        else:
            self.skipped += 1
        self.step += 1
        value = float(loss.detach())
        self.seconds += self.clock() - begun
        return value

    @contextmanager
    def _dropping(self) -> Iterator[None]:
        """What a network drops in a step is a function of (seed, step) too."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices, enabled=self.drops):
            if self.drops:
                torch.manual_seed(self.recipe.seed * 2**32 + self.step)
            yield

    def log_prob(self, model: nn.Module, step: int) -> Tensor:
        """The log-density of batch number ``step``."""
        images, noise, labels = (
            None if each is None else each.to(self.device) for each in self.batches(step)
        )
        assert images is not None
        assert noise is not None
        return _ask(model, dequantise(images, self.data.levels, noise), labels)

    @property
    def due(self) -> bool:
        """Whether the next validation's time has come, the last one at the end of the run."""
        return self.progress >= min(1.0, (self.validated + 1) / self.recipe.validations)

    def validate(self) -> float:
        """Bits per dimension of the validation part; the weights are kept if it is the least so far."""
        self.validated = max(self.validated + 1, int(self.progress * self.recipe.validations))
        held = self.recipe.held_out
        part = self.data.valid
        part = Part(part.images[:held], None if part.labels is None else part.labels[:held])
        value = score(self.current, part, self.data, self.recipe.validation_draws)
        if value < self.best["bits"]:
            weights = copy.deepcopy(self.current.state_dict())
            self.best = {"bits": value, "step": self.step, "seconds": self.seconds, "model": weights}
        return value

    @property
    def current(self) -> nn.Module:
        """What is validated and kept: the averaged model where there is one."""
        return self.model if self.average is None else self.average.module

    def finished(self) -> nn.Module:
        """The model with its best weights, in evaluation mode; the trained model itself stays as it is."""
        model = copy.deepcopy(self.current)
        if self.best["model"]:
            model.load_state_dict(self.best["model"])
        return model.eval()

    def state(self) -> dict[str, Any]:
        """What a bit-exact resume needs: tensors and plain values only."""
        return {
            "model": self.model.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "best": self.best,
            **{name: getattr(self, name) for name in ("step", "skipped", "seconds", "validated")},
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`."""
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.best = state["best"]
        for name in ("step", "skipped", "seconds", "validated"):
            setattr(self, name, state[name])

    def _require_classes(self) -> None:
        if (wanted := getattr(self.model, "classes", 0)) and self.data.classes > wanted:
            raise InvalidInput(f"model has {wanted} classes, the data {self.data.classes}")
        if wanted and not self.data.classes:
            raise InvalidInput(f"model has {wanted} classes, and {self.data.name} has no labels")


def bits(log_prob: Tensor, data: Dataset) -> Tensor:
    """Bits per dimension of densities on [0, 1)ᴰ: ``log₂ levels − log p / (D ln 2)``."""
    return math.log2(data.levels) - log_prob / (math.prod(data.shape) * math.log(2))


@torch.no_grad()
def score(model: nn.Module, part: Part, data: Dataset, draws: int = TEST_DRAWS, seed: int = 0) -> float:
    """Mean bits per dimension of a part, over ``draws`` fixed draws of the noise; lower is better.

    An upper bound on what the integers cost (Theis et al. 2016, "A note on the evaluation of generative
    models", section 3.1). The mean of all images and draws, and not of those that are finite.
    """
    device = next(model.parameters()).device
    was, total = model.training, torch.zeros((), dtype=torch.float64)
    model.eval()
    for number in range(draws):
        noise = draw(seed, number, part.images.shape)
        for start in range(0, len(part), SCORED):
            some = slice(start, start + SCORED)
            x = dequantise(part.images[some].to(device), data.levels, noise[some].to(device))
            labels = None if part.labels is None else part.labels[some].to(device)
            total += bits(_ask(model, x, labels), data).double().sum().cpu()
    model.train(was)
    return float(total) / (draws * len(part))


def adamw(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW over the parameters that want a gradient, decaying as `Recipe` says."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decaying = [parameter for parameter in _of_networks(model) if parameter.requires_grad]
    chosen = set(decaying)
    groups = [
        {"params": decaying, "weight_decay": recipe.weight_decay},
        {"params": [parameter for parameter in trained if parameter not in chosen], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.rate, betas=recipe.betas, fused=True)


def _of_networks(model: nn.Module) -> list[nn.Parameter]:
    """Matrices and filters that do not belong to a flow itself."""
    networks = (module for module in model.modules() if not isinstance(module, Flow))
    own = (parameter for network in networks for parameter in network.parameters(recurse=False))
    return [parameter for parameter in dict.fromkeys(own) if parameter.ndim >= 2]


def _ask(model: nn.Module, x: Tensor, labels: Tensor | None) -> Tensor:
    answer: Tensor = model(x, labels) if getattr(model, "classes", 0) else model(x)
    return answer
