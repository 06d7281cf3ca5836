"""Commands of `vocoder flows` that go through the latent: `interpolate`, `spectrum`, `edit` and `inpaint`."""

import argparse
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from vocoder.cli import options, subject
from vocoder.errors import InvalidInput

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from vocoder.latents import Spectrum
    from vocoder.models.density import DensityModel

__all__ = ["add_commands"]

ATTRIBUTE = 1.6  # how far Glow's authors go along the direction of an attribute


def add_commands(commands: options.Commands) -> None:
    """Add the four."""
    _add_interpolate(commands)
    _add_spectrum(commands)
    _add_edit(commands)
    _add_inpaint(commands)


def _add_interpolate(commands: options.Commands) -> None:
    parser = commands.add_parser(
        "interpolate", help="from image to image in the latent", description=interpolate.__doc__
    )
    subject.add_common(parser)
    told = "places of 2 or more test images, or of 4 with --manifold; the first ones if not given"
    parser.add_argument("--images", type=int, nargs="+", metavar="N", help=told)
    parser.add_argument("--steps", type=int, default=10, metavar="N", help="images a row, both ends included")
    parser.add_argument("--manifold", action="store_true", help="the closed surface through 4 images")
    parser.set_defaults(run=interpolate)


def _add_spectrum(commands: options.Commands) -> None:
    parser = commands.add_parser(
        "spectrum", help="how much each dimension of a NICE matters", description=show_spectrum.__doc__
    )
    subject.add_common(parser, out=False)
    parser.add_argument("-o", "--out", type=Path, metavar="PNG", help="plot it too")
    told = "draw reconstructions: a row for each image, from all dimensions kept on the left to none"
    parser.add_argument("--pictures", type=Path, metavar="PNG", help=told)
    parser.add_argument("--images", type=int, nargs="+", metavar="N", help="places of those test images")
    options.add_json(parser)
    parser.set_defaults(run=show_spectrum)


def _add_edit(commands: options.Commands) -> None:
    parser = commands.add_parser(
        "edit", help="change single latent numbers, or an attribute", description=edit.__doc__
    )
    subject.add_common(parser)
    parser.add_argument("--images", type=int, nargs="+", metavar="N", help="places of test images")
    wish = parser.add_mutually_exclusive_group()
    told = "latent dimensions, a row for each; the 8 that matter most if not given"
    wish.add_argument("--dimensions", type=int, nargs="+", metavar="D", help=told)
    wish.add_argument(
        "--attribute", type=int, metavar="LABEL", help="the class that images are moved towards"
    )
    parser.add_argument("--steps", type=int, default=9, metavar="N", help="images a row")
    parser.set_defaults(run=edit)


def _add_inpaint(commands: options.Commands) -> None:
    parser = commands.add_parser("inpaint", help="fill in what is hidden", description=inpaint.__doc__)
    subject.add_common(parser)
    parser.add_argument("--images", type=int, nargs="+", metavar="N", help="places of test images")
    sides = ("top", "bottom", "left", "right", "checkerboard")
    parser.add_argument("--hide", choices=sides, default="bottom", help="which pixels; bottom if not given")
    parser.add_argument("--iterations", type=int, default=500, metavar="N", help="steps of the ascent")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the noise it starts from")
    parser.set_defaults(run=inpaint)


def interpolate(asked: argparse.Namespace) -> None:
    """Draw the way from one test image to the next, straight in the latent, a row for each pair.

    With --manifold, the closed surface through four images that RealNVP's authors draw.
    """
    if asked.steps < 2:
        raise InvalidInput(f"--steps (={asked.steps}) must be at least 2")
    with options.extra("flows"):
        import torch

        from vocoder.gallery import save_rows

        model, device = subject.load_model(asked)
        wanted = 4 if asked.manifold else 2
        x, labels = subject.chosen(asked, model, device, wanted)
        if asked.manifold:
            if len(x) != wanted:
                raise InvalidInput(f"--manifold takes 4 --images, got {len(x)}")
            surface = model.manifold(x, asked.steps, _one(labels, 0))
            save_rows(asked.out, surface.flatten(0, 1), asked.steps)
            return
        pairs = enumerate(itertools.pairwise(x))
        rows = [model.interpolate(*pair, asked.steps, _one(labels, k)) for k, pair in pairs]
        save_rows(asked.out, torch.cat(rows), asked.steps)


def show_spectrum(asked: argparse.Namespace) -> None:
    """Print how much each latent dimension of a NICE matters, and what is lost without the least important.

    sigma is the deviation that the model gives a dimension. Of test images, the latent is cut to its most
    important dimensions and decoded: error is the root mean square difference in pixels of 0 … 1.
    """
    with options.extra("flows"):
        from vocoder.gallery import save_rows
        from vocoder.latents import reconstructions, spectrum

        model, device = subject.load_model(asked)
        found = spectrum(model, subject.images_of(asked, model, device)[0])
        if asked.out:
            _plot(asked.out, found)
        if asked.pictures:
            x, _ = subject.chosen(asked, model, device, 10)
            save_rows(asked.pictures, reconstructions(model, x, found.kept).flatten(0, 1), len(found.kept))
    if asked.json:
        options.print_json(found.to_dict())
    else:
        print(_as_text(found))


def edit(asked: argparse.Namespace) -> None:
    """Draw strips of a test image with one latent number moved from −3 to 3, a row for each dimension.

    With --attribute LABEL, a row for each image, moved from none to all of what images of that class have in
    their latents and others lack, and as far beyond as Glow's authors go.
    """
    if asked.steps < 2:
        raise InvalidInput(f"--steps (={asked.steps}) must be at least 2")
    with options.extra("flows"):
        from vocoder.gallery import save_rows

        model, device = subject.load_model(asked)
        rows = _attribute_rows(asked, model, device) if asked.attribute is not None else None
        save_rows(asked.out, rows or _strips(asked, model, device), asked.steps)


def inpaint(asked: argparse.Namespace) -> None:
    """Fill in hidden pixels by gradient ascent on log p; a row is an image, what is left, and the result.

    NICE's way (section 5.3): from noise, steps of 10 / (100 + i), with noise, cut to 0 … 1.
    """
    if asked.iterations < 1:
        raise InvalidInput(f"--iterations (={asked.iterations}) must be at least 1")
    with options.extra("flows"):
        import torch

        from vocoder.gallery import save_rows
        from vocoder.latents import inpaint as fill

        model, device = subject.load_model(asked)
        x, labels = subject.chosen(asked, model, device, 10)
        known = _known(asked.hide, model.shape).to(device)
        filled = fill(model, x, known, steps=asked.iterations, seed=asked.seed, cond=labels)
        rows = torch.stack([x, torch.where(known, x, torch.full_like(x, 0.5)), filled], 1)
        save_rows(asked.out, rows.flatten(0, 1), 3)


def _strips(asked: argparse.Namespace, model: "DensityModel", device: "torch.device") -> "list[Tensor]":
    from vocoder import latents

    x, labels = subject.chosen(asked, model, device, 1)
    values = [6 * step / (asked.steps - 1) - 3 for step in range(asked.steps)]
    dimensions = asked.dimensions or latents.dimensions(model, 8)
    return [latents.edit(model, x[0], dimension, values, _one(labels, 0)) for dimension in dimensions]


def _attribute_rows(
    asked: argparse.Namespace, model: "DensityModel", device: "torch.device"
) -> "list[Tensor]":
    import torch

    if model.classes:
        raise InvalidInput("--attribute is for a model that was not told the labels")
    data = subject.matching(asked, model)
    if data.train.labels is None or not bool((data.train.labels == asked.attribute).any()):
        raise InvalidInput(f"--attribute (={asked.attribute}) must be a label of {asked.data}")
    x = subject.pixels(data.train, data.levels).to(device)
    having = (data.train.labels == asked.attribute).to(device)
    shown, _ = subject.chosen(asked, model, device, 8)
    far = torch.linspace(0, ATTRIBUTE, asked.steps, device=device).view(-1, *[1] * len(model.shape))
    with torch.no_grad():
        direction = model.direction(x[having], x[~having])
        return [model.decode(z + far * direction) for z in model.encode(shown)]


def _one(labels: "Tensor | None", place: int) -> "Tensor | None":
    """The class of one image, `[1]`, which stands for its whole row."""
    return None if labels is None else labels[place : place + 1]


def _known(hide: str, shape: tuple[int, ...]) -> "Tensor":
    """A mask over images ``[C, H, W]``, or vectors, whose first half then is the top and the left."""
    import torch

    height, width = shape[-2:] if len(shape) == 3 else (shape[-1], shape[-1])
    row, column = torch.arange(height)[:, None], torch.arange(width)
    known = {
        "top": row >= height // 2,
        "bottom": row < height // 2,
        "left": column >= width // 2,
        "right": column < width // 2,
        "checkerboard": (row + column) % 2 == 0,
    }[hide]
    return known.expand(height, width) if len(shape) == 3 else known.expand(height, width).diagonal()


def _plot(path: Path, found: "Spectrum") -> None:
    from vocoder.pictures import plot_curves

    panels = {
        "σ": (list(range(1, len(found.sigma) + 1)), found.sigma),
        "error of what is decoded": (found.kept, found.error),
        "nats of what is decoded": (found.kept, found.log_prob),
    }
    plot_curves(path, panels, along="dimensions, from the most important; kept", log=("σ",))


def _as_text(found: "Spectrum") -> str:
    pairs = zip(found.dimensions, found.sigma, strict=True)
    sigmas = [f"{rank:5} {dimension:9} {sigma:10.4g}" for rank, (dimension, sigma) in enumerate(pairs, 1)]
    rows = [
        f"{kept:5} {error:9.4f} {nats:10.2f} {bits:9.4f}"
        for kept, error, nats, bits in zip(
            found.kept, found.error, found.log_prob, found.bits_per_dim, strict=True
        )
    ]
    return "\n".join(
        [
            f"{'rank':>5} {'dimension':>9} {'sigma':>10}",
            *sigmas,
            "",
            f"{'kept':>5} {'error':>9} {'nats':>10} {'bits/dim':>9}",
            *rows,
        ]
    )
