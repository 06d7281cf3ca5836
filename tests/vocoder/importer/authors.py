"""Files as other people's software writes them: real modules, pickled under their authors' names."""

import importlib.util
import io
import sys
import tarfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

FOREIGN = Path(__file__).parent / "foreign"
BANDS, GROUP = 4, 8
SHAPE = {"n_mel_channels": BANDS, "n_flows": 5, "n_group": GROUP, "n_early_every": 2, "n_early_size": 2}
NET = {"n_layers": 3, "n_channels": 6, "kernel_size": 3}
SQUEEZE = {
    "n_mel_channels": BANDS,
    "n_flows": 5,
    "n_audio_channel": 128,
    "n_early_every": 2,
    "n_early_size": 16,
}
YAML = """
sigma: 1.0
preprocessor:
  _target_: nemo.collections.asr.parts.preprocessing.features.FilterbankFeatures
  sample_rate: 16000
  n_fft: 2048
  n_window_size: 1024
  n_window_stride: 256
  nfilt: 4
  lowfreq: 40
  highfreq: null
  window: hann
  normalize: null
  preemph: null
  log: true
  log_zero_guard_type: clamp
  log_zero_guard_value: 1e-05
  mag_power: 1.0
waveglow:
  n_group: 8
"""


@contextmanager
def author(name: str, file: str) -> Iterator[ModuleType]:
    """The module `file` of the folder beside this one, importable under its author's `name` for as long."""
    spec = importlib.util.spec_from_file_location(name, FOREIGN / f"{file}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    words = name.split(".")
    packages = {each: ModuleType(each) for each in (".".join(words[:i]) for i in range(1, len(words)))}
    for package in packages.values():
        package.__path__ = []
    sys.modules.update({**packages, name: module})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # old-style weight norm is what the files have
            spec.loader.exec_module(module)
            yield module
    finally:
        for each in (*packages, name):
            del sys.modules[each]


def trained(network: nn.Module, scale: float = 0.15) -> Any:
    """A network in evaluation mode that does something: its author starts it as the identity."""
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "convinv" not in name:
                weight.add_(scale * torch.randn_like(weight))
        for name, statistic in network.named_buffers():
            if name.endswith("running_var"):
                statistic.copy_(0.5 + torch.rand_like(statistic))
            elif name.endswith("running_mean"):
                statistic.copy_(torch.randn_like(statistic))
    return network.eval()


def checkpoint(model: nn.Module) -> dict[str, Any]:
    """What NVIDIA's train.py saves, with the state of an optimiser that has made a step."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    optimizer.zero_grad()
    return {"model": model, "iteration": 580000, "optimizer": optimizer.state_dict(), "learning_rate": 1e-4}


def save(value: object, path: Path, *, zipped: bool = True) -> Path:
    """`torch.save`, in the format since 1.6 or the one before."""
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


def nemo(
    state: dict[str, Tensor], path: Path, *, mode: str = "w:gz", config: str = YAML, others: int = 0
) -> Path:
    """A `.nemo` archive of a NeMo model: waveglow, and the preprocessor's buffers."""
    renamed = {f"waveglow.{key.replace('WN.', 'wavenet.')}": value for key, value in state.items()}
    first = next(key for key in state if key.startswith("convinv"))
    renamed[f"waveglow.{first.replace('conv.weight', 'inv_conv.weight')}"] = state[first]
    renamed["audio_to_melspec_precessor.fb"] = torch.zeros(1, 4, 513)
    weights = io.BytesIO()
    torch.save(renamed, weights)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]  # a mode in a variable
        for i in range(others):
            archive.addfile(tarfile.TarInfo(f"tokenizer_{i}.model"))
        for name, data in (
            ("model_config.yaml", config.encode()),
            ("model_weights.ckpt", weights.getvalue()),
        ):
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def parametrised(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights as `torch.nn.utils.parametrizations.weight_norm` names them."""
    names = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
    return {
        next((key.removesuffix(old) + new for old, new in names.items() if key.endswith(old)), key): value
        for key, value in state.items()
    }


def wrapped(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The same weights as a wrapper of the network names them."""
    return {prefix + key: value for key, value in state.items()}
