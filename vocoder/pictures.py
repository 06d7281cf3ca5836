"""Images and curves as PNG files: grids and strips through Pillow, plots through matplotlib.

Letters: N images, C channels (1 grey, 3 colour), H height, W width, D dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vocoder.errors import InvalidInput

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["grid", "plot_curves", "plot_points", "save_png"]

SMALLEST = 320  # pixels that a picture's shorter side is magnified to: an 8×8 digit is no larger than a dot


def grid(images: Tensor, columns: int, *, gap: int = 1) -> Tensor:
    """Lay ``images [N, C, H, W]`` out row by row, ``columns`` in each: ``[C, H', W']``.

    ``gap`` white pixels lie between neighbours, and the last row is filled up with white.

    Example:
        >>> grid(torch.zeros(3, 1, 8, 8), columns=2).shape
        torch.Size([1, 17, 17])
    """
    _require_pictures(images, 4, "[N, C, H, W]")
    if columns < 1:
        raise InvalidInput(f"columns (= {columns}) must be at least 1")
    rows = -(-len(images) // columns)
    _, channels, height, width = images.shape
    sheet = images.new_ones(channels, rows * (height + gap) - gap, columns * (width + gap) - gap)
    for place, image in enumerate(images):
        top, left = place // columns * (height + gap), place % columns * (width + gap)
        sheet[:, top : top + height, left : left + width] = image
    return sheet


def save_png(path: Path, image: Tensor) -> None:
    """Write ``image [C, H, W]``, 0 black and 1 white, in 8 bits; what lies outside is clipped.

    A small picture is magnified by a whole number, so that every pixel stays a square.
    """
    from PIL import Image

    _require_pictures(image, 3, "[C, H, W]")
    bytes_ = (image.detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    times = max(1, -(-SMALLEST // min(image.shape[1:])))
    large = bytes_.repeat_interleave(times, 1).repeat_interleave(times, 2)
    pixels = large[0].numpy() if len(large) == 1 else large.movedim(0, 2).numpy()
    Image.fromarray(pixels).save(path, "PNG")


Curve = tuple[Sequence[float], Sequence[float]]  # x and y


def plot_curves(path: Path, panels: Mapping[str, Curve], *, along: str, log: Sequence[str] = ()) -> None:
    """Draw a panel for each name over a common axis, which ``along`` is written under.

    The panels named in ``log`` have a logarithmic axis.
    """
    figure = _figure(len(panels))
    axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for axis, (name, curve) in zip(axes, panels.items(), strict=True):
        axis.plot(*curve, marker=".")
        axis.set_ylabel(name)
        axis.set_yscale("log" if name in log else "linear")
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel(along)
    figure.savefig(path)


def plot_points(path: Path, groups: Mapping[str, Tensor]) -> None:
    """Draw groups of points ``[N, 2]`` side by side, on the same axes."""
    figure = _figure(1, wide=4.0 * len(groups))
    axes = figure.subplots(1, len(groups), sharex=True, sharey=True, squeeze=False)[0]
    for axis, (name, points) in zip(axes, groups.items(), strict=True):
        if points.ndim != 2 or points.shape[1] != 2:
            raise InvalidInput(f"points must have shape [N, 2], got {tuple(points.shape)}")
        axis.scatter(*points.detach().cpu().T.numpy(), s=3, alpha=0.6)
        axis.set_title(name)
        axis.set_aspect("equal")
    figure.savefig(path)


def _figure(rows: int, wide: float = 7.0) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(wide, 1.0 + 3.0 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _require_pictures(images: Tensor, rank: int, shape: str) -> None:
    if images.ndim != rank or images.shape[-3] not in (1, 3) or 0 in images.shape:
        raise InvalidInput(f"images must have shape {shape} with 1 or 3 channels, got {tuple(images.shape)}")
