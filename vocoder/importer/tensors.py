"""Tensors of a file as the file describes them: believed, and read, when they are wanted."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vocoder.errors import CheckpointError
from vocoder.importer.inert import Global, shown

__all__ = ["STORAGES", "Storage", "StoredTensor", "parameter", "storage", "tensor"]

_DTYPES = {
    "Float": torch.float32,
    "Double": torch.float64,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
}

STORAGES = {  # what a GPU saved is read into the memory of the CPU like anything else
    **{
        Global(room, f"{name}Storage"): kind
        for room in ("torch", "torch.cuda")
        for name, kind in _DTYPES.items()
    },
    Global("torch.storage", "UntypedStorage"): torch.uint8,
}


@dataclass(frozen=True)
class Storage:
    """A block of numbers in a file, by its key there; `count` is the file's claim."""

    key: str
    dtype: torch.dtype
    count: int

    @property
    def bytes(self) -> int:
        return self.count * self.dtype.itemsize


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A view of a storage: `shape`, and how far apart neighbours along each axis lie in it."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        return self.storage.dtype

    @property
    def count(self) -> int:
        count = 1
        for size in self.shape:
            count *= size
        return count

    def load(self, read: Callable[[Storage], bytes]) -> Tensor:
        """The numbers, in memory of their own; `CheckpointError` where some would be there twice."""
        if self.count > self.storage.count:
            raise CheckpointError(f"has a tensor of {self.count} numbers made of {self.storage.count}")
        block = torch.frombuffer(bytearray(read(self.storage)), dtype=self.dtype)
        return block.as_strided(self.shape, self.strides, self.offset).clone(
            memory_format=torch.contiguous_format
        )


def storage(reference: object) -> Storage:
    """The storage that a pickle of PyTorch's refers to outside itself."""
    match reference:
        case ("storage", Global() as kind, str(key), str(), int(count), *view) if (
            kind in STORAGES and count >= 0
        ):
            if any(part is not None for part in view):
                raise CheckpointError("has views of storages, as only PyTorch before 0.4 wrote them")
            return Storage(key, STORAGES[kind], count)
    raise CheckpointError("refers to something outside its pickle that is no storage of numbers")


def tensor(block: object, offset: object, shape: object, strides: object, *_: object) -> StoredTensor:
    """In place of `torch._utils._rebuild_tensor_v2`; `CheckpointError` for a view beyond its storage."""
    sizes, steps = _numbers(shape), _numbers(strides)
    if not isinstance(block, Storage) or len(sizes) != len(steps):
        raise CheckpointError("has a tensor without a storage, or without its shape")
    (start,) = _numbers((offset,))
    reach = start + sum((size - 1) * step for size, step in zip(sizes, steps, strict=True)) + 1
    made = StoredTensor(block, start, sizes, steps)
    if made.count and reach > block.count:
        told = f"of shape {list(sizes[:8])} from {block.count} numbers"
        raise CheckpointError(f"has a tensor {told}, which do not hold it")
    return made


def parameter(data: object, *_: object) -> StoredTensor:
    """In place of `torch._utils._rebuild_parameter`: the tensor itself."""
    if not isinstance(data, StoredTensor):
        raise CheckpointError(f"has a parameter made of {shown(data)}, expected a tensor")
    return data


def _numbers(values: object) -> tuple[int, ...]:
    if not isinstance(values, tuple) or len(values) > 64 or not all(_fits(value) for value in values):
        raise CheckpointError("has a tensor whose shape is not made of numbers")
    return values


def _fits(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**48
