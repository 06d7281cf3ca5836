"""Data sets of images, by name or from files in their standard formats: `load(what)`.

```
digits    scikit-learn's 8×8 digits, 17 levels        idx.py     MNIST's four files, gzipped or not
moons     two interleaved half circles, as vectors    cifar.py   CIFAR-10's batches, binary or of Python
DIR       MNIST, CIFAR-10, or PNG and JPEG files       folder.py  any folder of pictures of one size
FILE      an .npz of arrays                            arrays.py
```

Nothing in a file is executed: pickles go through the machine of `vocoder.importer`, which runs no code, and
.npz files are read without pickles.
"""

from __future__ import annotations

from pathlib import Path

from vocoder.errors import InvalidInput
from vocoder.images import arrays, cifar, folder, idx, small
from vocoder.training.density.data import Dataset

__all__ = ["load"]


def load(what: str | Path, *, size: int | None = None) -> Dataset:
    """The data set of that name, or in that folder or file.

    Args:
        what: ``digits``, ``moons``, a folder, or an .npz file.
        size: side of the square that pictures of a plain folder are cropped and scaled to; as they are if
            None.

    Raises `InvalidInput` for what is neither, and for files that do not hold what their format says.
    """
    if str(what) in small.NAMED:
        return small.NAMED[str(what)]()
    path = Path(what)
    if path.is_file() and path.suffix == ".npz":
        return arrays.load(path)
    if not path.is_dir():
        raise InvalidInput(f"data (= {what}) must be one of {list(small.NAMED)}, a folder or an .npz file")
    if idx.is_here(path):
        return idx.load(path)
    if found := cifar.found(path):
        return cifar.load(found)
    return folder.load(path, size)
