"""Recordings and their texts, as an acoustic model is taught them: mels, pitch and symbols.

Letters: N symbols, M mel bands, L mel frames.
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from vocoder import audio as shore
from vocoder.clips import find_clips
from vocoder.errors import InvalidAudio, InvalidInput
from vocoder.features import LogMel, MelSpec
from vocoder.text.frontend import front_end
from vocoder.text.symbols import END, ids
from vocoder.training.acoustic.pitch import track

__all__ = ["Clip", "Phonemes", "prepare", "pronouncing"]

log = logging.getLogger(__name__)

Phonemes = Callable[[str], list[str]]
Heard = tuple[str, np.ndarray, np.ndarray]  # path, mel [L, M], f0 [L]
VERSION = 1  # of the file


@dataclass(frozen=True)
class Clip:
    """One recording.

    Attributes:
        name: the path of its file.
        mel: ``[L, M]`` in half precision, of the recording at an RMS of 0.06.
        f0: ``[L]`` hertz, 0 where nothing is voiced.
        ids: ``[N]`` of the symbols of its text.
    """

    name: str
    mel: np.ndarray
    f0: np.ndarray
    ids: np.ndarray


def pronouncing(name: str = "gruut") -> Phonemes:
    """The symbols of a text by a front end of ours, its sentences one utterance, as they were read."""
    speak = front_end(name)

    def phonemes(text: str) -> list[str]:
        sentences = [list(output.phonemes or ()) for output in speak(text)]
        inner = [symbol for sentence in sentences for symbol in sentence[1:-1]]
        return [sentences[0][0], *inner, END]

    return phonemes


def prepare(
    folders: Sequence[Path], split: str, spec: MelSpec, cache: Path, phonemes: Phonemes | None = None
) -> list[Clip]:
    """The clips of a split of data sets, whose ``metadata.tsv`` has the columns file, split and text.

    Mels and pitch are read from ``cache`` where it was made of the same files and spec; made and written
    there otherwise. Texts are pronounced anew, which takes a second in a thousand. Of ``train``, flagged
    clips are left out; so are clips with fewer frames than symbols, and files that are no audio. Raises
    `InvalidInput` for a folder without texts, and for a split of which nothing is left.
    """
    texts = {path: text for folder in folders for path, text in _texts(folder, split)}
    phonemes = phonemes or pronouncing()
    numbers = {str(path): np.array(_said(text, phonemes), np.int16) for path, text in texts.items()}
    key = _key(texts, spec)
    if (heard := _read(cache, key)) is None:
        heard = list(_heard(texts, spec))
        _write(cache, key, heard)
    clips = [clip for name, mel, f0 in heard if _fits(clip := Clip(name, mel, f0, numbers[name]))]
    if not clips:
        raise InvalidInput(f"data has no clip in split {split!r} with a frame for every symbol of its text")
    return clips


def _texts(folder: Path, split: str) -> Iterator[tuple[Path, str]]:
    paths = find_clips(folder, split, flagged=split != "train")
    table = folder / "metadata.tsv"
    if not table.is_file():
        raise InvalidInput(f"{folder} has no metadata.tsv, which would hold the texts")
    with table.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        rows = {row["file"]: row.get("text") for row in reader}
    for path in paths:
        if not (text := rows.get(path.name)):
            raise InvalidInput(f"{table} has no text for {path.name}")
        yield path, text


def _said(text: str, phonemes: Phonemes) -> list[int]:
    try:
        return ids(phonemes(text))
    except InvalidInput as error:
        raise InvalidInput(f"the text {text!r:.80} cannot be said: {error}") from error


def _fits(clip: Clip) -> bool:
    fits = len(clip.f0) > len(clip.ids)  # an odd last frame does not count
    if not fits:
        log.warning("left out: %s has %d frames for %d symbols", clip.name, len(clip.f0), len(clip.ids))
    return fits


def _heard(paths: Collection[Path], spec: MelSpec) -> Iterator[Heard]:
    log_mel = LogMel(spec)
    for path in tqdm(paths, "reading", unit="clip", disable=None):
        try:
            samples = shore.at_level(shore.load(path, spec.sample_rate))
            mel = log_mel(samples[None])[0].T.contiguous()
        except InvalidAudio as error:
            log.warning("left out: %s", error)  # one broken file among thousands should not end the run
            continue
        frames = len(samples) // spec.hop_length
        yield str(path), mel[:frames].to(torch.float16).numpy(), track(samples.numpy(), spec, frames)


def _key(paths: Iterable[Path], spec: MelSpec) -> str:
    """A digest of what mels and pitch are made of; the contents of files on trust of size and time."""
    files = [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in paths]
    return hashlib.sha256(json.dumps([VERSION, files, spec.to_dict()]).encode()).hexdigest()


def _write(cache: Path, key: str, heard: Sequence[Heard]) -> None:
    """All clips end to end in one file, which appears whole or not at all."""
    names, mels, f0s = zip(*heard, strict=True) if heard else ((), (), ())
    cache.parent.mkdir(parents=True, exist_ok=True)
    partial = cache.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(
            file,
            key=np.array(key),
            names=np.array(names, dtype=np.str_),
            frames=np.array([len(f0) for f0 in f0s], dtype=np.int64),
            mel=np.concatenate([np.zeros((0, mels[0].shape[1] if mels else 0), np.float16), *mels]),
            f0=np.concatenate([np.zeros(0, np.float32), *f0s]),
        )
    os.replace(partial, cache)


def _read(cache: Path, key: str) -> list[Heard] | None:
    """What a file holds, or None where there is none, or another's; a damaged one is as good as none."""
    try:
        with cache.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            if str(kept["key"]) != key:
                return None
            ends = np.cumsum(kept["frames"])[:-1]
            parts = np.split(kept["mel"], ends), np.split(kept["f0"], ends)
            return [(str(name), mel, f0) for name, mel, f0 in zip(kept["names"], *parts, strict=True)]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
