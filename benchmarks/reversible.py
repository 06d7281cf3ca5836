"""What a reversible chain saves and costs on this CPU, by depth: one thread, both ways in turn.

    python -m benchmarks.reversible [--data DIR]

A step is the likelihood of a batch and its gradient, after the weights have moved. "Saved" is what the graph
keeps between the two passes, "at most" what is kept for a gradient at any moment of both, parameters not
counted; time is that of the process. With recordings, also how far the gradients of the default voice are
from those in float64, as training by likelihood and by the spectral distance has them.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections import Counter
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from vocoder import checkpoint, voices
from vocoder.clips import find_clips
from vocoder.features import MelSpec
from vocoder.flows import make_reversible
from vocoder.models.waveglow import WaveGlow, WaveGlowConfig
from vocoder.nets.wavenet import WaveNet
from vocoder.training.data import Batches, Cut, Recordings, shortest_clip
from vocoder.training.objective import Objective, Weights
from vocoder.training.recipes import small

SHAPES = {  # config, clips, frames
    "small()": (small(), 8, 32),
    "waveglow-256, 32 wide": (WaveGlowConfig(channels=32, early_every=0, early_size=0), 1, 16),
    "the same, early outputs": (WaveGlowConfig(channels=32, early_size=1), 1, 16),
}
DEPTHS = {
    "small()": (4, 8, 16, 32),
    "waveglow-256, 32 wide": (4, 8, 16, 32),
    "the same, early outputs": (12,),
}
ROUNDS = 5
WAYS = (False, True)  # stored, reversible

Batch = tuple[Tensor, Tensor]  # audio and mel


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="recordings, for the second table")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, one thread, torch {torch.__version__}"
    print(f"{machine}; float32, medians of {ROUNDS} steps. Stored → reversible:\n")
    by_depth()
    if asked.data:
        print()
        by_rounding(asked.data)


def by_depth() -> None:
    """Memory, time and difference of the gradients at each depth."""
    print_row("shape", "flows", "saved, MB", "at most, MB", "ms a step", "time", "gradients differ by")
    print_row(*["---"] * 7)
    for name, depths in DEPTHS.items():
        for depth in depths:
            model, batch = prepare(name, depth)
            memory = [saved(model, batch, on=on) for on in WAYS]
            (stored, rebuilt), difference = race(model, batch)
            kept, most = zip(*memory, strict=True)
            cells = [name, str(depth), told(kept, 1e-6), told(most, 1e-6), told((stored, rebuilt), 1e3)]
            print_row(*cells, f"{rebuilt / stored:.2f} ×", f"{difference:.0e}")


def print_row(*cells: str) -> None:
    """One of a table, at once."""
    print("| " + " | ".join(cells) + " |", flush=True)


def told(values: tuple[float, ...], unit: float) -> str:
    """Both ways, side by side."""
    return " → ".join(f"{value * unit:.1f}" for value in values)


def prepare(name: str, depth: int) -> tuple[WaveGlow, Batch]:
    """A model of the shape, so deep, whose networks say something, and a batch for it."""
    config, clips, frames = SHAPES[name]
    torch.manual_seed(0)
    model = WaveGlow(replace(config, flows=depth), MelSpec())
    for net in model.modules():
        if isinstance(net, WaveNet):
            nn.init.normal_(net.end.weight, std=0.02)
    audio = 0.05 * torch.randn(clips, frames * model.spec.hop_length)
    return model, (audio, torch.randn(clips, model.spec.n_mels, frames) - 5)


def loss_of(model: WaveGlow, batch: Batch, *, on: bool) -> Tensor:
    """Nats a sample, to be differentiated in this way."""
    make_reversible(model, on)
    return -model.log_prob(*batch).mean() / batch[0].shape[1]


def race(model: WaveGlow, batch: Batch) -> tuple[list[float], float]:
    """Seconds a step, and the relative difference of the last gradients."""
    seconds: tuple[list[float], list[float]] = ([], [])
    found = [torch.zeros(1), torch.zeros(1)]
    for _ in range(1 + ROUNDS):
        with torch.no_grad():
            torch._foreach_mul_(list(model.parameters()), 1 - 1e-5)
        for on in WAYS:
            started = time.process_time()
            gradients = torch.autograd.grad(loss_of(model, batch, on=on), list(model.parameters()))
            seconds[on].append(time.process_time() - started)
            found[on] = flat(gradients)
    return [statistics.median(each[1:]) for each in seconds], distance(found[1], found[0])


class Kept:
    """Tensors kept for a gradient, by the memory they lie in; `most` at any moment."""

    def __init__(self, model: nn.Module) -> None:
        self.holders: Counter[int] = Counter()
        self.own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
        self.now, self.most = 0, 0

    def add(self, place: int, size: int, count: int) -> None:
        """One holder of this memory more, or less."""
        self.holders[place] += count
        first_or_last = self.holders[place] == (1 if count > 0 else 0)
        self.now += count * size * first_or_last * (place not in self.own)
        self.most = max(self.most, self.now)


class Held:
    """One of them, which tells when it is let go."""

    def __init__(self, tensor: Tensor, kept: Kept) -> None:
        self.tensor, self.kept = tensor.detach(), kept
        memory = tensor.untyped_storage()
        self.place, self.size = memory.data_ptr(), memory.nbytes()
        kept.add(self.place, self.size, 1)

    def __del__(self) -> None:
        self.kept.add(self.place, self.size, -1)


def saved(model: WaveGlow, batch: Batch, *, on: bool) -> tuple[int, int]:
    """Bytes kept between the passes, and at most."""
    kept = Kept(model)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: Held(t, kept), lambda held: held.tensor):
        loss = loss_of(model, batch, on=on)
        between = kept.now
        torch.autograd.grad(loss, list(model.parameters()))
    return between, kept.most


PRECISIONS = {  # of the weights, and of the networks
    "float64": (torch.float64, torch.float64),
    "float32": (torch.float32, torch.float32),
    "bfloat16 autocast": (torch.float32, torch.bfloat16),
}


def by_rounding(data: Path) -> None:
    """How far the default voice's gradients are from the stored ones in float64, for each term."""
    model, _ = checkpoint.load(voices.find("default"))
    cut = Cut(batch=8, frames=32)
    clips = Recordings(find_clips(data, "val")[:20], model.spec, shortest_clip(model.spec, cut), quiet=True)
    batches = Batches(clips, model.spec, cut, seed=0)
    print_row("default voice, batch", "term", *PRECISIONS)
    print_row(*["---"] * (2 + len(PRECISIONS)))
    terms = {"likelihood": Weights(), "spectral": Weights(likelihood=0, spectral=1, temperature=0.7)}
    for step in range(2):
        for term, weights in terms.items():
            ask = partial(gradient, model, weights, batches(step))
            found = {name: [ask(*of, on=on) for on in WAYS] for name, of in PRECISIONS.items()}
            exact = found["float64"][0]
            off = (" → ".join(f"{distance(each, exact):.0e}" for each in both) for both in found.values())
            print_row(str(step), term, *off)


def gradient(
    model: WaveGlow,
    weights: Weights,
    batch: tuple[Tensor, ...],
    dtype: torch.dtype,
    networks: torch.dtype,
    *,
    on: bool,
) -> Tensor:
    """That of one term for one batch, at this precision and in this way."""
    model = deepcopy(model).to(dtype)  # from single precision, the front's matrices would come back rounded
    make_reversible(model, on)
    with torch.autocast("cpu", torch.bfloat16, enabled=networks == torch.bfloat16):
        loss = Objective(model, weights)(*(part.to(dtype) for part in batch))["loss"]
    return flat(torch.autograd.grad(loss, list(model.parameters())))


def flat(gradients: tuple[Tensor, ...]) -> Tensor:
    """All of them in one row."""
    return torch.cat([gradient.double().flatten() for gradient in gradients])


def distance(a: Tensor, b: Tensor) -> float:
    """Relative to the length of ``b``."""
    return float((a - b).norm() / b.norm())


if __name__ == "__main__":
    main()
