"""Pictures: every image where it belongs, in the right grey, and files that open."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vocoder.errors import InvalidInput
from vocoder.pictures import grid, plot_curves, plot_points, save_png


def pixels(path: Path) -> np.ndarray:
    """What a picture holds."""
    with Image.open(path) as file:
        return np.asarray(file)


def test_grid_puts_images_row_by_row() -> None:
    """Image k stands in row k // columns, column k % columns, with white between and where none is left."""
    images = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 1, 2, 2) / 10
    sheet = grid(images, columns=2)
    assert sheet.shape == (1, 5, 5)
    assert (sheet[0, :2, :2] == 0.0).all() and (sheet[0, :2, 3:] == images[1, 0]).all()
    assert (sheet[0, 3:, :2] == images[2, 0]).all() and (sheet[0, 3:, 3:] == 1).all()
    assert (sheet[0, 2] == 1).all() and (sheet[0, :, 2] == 1).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_png_holds_the_pixels(tmp_path: Path, channels: int) -> None:
    """Eight bits of each pixel come back, magnified by a whole number, and what lies outside is clipped."""
    image = torch.rand(channels, 8, 10) * 1.4 - 0.2
    save_png(tmp_path / "x.png", image)
    read = pixels(tmp_path / "x.png").reshape(320, 400, channels)
    expected = (image.clamp(0, 1) * 255).round().movedim(0, 2).numpy()
    assert np.array_equal(read[20::40, 20::40], expected)
    assert np.array_equal(read[::40, 39::40], expected)


def test_a_large_picture_is_not_magnified(tmp_path: Path) -> None:
    """Beyond the smallest size a pixel is a pixel."""
    save_png(tmp_path / "x.png", torch.zeros(1, 400, 330))
    assert pixels(tmp_path / "x.png").shape == (400, 330)


@pytest.mark.parametrize("shape", [(2, 8, 8), (3, 2, 8, 8), (0, 1, 8, 8)])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    """A grid is made of at least one image of one or three channels, and has at least one column."""
    with pytest.raises(InvalidInput, match="1 or 3 channels"):
        grid(torch.zeros(shape), 2)
    with pytest.raises(InvalidInput, match="columns"):
        grid(torch.zeros(1, 1, 2, 2), 0)


def test_plots_are_pictures(tmp_path: Path) -> None:
    """Curves and points are drawn into files that open; points have two coordinates."""
    plot_curves(tmp_path / "c.png", {"a": ([1, 2], [3.0, 4.0]), "b": ([1], [2.0])}, along="x", log=["a"])
    plot_points(tmp_path / "p.png", {"one": torch.randn(9, 2), "two": torch.randn(3, 2)})
    for name in ("c.png", "p.png"):
        assert pixels(tmp_path / name).std() > 1
    with pytest.raises(InvalidInput, match=r"\[N, 2\]"):
        plot_points(tmp_path / "p.png", {"one": torch.randn(9, 3)})
