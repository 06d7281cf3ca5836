"""Samples of trained models are images: finite, of grey levels that there are, and not from far out."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vocoder import images
from vocoder.errors import InvalidInput
from vocoder.flows import Chain, GaussianPrior, Scale
from vocoder.gallery import draw, portfolio
from vocoder.models.catalogue import build
from vocoder.models.check import check
from vocoder.models.density import DensityModel
from vocoder.training.density.data import Dataset, Part
from vocoder.training.density.presets import configure
from vocoder.training.density.recipe import Length
from vocoder.training.density.trainer import Trainer

STEPS = {"nice": 150, "realnvp": 30, "glow": 40}
WIDTH = {"nice": 64, "realnvp": 8, "glow": 16}  # narrower than the presets, for speed
MANY = 10_000


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """Those of scikit-learn, with less to validate on."""
    data = images.load("digits")
    return Dataset("digits", 17, data.train, Part(data.valid.images[:32]), data.test)


@pytest.mark.parametrize("name", STEPS)
def test_ten_thousand_samples_are_images(name: str, digits: Dataset) -> None:
    """After training, in float32 at temperature 1: all finite, integers in range, every |logit| within 30."""
    config, recipe = configure(name, digits)
    config = replace(config, width=WIDTH[name])  # type: ignore[call-arg]  # which all three have
    torch.manual_seed(0)
    trainer = Trainer(build(config), digits, recipe, Length(steps=STEPS[name]))
    while trainer.progress < 1:
        trainer.train_step()
    trainer.validate()
    model = trainer.finished()
    assert isinstance(model, DensityModel)
    assert trainer.best["bits"] < 4, "it has learned something"
    drawn = model.sample_images(MANY)
    assert drawn.dtype == torch.int64 and drawn.shape == (MANY, 1, 8, 8)
    assert drawn.min() == 0 and drawn.max() == 16
    found = check(model, (digits.test.images[:2] + 0.5) / 17, samples=MANY)
    assert found.sound and found.finite == MANY
    assert found.largest_logit is not None
    assert found.largest_logit <= 30


def scaled(log_scale: float, levels: int | None = 8) -> DensityModel:
    """A Gaussian of that log-precision."""
    scale = Scale(2)
    torch.nn.init.constant_(scale.log_scale, log_scale)
    return DensityModel(Chain([scale]), GaussianPrior(), (2,), levels)


def test_an_integer_is_the_cell_of_the_draw() -> None:
    """⌊levels · x⌋ of the very samples, and the nearest level of those outside."""
    model = scaled(0.0)
    x, drawn = model.sample(500, seed=3, temperature=0.6), model.sample_images(500, seed=3, temperature=0.6)
    inside = (x >= 0) & (x < 1)
    assert torch.equal(drawn[inside], (8 * x[inside]).floor().long())
    assert (drawn[x < 0] == 0).all() and (drawn[x >= 1] == 7).all()
    assert inside.any() and (x < 0).any() and (x >= 1).any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_images_are_drawn_in_any_precision(dtype: torch.dtype) -> None:
    """A model in double or half precision has its integers too."""
    drawn = scaled(0.0, levels=256).to(dtype).sample_images(20)
    assert drawn.dtype == torch.int64 and drawn.max() <= 255


def test_what_has_no_integers_is_refused() -> None:
    """Continuous data have no grey levels, and a draw that is not finite is none."""
    with pytest.raises(InvalidInput, match="continuous"):
        scaled(0.0, levels=None).sample_images(3)
    with pytest.raises(InvalidInput, match=r"\d+ of 40 draws are not finite at temperature 1"):
        scaled(-89.0).sample_images(40)


def test_what_is_not_finite_is_not_drawn(tmp_path: Path) -> None:
    """A gallery of a model that overflows is refused as a whole, and nothing is written."""
    scale = Scale(1)
    torch.nn.init.constant_(scale.log_scale, -89.0)
    model = DensityModel(Chain([scale]), GaussianPrior(), (1, 2, 2), 4)
    with pytest.raises(InvalidInput, match="not finite"):
        portfolio(model, torch.rand(4, 1, 2, 2), tmp_path)
    assert not list(tmp_path.iterdir())


def test_pictures_are_of_grey_levels() -> None:
    """What a gallery shows of an image model are its integers; of points, the points."""
    model = DensityModel(Chain([]), GaussianPrior(), (1, 2, 2), 4)
    shown = draw(model, 30, 1.0, 0)
    assert set(shown.unique().tolist()) == {0.125, 0.375, 0.625, 0.875}
    points: Tensor = draw(scaled(0.0), 30, 1.0, 0)
    assert torch.equal(points, scaled(0.0).sample(30))
