"""What a run tells while it goes on: a progress bar, a JSON line each validation, TensorBoard."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from tqdm import tqdm

from vocoder.features import LogMel, MelSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Report:
    """The log of one run, kept by its first process."""

    def __init__(self, out: Path, spec: MelSpec, steps: int, done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.spec, self.log = spec, out / "log.jsonl"
        self.board = SummaryWriter(str(out / "tensorboard"), purge_step=done)
        self.bar = tqdm(total=steps, initial=done, unit="step", dynamic_ncols=True, disable=None)

    def step(self, step: int, terms: dict[str, float], seconds_per_second: float) -> None:
        for name, value in terms.items():
            self.board.add_scalar(f"train/{name}", value, step)
        self.board.add_scalar("train/audio_seconds_per_second", seconds_per_second, step)
        shown = {name: f"{value:.3f}" for name, value in terms.items()}
        self.bar.set_postfix({**shown, "audio s/s": f"{seconds_per_second:.1f}"}, refresh=False)
        self.bar.update(step - self.bar.n)

    def validation(self, step: int, line: dict[str, float]) -> None:
        for name, value in line.items():
            self.board.add_scalar(f"val/{name}", value, step)
        self.say(f"step {step}: validation NLL {line['nll']:.3f} nats per sample")
        with self.log.open("a", encoding="utf-8") as log:
            log.write(json.dumps({"step": step, **line}) + "\n")

    def sample(self, step: int, truth: Tensor, sample: Tensor) -> None:
        """Both waveforms ``[T]`` to hear, and their mels to see."""
        for name, audio in (("recording", truth), ("sample", sample)):
            self.board.add_audio(name, audio.clamp(-1, 1), step, sample_rate=self.spec.sample_rate)
        mels = LogMel(self.spec)(torch.stack([truth, sample]))
        self.board.add_figure("mel: recording above, sample below", mel_figure(mels), step)

    def say(self, line: str) -> None:
        """One line on standard error, above the bar if there is one."""
        self.bar.write(line, file=sys.stderr)

    def close(self) -> None:
        self.bar.close()
        self.board.close()


def mel_figure(mels: Tensor) -> Figure:
    """Draw mels ``[N, M, L]`` one below the other."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 2.5 * len(mels)), layout="constrained")
    FigureCanvasAgg(figure)
    for axis, mel in zip(figure.subplots(len(mels), squeeze=False)[:, 0], mels, strict=True):
        axis.imshow(mel.numpy(), origin="lower", aspect="auto", vmin=-11.5, vmax=1)
    return figure
