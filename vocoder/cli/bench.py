"""`vocoder bench`: how fast a voice speaks on this machine, beside a yardstick timed in the same run."""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vocoder import __version__
from vocoder.cli import options
from vocoder.errors import InvalidInput

if TYPE_CHECKING:
    import torch

    from vocoder.features import MelSpec

__all__ = ["add_commands"]

SECONDS = 10.0
GRIFFIN_LIM_ITERATIONS = 32
BASELINE = f"Griffin-Lim, {GRIFFIN_LIM_ITERATIONS}"


def add_commands(commands: options.Commands) -> None:
    """Add `bench`."""
    parser = commands.add_parser("bench", help="time synthesis here", description=bench.__doc__)
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="timed runs; the median counts")
    options.add_voice(parser)
    options.add_device(parser)
    options.add_json(parser)
    parser.set_defaults(run=bench)


def bench(asked: argparse.Namespace) -> None:
    """Time a voice on a mel of 10 s, and Griffin-Lim (32 iterations, on the CPU) on the same mel."""
    if asked.runs < 1:
        raise InvalidInput(f"--runs (={asked.runs}) must be at least 1")
    table = measure(asked)
    if asked.json:
        options.print_json(table)
    else:
        print(_as_text(table))


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """The table, as JSON has it."""
    from vocoder.macs import giga_macs

    voice = options.load_voice(asked)
    mel = _mel(voice.spec)
    seconds = voice.spec.samples(mel.shape[1]) / voice.spec.sample_rate
    systems = {voice.name: lambda: voice(mel), BASELINE: _griffin_lim(mel, voice.spec)}
    timed = {name: _median_time(speak, asked.runs) for name, speak in systems.items()}
    return {
        "audio_seconds": seconds,
        "systems": {
            name: {"seconds": took, "times_real_time": seconds / took} for name, took in timed.items()
        },
        "gmac_per_second_of_audio": giga_macs(voice.model),
        "device": str(voice.device),
        "runs": asked.runs,
        "machine": _machine(voice.device),
    }


def _mel(spec: "MelSpec") -> "torch.Tensor":
    """Ten seconds `[M, L]` of steady noise at the level of speech: what is said does not change the time."""
    from vocoder.features import LogMel
    from vocoder.noise import noise

    frames = round(SECONDS * spec.sample_rate / spec.hop_length)
    return LogMel(spec)(0.05 * noise(0, 0, spec.samples(frames))[None])[0, :, :frames]


def _griffin_lim(mel: "torch.Tensor", spec: "MelSpec") -> "Callable[[], torch.Tensor]":
    """The classical way from magnitudes to audio; from mel to magnitudes by the filters' pseudo-inverse."""
    import torch
    from torchaudio.transforms import GriffinLim

    from vocoder.features import mel_filters

    inverse = torch.linalg.pinv(mel_filters(spec)).float()
    transform = GriffinLim(spec.n_fft, GRIFFIN_LIM_ITERATIONS, spec.win_length, spec.hop_length, power=1.0)
    return lambda: transform((inverse @ mel.exp()).clamp(min=0))


def _median_time(speak: Callable[[], object], runs: int) -> float:
    speak()  # the first call allocates, and chooses algorithms
    return statistics.median(_time(speak) for _ in range(runs))


def _time(speak: Callable[[], object]) -> float:
    """Seconds; the audio comes back to the CPU, which waits for a GPU to be done."""
    started = time.perf_counter()
    speak()
    return time.perf_counter() - started


def _machine(device: "torch.device") -> dict[str, Any]:
    import numpy as np
    import torch

    return {
        "processor": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "flow-vocoder": __version__,
    }


def _processor() -> str:
    """The CPU's name, which only Linux tells, and not on every machine."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _as_text(table: dict[str, Any]) -> str:
    machine = table["machine"]
    rows = [f"{'':24} {'seconds':>9} {'× real time':>12}"]
    for name, row in table["systems"].items():
        rows.append(f"{name:24} {row['seconds']:9.4f} {row['times_real_time']:12.1f}")
    versions = ", ".join(f"{name} {machine[name]}" for name in ("flow-vocoder", "torch", "numpy", "python"))
    return "\n".join(
        [
            f"{table['audio_seconds']:.2f} s of audio on {table['device']}, median of {table['runs']} runs",
            *rows,
            f"{table['gmac_per_second_of_audio']:.3f} GMAC per second of audio",
            f"{machine['processor']}, {machine['threads']} threads, {machine['system']}",
            versions,
        ]
    )
