"""The file: tensors and header, written whole and read with suspicion."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, overload

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from vocoder.checkpoint.header import ARCHITECTURES, Header, Model, canonical, parse, seal, unseal
from vocoder.errors import CheckpointError, InvalidConfig, InvalidInput
from vocoder.models.density import DensityModel
from vocoder.models.waveglow import WaveGlow

__all__ = ["inspect", "load", "read_header", "save"]

KEY = "flow-vocoder"
HEADER_BYTES = 2**22  # sixty times what the largest model needs
Kind = TypeVar("Kind", bound=Model)
PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def save(
    path: str | Path,
    model: Model,
    *,
    name: str,
    temperature: float = 1.0,
    licence: str = "Apache-2.0",
    step: int = 0,
    extra: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> Header:
    """Write a model. The file appears whole or not at all, and the same model makes the same bytes.

    With `dtype` (`torch.float16`) weights are stored in half precision; they load as float32 all the same.
    `extra` is anything that JSON can hold. Raises `InvalidInput` for a weight that is not finite, in that
    dtype, and `InvalidConfig` for a header that could not be read again.
    """
    tensors = {key: _storable(key, value, dtype) for key, value in model.state_dict().items()}
    header = Header(
        architecture=_architecture(model),
        config=model.config.to_dict(),
        mel=None if isinstance(model, DensityModel) else model.spec,
        name=name,
        licence=licence,
        temperature=temperature,
        step=step,
        weights=_weights_digest(tensors),
        extra=dict(extra or {}),
    )
    text = seal(header)
    _write(Path(path), safetensors.torch.save(tensors, {KEY: text}))
    return unseal(text)


@overload
def load(path: str | Path) -> tuple[WaveGlow, Header]: ...
@overload
def load(path: str | Path, kind: type[Kind]) -> tuple[Kind, Header]: ...
def load(path: str | Path, kind: Any = WaveGlow) -> tuple[Any, Header]:
    """Read a model, in float32, on the CPU and in evaluation mode, and its header.

    `kind` is the class that is expected: `WaveGlow`, `GlowTTS`, a `DensityModel`, or one of these in
    particular. Raises `CheckpointError`, naming the file and its problem, for a model that is none, and for
    anything that is not a whole, unaltered checkpoint with finite weights, exactly those that its
    configuration calls for.
    """
    header, tensors = _verified(Path(path), _read(Path(path)))
    try:
        model = _build(header)
    except Exception as error:  # numbers that make no sense can raise nearly anything in torch
        raise CheckpointError(f"{path}: its configuration cannot be built: {error}") from error
    if not isinstance(model, kind):
        raise CheckpointError(f"{path} holds a {type(model).__name__}, expected a {kind.__name__}")
    _require_fit(Path(path), tensors, model.state_dict())
    model.load_state_dict(tensors)
    return model.eval(), header


def inspect(path: str | Path) -> dict[str, Any]:
    """Everything in a checkpoint but the weights themselves, without building the model.

    The fields of `Header`, then `parameters` (how many numbers), `bytes` and `sha256` of the file, and
    `tensors`: name → dtype and shape. The file is verified as `load` verifies it, up to the digests.
    """
    data = _read(Path(path))
    header, tensors = _verified(Path(path), data)
    return {
        **header.to_dict(),
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "tensors": {
            key: {"dtype": _word(value.dtype), "shape": list(value.shape)}
            for key, value in sorted(tensors.items())
        },
    }


def read_header(path: str | Path) -> Header:
    """The header alone, of a file that is verified as `inspect` verifies it."""
    return _verified(Path(path), _read(Path(path)))[0]


def _architecture(model: Model) -> str:
    for name, (_, kind) in ARCHITECTURES.items():
        if type(model) is kind:
            return name
    raise InvalidInput(f"model is a {type(model).__name__}, expected one of {list(ARCHITECTURES)}, unwrapped")


def _storable(key: str, value: Tensor, dtype: torch.dtype | None) -> Tensor:
    value = value.detach().cpu().contiguous()
    stored = value.to(dtype) if dtype and value.is_floating_point() else value
    if not stored.isfinite().all():
        raise InvalidInput(f"weight {key} is not finite in {_word(stored.dtype)}; such a model is not saved")
    return stored


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error


def _verified(path: Path, data: bytes) -> tuple[Header, dict[str, Tensor]]:
    """The header and the tensors of a file's bytes, verified."""
    try:
        header = unseal(_our_text(data))
        tensors = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    except (CheckpointError, InvalidConfig) as error:
        raise CheckpointError(f"{path} {error}") from error
    if _weights_digest(tensors) != header.weights:
        raise CheckpointError(f"{path} is damaged: its weights are not what their digest was made of")
    if broken := [key for key, value in tensors.items() if not value.isfinite().all()]:
        raise CheckpointError(f"{path} has weights that are not finite: {', '.join(broken[:3])}")
    return header, tensors


def _our_text(data: bytes) -> str:
    """Our part of safetensors' JSON; looked for here, not by the library, to tell what else a file may be."""
    length = int.from_bytes(data[:8], "little")
    if not data:
        raise CheckpointError("is empty (0 bytes)")
    if len(data) <= 8 or data[8:9] != b"{" or length > HEADER_BYTES:
        pickle = " but a pickle or a zip archive, which is never opened here (see `vocoder import`)"
        raise CheckpointError(f"is no safetensors file{pickle if data.startswith(PICKLES) else ''}")
    if len(data) < 8 + length:
        raise CheckpointError(
            f"is truncated: a header of {length} bytes is promised, {len(data) - 8} are there"
        )
    table = parse(data[8 : 8 + length])
    metadata = table.get("__metadata__")
    text = metadata.get(KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise CheckpointError(f"is a safetensors file of other software: it has no {KEY!r} header")
    _require_complete(table, len(data) - 8 - length)
    return text


def _require_complete(table: Mapping[str, Any], held: int) -> None:
    """Say that a file was cut, where its table of tensors can be understood; the library finds the rest."""
    spans = [entry.get("data_offsets") for key, entry in table.items() if isinstance(entry, dict)]
    ends = [span[1] for span in spans if isinstance(span, list) and len(span) == 2 and type(span[1]) is int]
    if held < (expected := max(ends, default=0)):
        raise CheckpointError(f"is truncated: {expected} bytes of weights are promised, {held} are there")


def _weights_digest(tensors: Mapping[str, Tensor]) -> str:
    total = hashlib.sha256()
    for key, tensor in sorted(tensors.items()):
        kind = {"name": key, "dtype": _word(tensor.dtype), "shape": list(tensor.shape)}
        total.update(canonical(kind).encode())
        total.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _build(header: Header) -> Model:
    config, model = ARCHITECTURES[header.architecture]
    spec = [] if header.mel is None else [header.mel]
    with torch.random.fork_rng(devices=[]):  # the draw of weights that are replaced should disturb nobody
        return model(config.from_dict(header.config), *spec)


def _require_fit(path: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Exactly the weights that the configuration calls for, in their shapes."""
    common = expected.keys() & tensors.keys()
    misfits = {
        "missing": sorted(expected.keys() - tensors.keys()),
        "unexpected": sorted(tensors.keys() - expected.keys()),
        "of another shape": [
            f"{key} {list(tensors[key].shape)}, expected {list(expected[key].shape)}"
            for key in sorted(common)
            if tensors[key].shape != expected[key].shape
        ],
    }
    if told := [f"{len(keys)} {what} ({'; '.join(keys[:3])})" for what, keys in misfits.items() if keys]:
        raise CheckpointError(f"{path}: its weights are not those of its configuration: {', '.join(told)}")
