"""Any folder of PNG and JPEG pictures of one size, or cropped to one.

Subfolders named train, valid (or val, validation) and test are the parts; without them one picture in ten is
validation and one in ten is test, by a hash of its path. The folder that a picture lies in is its label,
where there are several.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vocoder.errors import InvalidInput
from vocoder.images.split import hashed, held_out_tail, labels_of
from vocoder.training.density.data import Dataset, Part

SUFFIXES = {".png", ".jpg", ".jpeg"}
VALID = ("valid", "val", "validation")
VALIDATION = 10


def load(folder: Path, size: int | None = None) -> Dataset:
    """The pictures below a folder; all are made grey or colour, as the first is."""
    if size is not None and size < 1:
        raise InvalidInput(f"size (= {size}) must be at least 1")
    if not ((folder / "train").is_dir() and (folder / "test").is_dir()):
        paths = _below(folder)
        images = torch.stack(_read(paths, size))
        names = [path.relative_to(folder).as_posix() for path in paths]
        return hashed(folder.name, 256, images, _labels(paths), names)
    train, test = (_part(folder / name, size) for name in ("train", "test"))
    if (valid := next((folder / name for name in VALID if (folder / name).is_dir()), None)) is None:
        return held_out_tail(folder.name, 256, train, test, VALIDATION)
    return Dataset(folder.name, 256, train, _part(valid, size), test)


def _part(folder: Path, size: int | None) -> Part:
    paths = _below(folder)
    return Part(torch.stack(_read(paths, size)), _labels(paths))


def _below(folder: Path) -> list[Path]:
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not paths:
        raise InvalidInput(f"{folder} holds no pictures; looked for {', '.join(sorted(SUFFIXES))}")
    return paths


def _labels(paths: list[Path]) -> Tensor | None:
    names = np.array([path.parent.name for path in paths])
    return labels_of(names) if len(set(names.tolist())) > 1 else None


def _read(paths: list[Path], size: int | None) -> list[Tensor]:
    images = [_image(paths[0], size, None)]
    channels, shape = len(images[0]), images[0].shape
    for path in paths[1:]:
        images.append(_image(path, size, channels))
        if images[-1].shape != shape:
            told = f"{path} is {tuple(images[-1].shape[1:])}, {paths[0].name} {tuple(shape[1:])}"
            raise InvalidInput(f"pictures must be of one size: {told}; --size crops and scales them to one")
    return images


def _image(path: Path, size: int | None, channels: int | None) -> Tensor:
    """``[C, H, W]`` uint8; with ``size``, the largest square in the middle, scaled to it."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path, formats=("PNG", "JPEG")) as file:
            grey = file.mode in ("1", "L", "I", "I;16") if channels is None else channels == 1
            picture = file.convert("L" if grey else "RGB")
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise InvalidInput(f"{path} is no PNG or JPEG that can be read: {error}") from error
    if size is not None:
        picture = ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.array(picture))
    return pixels[None] if grey else pixels.movedim(2, 0).contiguous()
