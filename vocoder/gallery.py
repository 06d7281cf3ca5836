"""Pictures of a density model: samples, temperatures, interpolations, the surface through four images.

A model of images makes grids; one of points in the plane makes plots; one of other vectors has no pictures,
and makes none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from vocoder.errors import InvalidInput
from vocoder.models.density import DensityModel
from vocoder.pictures import grid, plot_points, save_png

__all__ = ["TEMPERATURES", "draw", "portfolio", "save_rows"]

TEMPERATURES = (0.0, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # those of Glow's training script
COLUMNS = 10


def portfolio(model: DensityModel, x: Tensor, out: Path, *, seed: int = 0) -> list[Path]:
    """Draw what there is to see of a trained model into a folder, and tell which files that made.

    Args:
        model: in evaluation mode; its pictures are of its own samples and of ``x``.
        x: ``[B, *shape]`` data in 0 … 1, two images at least for an interpolation.

    Raises `InvalidInput`, and draws nothing, where samples of images are not finite.
    """
    if len(model.shape) == 1:
        return _plane(model, x, out, seed)
    made = {
        "samples.png": draw(model, COLUMNS * COLUMNS, 1.0, seed),
        "temperatures.png": torch.cat([draw(model, COLUMNS, each, seed) for each in TEMPERATURES]),
        "interpolation.png": _interpolations(model, x),
    }
    for name, images in made.items():
        save_rows(out / name, images, COLUMNS)
    return [out / name for name in made]


def draw(model: DensityModel, count: int, temperature: float, seed: int) -> Tensor:
    """Samples; of a class-conditional model, of one class after the other.

    Images of grey levels are those integers, each pixel shown as the middle of its level, as data are.
    """
    cond = classes_in_turn(model, count)
    if model.levels is None or len(model.shape) == 1:
        return model.sample(count, temperature=temperature, seed=seed, cond=cond)
    images = model.sample_images(count, temperature=temperature, seed=seed, cond=cond)
    return (images + 0.5) / model.levels


def classes_in_turn(model: DensityModel, count: int) -> Tensor | None:
    """``0, 1, 2, …``, from the start again after the last class; None for a model without classes."""
    if not model.classes:
        return None
    return torch.arange(count, device=next(model.parameters()).device) % model.classes


def save_rows(path: Path, images: Tensor | Sequence[Tensor], columns: int) -> None:
    """Write images ``[N, C, H, W]``, or rows of them, as one PNG."""
    sheet = images if isinstance(images, Tensor) else torch.cat(list(images))
    if sheet.ndim != 4:
        raise InvalidInput(f"pictures are made of images [N, C, H, W], got shape {tuple(sheet.shape)}")
    save_png(path, grid(sheet, columns))


def _interpolations(model: DensityModel, x: Tensor) -> Tensor:
    pairs = min(len(x) // 2, COLUMNS - 2)
    cond = None if not model.classes else torch.zeros(1, dtype=torch.int64, device=x.device)
    rows = [model.interpolate(x[2 * k], x[2 * k + 1], COLUMNS, cond) for k in range(pairs)]
    return torch.cat(rows) if rows else x


def _plane(model: DensityModel, x: Tensor, out: Path, seed: int) -> list[Path]:
    """Points beside samples, where both are points of a plane."""
    if model.shape != (2,):
        return []
    sampled = {f"temperature {each:g}": draw(model, len(x), each, seed) for each in (0.5, 0.8, 1.0)}
    plot_points(out / "samples.png", {"data": x, **sampled})
    return [out / "samples.png"]
