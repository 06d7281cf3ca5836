"""The names that a checkpoint may hold, as a table; everything else is refused by name.

The table is what the pickles of NVIDIA/waveglow, DeepLearningExamples, NeMo and SqueezeWave name, and what
the optimisers and random generators beside their weights need. Being on it makes nothing run: see
`vocoder.importer.machine`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from vocoder.errors import CheckpointError
from vocoder.importer.inert import Global, shown
from vocoder.importer.machine import Limits, Rules
from vocoder.importer.tensors import STORAGES, Storage, StoredTensor, parameter, storage, tensor

__all__ = ["FOREIGN", "Gathered", "rules"]

# Classes of the networks that we read, in whatever module: many projects keep a copy of the authors' code.
FOREIGN = frozenset({"WaveGlow", "SqueezeWave", "WN", "Invertible1x1Conv", "Upsample1d"})

_TORCH = frozenset(
    Global(room, name)
    for room, names in {
        "torch": "device float16 float32 float64 bfloat16 int8 int16 int32 int64 uint8 bool",
        "torch.nn.backends.thnn": "_get_thnn_function_backend THNNFunctionBackend",  # of modules before 1.4
        "torch.nn.modules.batchnorm": "BatchNorm1d",
        "torch.nn.modules.container": "ModuleList Sequential",
        "torch.nn.modules.conv": "Conv1d ConvTranspose1d",
        "torch.nn.parallel.data_parallel": "DataParallel",
        "torch.nn.parallel.distributed": "DistributedDataParallel",
        "torch.nn.utils.weight_norm": "WeightNorm",
    }.items()
    for name in names.split()
)

_OTHERS = frozenset(  # of optimisers, random generators and command lines
    Global(room, name)
    for room, names in {
        "_codecs": "encode",
        "argparse": "Namespace",
        "builtins": "bool bytearray complex float int list str tuple",
        "__builtin__": "bool bytearray complex float int list long str tuple unicode",
        "numpy": "dtype ndarray bool_ int64 float32 float64",
        "numpy.core.multiarray": "scalar _reconstruct",
        "numpy.core.numeric": "_frombuffer",
        "numpy._core.multiarray": "scalar _reconstruct",
        "numpy._core.numeric": "_frombuffer",
    }.items()
    for name in names.split()
)


def _table(*arguments: object) -> dict[object, object]:
    """In place of `OrderedDict`: empty, or of pairs, as Python 2 wrote them."""
    made: dict[object, object] = {}
    for pair in arguments[0] if arguments and isinstance(arguments[0], (list, tuple)) else ():
        key, value = pair
        if not isinstance(key, (str, int)):
            raise CheckpointError("has a table with a key that is neither a string nor a number")
        made[key] = value
    return made


def _default_table(*_: object) -> dict[object, object]:
    return {}


def _members(*arguments: object) -> list[object]:
    """In place of `set`: a list, as its members may be what cannot be a member here."""
    return list(arguments[0]) if arguments and isinstance(arguments[0], Iterable) else []


def _size(*arguments: object) -> tuple[object, ...]:
    return tuple(_members(*arguments))


_CALLS: dict[Global, Callable[..., object]] = {
    Global("torch._utils", "_rebuild_tensor_v2"): tensor,
    Global("torch._utils", "_rebuild_tensor"): tensor,
    Global("torch._utils", "_rebuild_parameter"): parameter,
    Global("torch._utils", "_rebuild_parameter_with_state"): parameter,
    Global("torch", "Size"): _size,
    Global("collections", "OrderedDict"): _table,
    Global("collections", "defaultdict"): _default_table,
    **{Global(room, name): _members for room in ("builtins", "__builtin__") for name in ("set", "frozenset")},
    **{Global(room, "dict"): _table for room in ("builtins", "__builtin__")},
}

_KNOWN = frozenset({*_TORCH, *_OTHERS, *STORAGES, *_CALLS})


@dataclass
class Gathered:
    """What a pickle refers to outside itself.

    Attributes:
        storages: blocks of numbers, by their keys.
        sources: source code of classes, which PyTorch's older format keeps; shown in a report, never run.
    """

    storages: dict[str, Storage] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    def refer(self, reference: object) -> object:
        """What a reference stands for."""
        match reference:
            case ("module", Global() as kind, _, source):
                if kind.name in FOREIGN and isinstance(source, str):
                    self.sources[str(kind)] = source
                return kind
        found = storage(reference)
        if self.storages.setdefault(found.key, found) != found:
            raise CheckpointError(f"has two storages by the key {shown(found.key)}")
        return found


def rules(limits: Limits, gathered: Gathered) -> Rules:
    """The rules for one pickle."""
    count = 0

    def counted(*arguments: object) -> StoredTensor:
        nonlocal count
        count += 1
        if count > limits.tensors:
            raise CheckpointError(f"has more than {limits.tensors} tensors")
        return tensor(*arguments)

    calls = {name: counted if call is tensor else call for name, call in _CALLS.items()}
    return Rules(calls, lambda name: name in _KNOWN or name.name in FOREIGN, gathered.refer)
