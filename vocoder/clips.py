"""Where recordings are: a data set with a table, or any folder of audio files; and which of them are held
out.

A *data set* is a folder with a `metadata.tsv` (columns `file` and, mostly, `split` and `flags`; audio in
`flac/` where there is one, else beside the table). Any other folder is split by its files' names: one file in
fifty, chosen by a hash of its name and so the same tomorrow, is validation, the others are training.
"""

import csv
import hashlib
from pathlib import Path

from vocoder.errors import InvalidInput

__all__ = ["find_clips"]

SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3"}


def find_clips(folder: Path, split: str | None = None, *, flagged: bool = True) -> list[Path]:
    """The audio files of a folder, in order of name: all of them, or those of one split.

    Without `flagged`, files that a table flags (its column `flags` is neither empty nor `-`) are left out.
    Raises `InvalidInput` where there is no such folder, no clip, or no such split.
    """
    if not folder.is_dir():
        raise InvalidInput(f"{folder} is not a folder of recordings")
    table = folder / "metadata.tsv"
    clips = _listed(table, split, flagged) if table.is_file() else _below(folder, split)
    if not clips:
        among = f" in split {split!r}" if split else ""
        raise InvalidInput(f"{folder} holds no audio{among}; looked for {', '.join(sorted(SUFFIXES))}")
    return sorted(clips)


def _listed(table: Path, split: str | None, flagged: bool) -> list[Path]:
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    if lacking := ({"file"} | ({"split"} if split else set())) - set(rows[0] if rows else ()):
        raise InvalidInput(f"{table} has no column {sorted(lacking)}")
    asked = [row for row in rows if split is None or row["split"] == split]
    names = [row["file"] for row in asked if flagged or row.get("flags", "-") in ("", "-")]
    home = table.parent / "flac" if (table.parent / "flac").is_dir() else table.parent
    return [home / name for name in names]


def _below(folder: Path, split: str | None) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    if split is None or not files:
        return files
    if split not in ("train", "val"):
        raise InvalidInput(f"split (={split!r}) asks for a data set, but {folder} has no metadata.tsv")
    held_out = {path for path in files if _hash(path) % 50 == 0} or {min(files, key=_hash)}
    return [path for path in files if (path in held_out) == (split == "val")]


def _hash(path: Path) -> int:
    return int.from_bytes(hashlib.sha256(path.name.encode()).digest()[:8], "big")
