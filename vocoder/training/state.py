"""The state file of a run: what a bit-exact resume needs, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from vocoder.errors import CheckpointError


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write beside the file and move into place: a run killed while saving keeps its last state."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def load_state(path: Path, recipe: str) -> dict[str, Any]:
    """Read a state of the recipe called ``recipe``; tensors and plain values only, no code is run."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a different class for each kind of damage
        raise CheckpointError(
            f"{path.name} is not a readable training state: {type(error).__name__}"
        ) from error
    if state.get("recipe") != recipe:
        raise CheckpointError(f"{path.name} belongs to the recipe {state.get('recipe')!r}, not to {recipe!r}")
    return state
