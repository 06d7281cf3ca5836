"""What a Glow keeps for its gradient, and how long a step takes, by depth, stored and reversible.

    OMP_NUM_THREADS=1 python -m benchmarks.reversible_glow

K steps at each of two scales, width 32, on 64 images of 8×8. "Kept" is what the graph holds between the two
passes, parameters not counted; time is that of the process, the two ways in turn, medians of 5.
"""

from __future__ import annotations

import os
import platform
import statistics
import time

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from vocoder.flows import make_reversible
from vocoder.models.glow import Glow, GlowConfig

DEPTHS = (4, 8, 16, 32, 64)
ROUNDS = 5


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{platform.machine()}, {os.cpu_count()} cores, one thread, torch {torch.__version__}, float32.\n")
    print("| K | parameters | kept, stored (MB) | kept, reversible (MB) | time of a step |")
    print("| --- | --- | --- | --- | --- |")
    x = torch.rand(64, 1, 8, 8)
    for depth in DEPTHS:
        model = Glow(GlowConfig((1, 8, 8), 17, "logit", scales=2, steps=depth, width=32, bound=1.0))
        model.initialise(x)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        stored, rebuilt = (_kept(model, x, on) / 1e6 for on in (False, True))
        ratio = _ratio(model, x)
        print(f"| {depth} | {parameters} | {stored:.1f} | {rebuilt:.2f} | {ratio:.2f} × |", flush=True)


def _kept(model: Glow, x: Tensor, on: bool) -> int:
    """Bytes."""
    make_reversible(model, on)
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(x).mean()
    total = sum(kept.values())
    loss.backward()
    return total


def _ratio(model: Glow, x: Tensor) -> float:
    """Seconds of a reversible step by those of a stored one."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(1 + ROUNDS):
        for on in (False, True):
            make_reversible(model, on)
            started = time.process_time()
            model(x).mean().backward()
            seconds[on].append(time.process_time() - started)
    stored, rebuilt = (statistics.median(each[1:]) for each in seconds)
    return rebuilt / stored


if __name__ == "__main__":
    main()
