"""Commands that take recordings: `train` makes a voice of them, `evaluate` measures one on them."""

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vocoder.cli import options
from vocoder.errors import InvalidConfig, InvalidInput

if TYPE_CHECKING:
    from torch import Tensor

    from vocoder.evaluate import Report
    from vocoder.synthesis import Vocoder

__all__ = ["add_commands"]


def add_commands(commands: options.Commands) -> None:
    """Add `train` and `evaluate`."""
    _add_train(commands)
    _add_evaluate(commands)


def _add_train(commands: options.Commands) -> None:
    parser = commands.add_parser("train", help="train a voice on recordings", description=train.__doc__)
    parser.add_argument("--recipe", required=True, metavar="NAME", help="named, typed run")
    parser.add_argument(
        "--data", required=True, nargs="+", type=Path, metavar="DIR", help="recordings, by the folder"
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="where everything it makes goes"
    )
    parser.add_argument("--warm-start", metavar="VOICE", help="checkpoint whose weights it begins with")
    parser.add_argument("--minutes", type=float, metavar="M", help="stop, resumably, after so many minutes")
    parser.add_argument("--steps", type=int, metavar="N", help="length of the run, instead of the recipe's")
    parser.add_argument("--processes", type=int, metavar="P", help="data-parallel processes")
    parser.add_argument(
        "--reversible", action="store_true", help="less memory, more time: recompute activations, store none"
    )
    options.add_device(parser)
    parser.set_defaults(run=train)


def _add_evaluate(commands: options.Commands) -> None:
    parser = commands.add_parser(
        "evaluate", help="measure a voice on recordings", description=evaluate.__doc__
    )
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="folder of recordings")
    parser.add_argument("--split", metavar="NAME", help="split of metadata.tsv; all if not given")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N recordings only")
    parser.add_argument("--metrics", nargs="+", metavar="NAME", help="which metrics; all if not given")
    options.add_noise(parser)
    options.add_denoise(parser)
    options.add_voice(parser)
    options.add_device(parser)
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="OUT", help="write JSON there, or to standard output"
    )
    parser.add_argument("--markdown", metavar="OUT", help="write tables there; the default, to -")
    parser.set_defaults(run=evaluate)


def train(asked: argparse.Namespace) -> None:
    """Train a voice on recordings. The same command again resumes a run that was stopped."""
    with options.extra("train"):
        from vocoder import voices
        from vocoder.training.acoustic.recipes import RECIPES as ACOUSTIC
        from vocoder.training.recipes import RECIPES
        from vocoder.training.run import train as run
    for name in ("steps", "minutes", "processes"):
        if (value := getattr(asked, name)) is not None and not value > 0:
            raise InvalidInput(f"--{name} (={value}) must be greater than 0")
    if asked.recipe in ACOUSTIC:
        return _train_acoustic(asked)
    if asked.recipe not in RECIPES:
        known = ", ".join([*RECIPES, *ACOUSTIC])
        raise InvalidConfig(f"no recipe is called {asked.recipe!r}; there are {known}")
    return run(
        RECIPES[asked.recipe],
        asked.data,
        asked.out,
        warm_start=None if asked.warm_start is None else voices.find(asked.warm_start),
        minutes=asked.minutes,
        steps=asked.steps,
        processes=asked.processes,
        device=asked.device,
        reversible=asked.reversible,
    )


def _train_acoustic(asked: argparse.Namespace) -> None:
    """Text and pitch to mel: of data sets whose table has a column `text`, in one process."""
    from vocoder import voices
    from vocoder.training.acoustic.recipes import RECIPES
    from vocoder.training.acoustic.run import train as run

    if asked.processes not in (None, 1):
        raise InvalidInput(f"--processes (={asked.processes}) must be 1 for the recipe {asked.recipe}")
    run(
        RECIPES[asked.recipe],
        asked.data,
        asked.out,
        warm_start=None if asked.warm_start is None else voices.find(asked.warm_start),
        minutes=asked.minutes,
        steps=asked.steps,
        device=asked.device,
        reversible=asked.reversible,
    )


def evaluate(asked: argparse.Namespace) -> None:
    """Measure a voice and Griffin-Lim: both speak the mels of recordings, and are compared with these."""
    if asked.limit is not None and asked.limit < 1:
        raise InvalidInput(f"--limit (={asked.limit}) must be at least 1")
    with options.extra("eval"):
        report = _report(asked)
    if asked.json:
        _write(asked.json, report.to_json() + "\n")
    if asked.markdown or not asked.json:
        _write(asked.markdown or "-", report.to_markdown())


def _report(asked: argparse.Namespace) -> "Report":
    from vocoder.clips import find_clips
    from vocoder.evaluate import evaluate as measure

    clips, voice = find_clips(asked.data, asked.split)[: asked.limit], options.load_voice(asked)
    return measure(
        lambda mel, seed: voice(mel, seed=seed, temperature=asked.temperature, denoise=asked.denoise),
        voice.spec,
        clips,
        name=voice.name,
        seed=asked.seed,
        metrics=asked.metrics,
        nll=lambda audio, _: _nll(voice, audio, asked.seed),
        group=voice.model.config.group,
        settings={
            "voice": voice.name,
            "weights": voice.header.weights,
            "temperature": voice.header.temperature if asked.temperature is None else asked.temperature,
            "denoise": asked.denoise,
            "device": str(voice.device),
        },
    )


def _nll(voice: "Vocoder", audio: "Tensor", seed: int) -> float:
    """What training validates by, for one clip: at its level, and the mel that of the recording at it."""
    from vocoder.audio import at_level
    from vocoder.features import LogMel

    if not audio.any():
        return math.nan  # silence has no level, and no other metric either
    scaled = at_level(audio)
    return -voice.score(scaled, LogMel(voice.spec)(scaled[None])[0], seed=seed)


def _write(place: str, text: str) -> None:
    if place == "-":
        sys.stdout.write(text)
    else:
        Path(place).write_text(text, encoding="utf-8")
