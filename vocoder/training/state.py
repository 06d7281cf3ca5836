"""The state file of a run: what a bit-exact resume needs, written whole or not at all."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch

from vocoder.errors import CheckpointError


class Recipe(Protocol):
    """A dataclass with a name: everything that decides a run, besides the data and the machine."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def name(self) -> str:
        """What the run is called."""


def describe(recipe: Recipe) -> str:
    """Everything in a recipe that a resumed run must share: all of it but its length."""
    return json.dumps({**asdict(recipe), "steps": None}, sort_keys=True)


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write beside the file and move into place: a run killed while saving keeps its last state."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def load_state(path: Path, recipe: Recipe) -> dict[str, Any]:
    """Read a state of this very recipe, whatever its length; only tensors and plain values, never code."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        made_by = json.loads(state["recipe"])
    except Exception as error:  # torch raises a different class for each kind of damage
        raise CheckpointError(
            f"{path.name} is not a readable training state: {type(error).__name__}"
        ) from error
    if made_by["name"] != recipe.name:
        raise CheckpointError(
            f"{path.name} belongs to the recipe {made_by['name']!r}, not to {recipe.name!r}"
        )
    asked = json.loads(describe(recipe))
    if changed := [name for name, value in asked.items() if made_by.get(name) != value]:
        raise CheckpointError(f"{path.name} was made when the recipe had other {', '.join(changed)}")
    return state
