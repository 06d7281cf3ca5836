"""What commands of `vocoder flows` are about: which model, which images."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vocoder.cli import options
from vocoder.errors import InvalidInput

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from vocoder.models.density import DensityModel
    from vocoder.training.density.data import Dataset, Part

    Shown = tuple[Tensor, Tensor | None]

__all__ = [
    "add_common",
    "add_data",
    "add_model",
    "add_out",
    "chosen",
    "images_of",
    "load_data",
    "load_model",
    "matching",
    "pixels",
]

SHOWN = 64  # images that are looked at where none are named


def add_common(parser: argparse.ArgumentParser, *, out: bool = True) -> None:
    """MODEL, `--data`, `--out` and `--device`."""
    add_model(parser)
    add_data(parser)
    if out:
        add_out(parser)
    options.add_device(parser)


def add_model(parser: argparse.ArgumentParser) -> None:
    """`MODEL`: a checkpoint of a density."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="model.safetensors of a run")


def add_out(parser: argparse.ArgumentParser) -> None:
    """`--out`: the picture."""
    parser.add_argument("-o", "--out", required=True, type=Path, metavar="PNG", help="picture to write")


def add_data(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """`--data` and `--size`: which images."""
    told = "digits, moons, a folder (MNIST's or CIFAR-10's files, or pictures) or an .npz file"
    more = "" if required else "; what the model was trained on if not given"
    parser.add_argument("--data", required=required, metavar="DATA", help=told + more)
    told = "side that pictures of a folder are cropped and scaled to"
    parser.add_argument("--size", type=int, metavar="N", help=told)


def load_data(asked: argparse.Namespace) -> "Dataset":
    """The data set that `--data` names."""
    from vocoder import images

    return images.load(asked.data, size=asked.size)


def load_model(asked: argparse.Namespace) -> "tuple[DensityModel, torch.device]":
    """The density that MODEL is a checkpoint of, on `--device`; it tells which `--data` it was trained on."""
    from vocoder import checkpoint
    from vocoder.device import choose_device
    from vocoder.models.density import DensityModel

    model, header = checkpoint.load(asked.model, DensityModel)
    if getattr(asked, "data", None) is None:
        asked.data = header.extra.get("source")
    device = choose_device(asked.device)
    return model.to(device).eval(), device


def images_of(
    asked: argparse.Namespace, model: "DensityModel", device: "torch.device", places: slice = slice(SHOWN)
) -> "Shown":
    """Test images as the model takes them, and their classes if it takes classes."""
    data = matching(asked, model)
    labels = data.test.labels if model.classes else None
    x = pixels(data.test, data.levels)[places]
    return x.to(device), None if labels is None else labels[places].to(device)


def pixels(part: "Part", levels: int) -> "Tensor":
    """Images in 0 … 1, each pixel in the middle of its grey level."""
    return (part.images.float() + 0.5) / levels


def matching(asked: argparse.Namespace, model: "DensityModel") -> "Dataset":
    """The data set that `--data` names, or that the model was trained on, in the model's grey levels."""
    if asked.data is None:
        raise InvalidInput("--data must be given: the model does not say what it was trained on")
    data = load_data(asked)
    if model.levels is not None and model.levels < data.levels:
        data = data.with_bits(model.levels.bit_length() - 1)
    if data.shape != model.shape:
        raise InvalidInput(f"{asked.data} has images of shape {data.shape}, the model takes {model.shape}")
    return data


def chosen(asked: argparse.Namespace, model: "DensityModel", device: "torch.device", count: int) -> "Shown":
    """The test images that `--images` names, or the first ones, and their classes."""
    x, labels = images_of(asked, model, device, slice(None))
    places = asked.images or list(range(min(count, len(x))))
    if wrong := [place for place in places if not 0 <= place < len(x)]:
        raise InvalidInput(f"--images (={wrong[0]}) must be in 0 … {len(x) - 1}")
    return x[places], None if labels is None else labels[places]
