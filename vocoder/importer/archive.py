"""Containers: from a file to the value of its pickle, and to the bytes of its storages.

```
zip      NAME/data.pkl, NAME/data/KEY …                    PyTorch since 1.6
legacy   magic │ version │ machine │ pickle │ keys │ blocks  PyTorch before, NVIDIA's published files
plain    one pickle                                        anybody; it has no tensors of PyTorch's
.nemo    tar or tar.gz of model_config.yaml and model_weights.ckpt, itself one of the above
```

Read by hand rather than by `torch.load` with a pickle module of our own: that would hand archives of
TorchScript to a loader of programs, and believe sizes before it has seen the bytes. Nothing is unpacked to
disk.
"""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from vocoder.errors import CheckpointError
from vocoder.importer.inert import shown
from vocoder.importer.machine import Limits, Seen, run
from vocoder.importer.rules import Gathered, rules
from vocoder.importer.tensors import Storage

__all__ = ["Contents", "opened"]

MAGIC = 0x1950A86A20F9469CFC6C  # what PyTorch's older format begins with
WEIGHTS, CONFIG = "model_weights.ckpt", "model_config.yaml"
CONFIG_BYTES = 2**17


def _nothing(storage: Storage) -> bytes:
    raise CheckpointError(f"has nothing under {shown(storage.key)}, where {storage.bytes} bytes are promised")


@dataclass
class Contents:
    """What is in a file, as far as it has been read.

    Attributes:
        container: zip, legacy, plain, and for NeMo's archives what is around that.
        root: the value of the pickle.
        read: the bytes of a storage, exactly as many as it claims, or `CheckpointError`.
        held: bytes of all that a storage can be read from.
        config: `model_config.yaml` of a `.nemo`.
        seen, gathered: names, and what the pickle refers to.
    """

    container: str = "unknown"
    root: object = None
    read: Callable[[Storage], bytes] = _nothing
    held: int = 0
    config: Mapping[str, Any] | None = None
    seen: Seen = field(default_factory=Seen)
    gathered: Gathered = field(default_factory=Gathered)


@contextmanager
def opened(path: Path, limits: Limits, contents: Contents) -> Iterator[None]:
    """Read a file into `contents`, whose `read` works inside the block.

    Raises `CheckpointError`, without the file's name, for what is no checkpoint, damaged, or beyond `limits`;
    `contents` then has what was read before.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("rb"))
            size = file.seek(0, io.SEEK_END)
            _open(file, size, limits, contents, stack)
        except CheckpointError:
            raise
        except OSError as error:
            raise CheckpointError(f"cannot be read: {error.strerror or error}") from error
        except Exception as error:  # archives that make no sense can raise nearly anything
            told = f"{type(error).__name__}: {str(error)[:200]}"
            raise CheckpointError(f"is damaged: its {contents.container} cannot be read ({told})") from error
        yield


def _open(file: BinaryIO, size: int, limits: Limits, contents: Contents, stack: ExitStack) -> None:
    file.seek(0)
    start = file.read(512)
    if not start:
        raise CheckpointError("is empty (0 bytes)")
    if start.startswith(b"\x1f\x8b"):
        file, start = _unpacked(file, size, limits, contents)
        size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if start[257:262] == b"ustar":
        _container(contents, "tar")
        archive = stack.enter_context(tarfile.TarFile(fileobj=file))
        _open_nemo(archive, size, limits, contents, stack)
    else:
        _open_torch(file, size, limits, contents, stack)


def _unpacked(file: BinaryIO, size: int, limits: Limits, contents: Contents) -> tuple[BinaryIO, bytes]:
    """A gzip file's contents, in memory: what is packed cannot be read in any order."""
    contents.container = "gzip"
    file.seek(0)
    most = limits.unpacked(size)
    with gzip.open(file) as packed:
        data = packed.read(most + 1)
    if len(data) > most:
        raise CheckpointError(f"unpacks to more than {most} bytes, which is not a compressed model")
    return io.BytesIO(data), data[:512]


def _open_nemo(
    archive: tarfile.TarFile, size: int, limits: Limits, contents: Contents, stack: ExitStack
) -> None:
    files: dict[str, tarfile.TarInfo] = {}
    for count, member in enumerate(archive):
        if count >= limits.entries:
            raise CheckpointError(f"has more than {limits.entries} entries")
        if member.isreg() and not member.issparse():
            files[member.name.rpartition("/")[2]] = member
    if WEIGHTS not in files:
        raise CheckpointError(f"is a tar archive without {WEIGHTS}; it holds {_some(files)}")
    if beyond := [name for name, member in files.items() if member.offset_data + member.size > size]:
        raise CheckpointError(f"is cut: {shown(beyond[0])} does not lie within its {size} bytes")
    if CONFIG in files:
        contents.config = _yaml(_member(archive, files[CONFIG], stack).read(CONFIG_BYTES + 1))
    weights = _member(archive, files[WEIGHTS], stack)
    _open_torch(weights, files[WEIGHTS].size, limits, contents, stack)


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo, stack: ExitStack) -> BinaryIO:
    file = archive.extractfile(member)
    assert file is not None  # for a regular file there is one
    return stack.enter_context(file)  # type: ignore[return-value]  # IO[bytes], which is one


def _yaml(data: bytes) -> Mapping[str, Any]:
    """A table; without the merging of tables, by which a page of text can become more than fits in memory."""
    try:
        if len(data) > CONFIG_BYTES or b"<<" in data:
            raise ValueError(f"longer than {CONFIG_BYTES} bytes, or it merges tables (<<)")
        value = yaml.safe_load(data)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        told = " ".join(str(error).split())[:200]
        raise CheckpointError(f"has a {CONFIG} that cannot be read: {told}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"has a {CONFIG} that is no table")
    return value


def _open_torch(file: BinaryIO, size: int, limits: Limits, contents: Contents, stack: ExitStack) -> None:
    file.seek(0)
    start = file.read(4)
    file.seek(0)
    if start == b"PK\x03\x04":
        _container(contents, "zip")
        archive = stack.enter_context(zipfile.ZipFile(file))
        _open_zip(archive, size, limits, contents)
    elif start.startswith(b"\x80"):
        _container(contents, "pickle")
        _open_pickle(file, size, limits, contents)
    else:
        _open_unknown(file, size, limits, contents)


def _container(contents: Contents, inner: str) -> None:
    contents.container = f"{contents.container} {inner}".removeprefix("unknown ")


def _open_zip(archive: zipfile.ZipFile, size: int, limits: Limits, contents: Contents) -> None:
    entries = {entry.filename: entry for entry in archive.infolist()}
    contents.held = sum(entry.file_size for entry in entries.values())
    if len(entries) > limits.entries or contents.held > limits.unpacked(size):
        raise CheckpointError(
            f"claims to unpack to {contents.held} bytes in {len(entries)} entries, from {size}; "
            "that is not a checkpoint"
        )
    pickles = [name for name in entries if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise CheckpointError(
            f"is a zip archive with {len(pickles)} data.pkl, expected one; it holds {_some(entries)}"
        )
    room = pickles[0].removesuffix("data.pkl")
    if f"{room}constants.pkl" in entries:
        raise CheckpointError("is an archive of TorchScript, a program; expected a checkpoint of its weights")
    if f"{room}byteorder" in entries and archive.read(f"{room}byteorder") != b"little":
        raise CheckpointError("was written on a big-endian machine, which is not read")
    pickled = archive.read(pickles[0])
    contents.root = run(
        io.BytesIO(pickled), len(pickled), rules(limits, contents.gathered), limits, contents.seen
    )

    def read(storage: Storage) -> bytes:
        entry = entries.get(f"{room}data/{storage.key}")
        if entry is None or entry.file_size != storage.bytes:
            found = "nothing" if entry is None else f"{entry.file_size} bytes"
            raise CheckpointError(
                f"has {found} under {shown(storage.key)}, where {storage.bytes} bytes are promised"
            )
        try:
            return archive.read(entry)
        except (OSError, RuntimeError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise CheckpointError(f"is damaged: {shown(storage.key)} cannot be read ({error})") from error

    contents.read = read


def _open_pickle(file: BinaryIO, size: int, limits: Limits, contents: Contents) -> None:
    first = run(file, size, rules(limits, contents.gathered), limits, contents.seen)
    if first == MAGIC:
        contents.container = contents.container.removesuffix("pickle") + "legacy"
        _open_legacy(file, size, limits, contents)
    else:
        contents.container = contents.container.removesuffix("pickle") + "plain"
        contents.root = first


def _open_legacy(file: BinaryIO, size: int, limits: Limits, contents: Contents) -> None:
    def value() -> object:
        return run(file, size, rules(limits, contents.gathered), limits, contents.seen)

    version, machine = value(), value()
    if version != 1001 or not isinstance(machine, dict) or not machine.get("little_endian", True):
        raise CheckpointError(
            "is of PyTorch's old format, but not of the version and byte order that are read"
        )
    contents.root, keys = value(), value()
    places: dict[str, int] = {}
    for key in keys if isinstance(keys, list) else []:
        storage = contents.gathered.storages.get(key) if isinstance(key, str) else None
        if storage is None:
            raise CheckpointError(f"has numbers by the key {shown(key)}, to which its pickle does not refer")
        count, start = int.from_bytes(file.read(8), "little"), file.tell()
        if count != storage.count or start + storage.bytes > size:
            there = f"{max(0, size - start)} bytes are left"
            raise CheckpointError(
                f"is cut or damaged: {storage.bytes} bytes are promised under {shown(key)}, {there}"
            )
        places[key] = start
        contents.held += storage.bytes
        file.seek(start + storage.bytes)

    def read(storage: Storage) -> bytes:
        if storage.key not in places:
            _nothing(storage)
        file.seek(places[storage.key])
        return file.read(storage.bytes)

    contents.read = read


def _open_unknown(file: BinaryIO, size: int, limits: Limits, contents: Contents) -> None:
    """What begins like nothing may be a pickle of the oldest, textual kind, if it makes sense to the end."""
    start = file.read(32)
    file.seek(0)
    try:
        seen = Seen()
        contents.root = run(file, size, rules(limits, contents.gathered), limits, seen)
        contents.container, contents.seen = "plain", seen
    except CheckpointError:
        hint = "; `vocoder inspect` reads safetensors files" if start[8:9] == b"{" else ""
        told = f"begins with {shown(start)}, which is no checkpoint of PyTorch's and no .nemo archive{hint}"
        raise CheckpointError(told) from None


def _some(names: Mapping[str, object]) -> str:
    listed = ", ".join(shown(name) for name in list(names)[:8])
    return f"{listed} and {len(names) - 8} more" if len(names) > 8 else listed or "nothing"
