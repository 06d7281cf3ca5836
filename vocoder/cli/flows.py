"""`vocoder flows …`: NICE, RealNVP and Glow as densities of images; `latents.py` has what edits them."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vocoder.cli import latents, options, subject
from vocoder.errors import InvalidInput

if TYPE_CHECKING:
    from vocoder.training.density.data import Dataset
    from vocoder.training.density.run import Run

__all__ = ["add_commands"]

ABOUT = "NICE, RealNVP and Glow as densities of images: train one, see how invertible it is, look into it."
MODELS = ("nice", "realnvp", "glow")
PICTURED = 1000  # test images that the pictures of a run may show; all of them are points in a plot


def add_commands(commands: options.Commands) -> None:
    """Add `flows`, which has commands of its own."""
    told = "train and look into flows of images: NICE, RealNVP, Glow"
    parser = commands.add_parser("flows", help=told, description=ABOUT)
    below = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_train(below)
    _add_check(below)
    _add_sample(below)
    latents.add_commands(below)


def _add_train(commands: options.Commands) -> None:
    parser = commands.add_parser("train", help="train a density on images", description=train.__doc__)
    parser.add_argument("--model", required=True, choices=MODELS, help="which flow")
    subject.add_data(parser, required=True)
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="where all it makes goes")
    length = parser.add_mutually_exclusive_group()
    told = "length of the run in seconds of training, validation not counted; 60 if nothing is given"
    length.add_argument("--seconds", type=float, metavar="S", help=told)
    length.add_argument("--steps", type=int, metavar="N", help="length of the run in steps")
    parser.add_argument("--preset", metavar="NAME", help="shape of the model; what fits DATA if not given")
    told = "learn a density for each label of DATA, with --model glow"
    parser.add_argument("--conditional", action="store_true", help=told)
    parser.add_argument("--bits", type=int, metavar="N", help="reduce the images to 2^N grey levels")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of weights, batches and noise")
    told = "train in memory that does not grow with depth, and more time"
    parser.add_argument("--reversible", action="store_true", help=told)
    options.add_device(parser)
    options.add_json(parser)
    parser.set_defaults(run=train)


def _add_check(commands: options.Commands) -> None:
    parser = commands.add_parser("check", help="how invertible a model is", description=check.__doc__)
    subject.add_model(parser)
    subject.add_data(parser)
    parser.add_argument("--samples", type=int, default=1000, metavar="N", help="samples to draw, at T = 1")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the samples")
    options.add_device(parser)
    options.add_json(parser)
    parser.set_defaults(run=check)


def _add_sample(commands: options.Commands) -> None:
    parser = commands.add_parser("sample", help="draw images", description=sample.__doc__)
    subject.add_model(parser)
    subject.add_out(parser)
    parser.add_argument("--count", type=int, default=64, metavar="N", help="how many; 64 if not given")
    parser.add_argument("--temperature", type=float, default=1.0, metavar="X", help="scale of the noise")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="same seed, same images")
    options.add_device(parser)
    parser.set_defaults(run=sample)


def train(asked: argparse.Namespace) -> None:
    """Train a flow by exact likelihood, and draw what it has learned. The same command resumes a run."""
    with options.extra("flows"):
        from vocoder import gallery
        from vocoder.training.density.run import train as go

        data = subject.load_data(asked)
        data = data if asked.bits is None else data.with_bits(asked.bits)
        run = _run(asked, data)
        result = go(run)
        assert result is not None  # a run that was stopped is a KeyboardInterrupt
        x = subject.pixels(data.test, data.levels)[:PICTURED].to(run.trainer.device)
        pictures = []
        try:
            pictures = gallery.portfolio(run.finished(), x, asked.out, seed=asked.seed)
        except InvalidInput as error:  # draws of an unbounded model may not be finite
            print(f"no pictures: {error}", file=sys.stderr)
    print("wrote", *(str(path) for path in [asked.out / "model.safetensors", *pictures]), file=sys.stderr)
    if asked.json:
        options.print_json(result.to_dict())
    else:
        print(result.to_markdown())


def _run(asked: argparse.Namespace, data: "Dataset") -> "Run":
    from dataclasses import replace

    from vocoder.device import choose_device
    from vocoder.training.density.presets import configure
    from vocoder.training.density.recipe import Length
    from vocoder.training.density.run import Run

    seconds = 60.0 if asked.seconds is None and asked.steps is None else asked.seconds
    config, recipe = configure(asked.model, data, asked.preset, conditional=asked.conditional)
    return Run(
        config,
        data,
        replace(recipe, seed=asked.seed),
        asked.out,
        Length(asked.steps, seconds),
        device=choose_device(asked.device),
        reversible=asked.reversible,
        source=asked.data,
    )


def check(asked: argparse.Namespace) -> None:
    """Report, layer by layer, how well a model undoes itself, and whether its samples are finite.

    Log-determinants are compared with automatic differentiation's where an item has at most 256 numbers. A
    model is sound if all samples are finite, the round trip is below 0.001, and these log-determinants agree.
    """
    if asked.samples < 1:
        raise InvalidInput(f"--samples (={asked.samples}) must be at least 1")
    with options.extra("flows"):
        from vocoder.models.check import check as measure

        model, device = subject.load_model(asked)
        x, cond = subject.images_of(asked, model, device)
        report = measure(model, x, cond, samples=asked.samples, seed=asked.seed)
    if asked.json:
        options.print_json(report.to_dict())
    else:
        print(report.to_text())


def sample(asked: argparse.Namespace) -> None:
    """Draw images from a model, as a PNG."""
    if asked.count < 1:
        raise InvalidInput(f"--count (={asked.count}) must be at least 1")
    with options.extra("flows"):
        from vocoder import gallery
        from vocoder.pictures import plot_points

        model, _ = subject.load_model(asked)
        images = gallery.draw(model, asked.count, asked.temperature, asked.seed)
        if model.shape == (2,):
            plot_points(asked.out, {f"temperature {asked.temperature:g}": images})
        else:
            gallery.save_rows(asked.out, images, max(1, round(asked.count**0.5)))
