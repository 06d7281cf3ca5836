"""What the likelihood notices of a wrong mel: losses, detections and false alarms of `vocoder.diagnosis`.

    python -m benchmarks.mismatch --data DIR[:SPLIT] … [--limit 6] [--checkpoint VOICE]

For each kind of mel, clip by clip: the loss that is diagnosed (in nats per sample, of the median frame), how
often it is above the tolerance, and how often its cause is named. Of each clip the first three seconds are
taken. Then how exactly audio → z → audio comes back, of recordings and of what the voice itself speaks.

The tolerance and the limits beside it were chosen on Kathleen's validation clips and the men of `eval`; other
folders had no part in that.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import soundfile
import torch
import torchaudio
from torch import Tensor

from vocoder import Vocoder, audio
from vocoder.clips import find_clips
from vocoder.diagnosis import TOLERANCE, Diagnosis, diagnose, reconstruction
from vocoder.features import LogMel, MelSpec

SECONDS = 3
DECIBELS = 20 / math.log(10)


@dataclass(frozen=True)
class Case:
    """A recording, its mel, and the mel of another recording, as long."""

    spec: MelSpec
    audio: Tensor
    mel: Tensor
    other: Tensor

    def under(self, **changes: float) -> Tensor:
        """The mel of the recording under the spec with other numbers."""
        return LogMel(replace(self.spec, **changes))(self.audio[None])[0]  # type: ignore[arg-type]


@dataclass(frozen=True)
class Kind:
    """A mel that somebody might come with, and how the name of its cause may begin, if it has one."""

    make: Callable[[Case], Tensor]
    causes: tuple[str, ...] = ()


def late(mel: Tensor, frames: int) -> Tensor:
    """So many frames late, the first repeated."""
    return torch.cat([mel[:, :1].expand(-1, frames), mel[:, :-frames]], 1)


def hifigan(case: Case) -> Tensor:
    """Framed as HiFi-GAN does: mirrored by (n_fft - hop)/2, not centred; the last frame of ours stands in."""
    spec = case.spec
    margin = (spec.n_fft - spec.hop_length) // 2
    padded = torch.nn.functional.pad(case.audio[None], (margin, margin), mode="reflect")
    return torch.cat([_log_mel(spec, padded, LogMel(spec).filters, center=False), case.mel[:, -1:]], 1)


def htk(case: Case) -> Tensor:
    """The filters that torchaudio makes if not told otherwise: HTK's scale, of height one."""
    spec = case.spec
    bins, edges = spec.n_fft // 2 + 1, (spec.f_min, spec.f_max)
    filters = torchaudio.functional.melscale_fbanks(bins, *edges, spec.n_mels, spec.sample_rate)
    return _log_mel(spec, case.audio[None], filters.T, center=True)


def _log_mel(spec: MelSpec, sound: Tensor, filters: Tensor, *, center: bool) -> Tensor:
    window = torch.hann_window(spec.win_length)
    numbers = (spec.n_fft, spec.hop_length, spec.win_length)
    spectrum = torch.stft(sound, *numbers, window=window, center=center, return_complex=True)
    return (filters @ spectrum.abs()[0]).clamp(min=spec.floor).log()


def vorbis(case: Case) -> Tensor:
    """The mel of the recording as Ogg Vorbis leaves it."""
    file = io.BytesIO()
    soundfile.write(file, case.audio.numpy(), case.spec.sample_rate, format="OGG")
    again = audio.decode(file.getvalue(), case.spec.sample_rate)
    return LogMel(case.spec)(again[None])[0]


def librosa_decibels(case: Case) -> Tensor:
    """Decibels below the loudest, cut off at -80."""
    decibels = DECIBELS * case.mel
    return (decibels - decibels.max()).clamp(min=-80)


KINDS = {
    "its own": Kind(lambda case: case.mel),
    "its own, half precision": Kind(lambda case: case.mel.half()),
    "of its copy in Ogg Vorbis": Kind(vorbis),
    "1 dB louder": Kind(lambda case: case.mel + 1 / DECIBELS),
    "HiFi-GAN's framing": Kind(hifigan),
    "log10": Kind(lambda case: case.mel / math.log(10), ("like log10, not ln",)),
    "dB below the loudest, cut at -80": Kind(librosa_decibels, ("in decibels", "like db,")),
    "of another clip": Kind(lambda case: case.other),
    "1 frame late": Kind(lambda case: late(case.mel, 1), ("1 frame late",)),
    "2 frames late": Kind(lambda case: late(case.mel, 2), ("2 frames late",)),
    "6 dB louder": Kind(lambda case: case.mel + 6 / DECIBELS, ("6.0 dB louder",)),
    "6 dB quieter": Kind(lambda case: case.mel - 6 / DECIBELS, ("6.0 dB quieter",)),
    "filters to 7000 Hz": Kind(lambda case: case.under(f_max=7000.0), ("made by filters up to 7000 Hz",)),
    "filters to Nyquist": Kind(lambda case: case.under(f_max=11025.0), ("made by filters up to 11025 Hz",)),
    "filters from 55 Hz": Kind(lambda case: case.under(f_min=55.0), ("made by filters from 55 Hz",)),
    "filters for 24 kHz": Kind(
        lambda case: case.under(sample_rate=24000), ("made by filters for audio of 24000",)
    ),
    "filters of torchaudio's default": Kind(htk, ("off by a constant in every band",)),
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    told = "folder of recordings, or of one split of its metadata.tsv"
    parser.add_argument("--data", nargs="+", required=True, metavar="DIR[:SPLIT]", help=told)
    parser.add_argument("--limit", type=int, default=6, help="so many of each, spread evenly")
    parser.add_argument("--checkpoint", default="default", help="a voice, by name or path")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    voice = Vocoder.load(asked.checkpoint, device="cpu")
    print(f"{voice.name} {voice.header.weights[:8]}, tolerance {TOLERANCE} nats per sample; {_machine()}")
    for each in asked.data:
        folder, _, split = each.partition(":")
        paths = find_clips(Path(folder), split or None)
        name = ", ".join(filter(None, [Path(folder).name, split]))
        _report(voice, name, paths[:: max(1, len(paths) // asked.limit)][: asked.limit])
    print(f"\n{time.process_time():.0f} s of one core in all.")


def _report(voice: Vocoder, name: str, paths: list[Path]) -> None:
    cases = list(_cases(voice.spec, paths))
    print(f"\n## {name}: {len(cases)} clips\n")
    print("| the mel is | loss: least | median | most | flagged | named right |")
    print("| --- | --- | --- | --- | --- | --- |")
    for kind, what in KINDS.items():
        print(f"| {kind} | {_row([diagnose(voice, case.audio, what.make(case)) for case in cases], what)} |")
    print("\n| audio → z → audio | error of a sample: median clip | worst | SNR (dB): median clip | worst |")
    print("| --- | --- | --- | --- | --- |")
    spoken = [replace(case, audio=voice(case.mel)) for case in cases]
    print(f"| recordings | {_exactness(voice, cases)} |\n| its own samples | {_exactness(voice, spoken)} |")


def _row(found: list[Diagnosis], what: Kind) -> str:
    losses = [each.loss for each in found]
    told = [f"{loss:.3f}" if abs(loss) < 10 else f"{loss:.3g}" for loss in _spread(losses)]
    flagged = sum(not each.fits for each in found)
    right = sum(each.cause is not None and each.cause.startswith(what.causes) for each in found)
    named = f"{right}/{len(found)}" if what.causes else "–"
    return " | ".join([*told, f"{flagged}/{len(found)}", named])


def _spread(values: list[float]) -> tuple[float, float, float]:
    return min(values), statistics.median(values), max(values)


def _exactness(voice: Vocoder, cases: list[Case]) -> str:
    again = [reconstruction(voice, case.audio, case.mel) for case in cases]
    _, error, worst = _spread([each.max_error for each in again])
    lowest, ratio, _ = _spread([each.snr_db for each in again])
    return f"{error:.2g} | {worst:.2g} | {ratio:.1f} | {lowest:.1f}"


def _cases(spec: MelSpec, paths: list[Path]) -> Iterator[Case]:
    clips = [audio.load(path, spec.sample_rate)[: SECONDS * spec.sample_rate] for path in paths]
    mels = [LogMel(spec)(clip[None])[0] for clip in clips]
    for clip, mel, other in zip(clips, mels, [mels[-1], *mels[:-1]], strict=True):
        yield Case(spec, clip, mel, other[:, torch.arange(mel.shape[1]) % other.shape[1]])


def _machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, 1 thread, torch {torch.__version__}"


if __name__ == "__main__":
    main()
