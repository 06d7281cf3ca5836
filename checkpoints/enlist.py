"""Enter a checkpoint of this folder into manifest.json.

    python checkpoints/enlist.py NAME [--default] [--scores REPORT]

What the entry says is read off `NAME.safetensors`; the model card, `NAME.md`, is written by hand. `--scores`
is what `vocoder evaluate --json` wrote: the mean scores of the voice are entered, and the error of the mel of
what it makes of `samples/hello.npy`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vocoder import Vocoder
from vocoder.checkpoint import inspect
from vocoder.evaluate import mel_error

HERE = Path(__file__).parent
READ_OFF = ("sha256", "bytes", "architecture", "config", "mel", "licence")


def enlist(name: str, *, default: bool = False, scores: dict[str, Any] | None = None) -> None:
    """Add the entry of a voice, or write it anew; a new default takes the place of the one before."""
    about = inspect(HERE / f"{name}.safetensors")
    entry = {"name": name, "file": f"{name}.safetensors", "card": f"{name}.md", "default": default}
    entry |= {key: about[key] for key in READ_OFF} | {"scores": scores or {}}
    manifest = HERE / "manifest.json"
    listed = json.loads(manifest.read_text(encoding="utf-8")) if manifest.is_file() else []
    others = [other for other in listed if other["name"] != name]
    for other in others:
        other["default"] = other["default"] and not default
    entries = sorted([*others, entry], key=lambda each: each["name"])
    text = json.dumps(entries, indent=2, ensure_ascii=False, allow_nan=False)
    manifest.write_text(text + "\n", encoding="utf-8")


def _scores(name: str, report: dict[str, Any]) -> dict[str, float]:
    voice = Vocoder.load(HERE / f"{name}.safetensors", device="cpu")
    hello = torch.from_numpy(np.load(HERE.parent / "samples" / "hello.npy"))
    error = mel_error(lambda mel, seed: voice(mel, seed=seed), voice.spec, hello)
    means = {metric: round(summary["mean"], 4) for metric, summary in report["systems"][name].items()}
    return {**means, "hello_mel_error": round(error, 4)}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("name")
    parser.add_argument("--default", action="store_true", help="make it the voice that `default` means")
    parser.add_argument("--scores", type=Path, metavar="REPORT", help="JSON that `vocoder evaluate` wrote")
    asked = parser.parse_args()
    scores = (
        _scores(asked.name, json.loads(asked.scores.read_text(encoding="utf-8"))) if asked.scores else None
    )
    enlist(asked.name, default=asked.default, scores=scores)


if __name__ == "__main__":
    main()
