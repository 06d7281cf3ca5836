"""One table for a vocoder and for Griffin-Lim: clips → mels → both systems → every metric.

Both are given the same mels, those of the recordings, and both are compared with the recordings themselves.
Griffin-Lim is the yardstick: what can be had from a mel without having learnt anything.

Letters: T samples, M mel bands, L mel frames.
"""

import json
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from vocoder import audio
from vocoder.errors import InvalidAudio, InvalidInput
from vocoder.features import LogMel, MelSpec
from vocoder.metrics import Reference, library, select
from vocoder.tones import tone_excess

__all__ = ["Clip", "Report", "Summary", "evaluate", "griffin_lim", "mel_error"]

Vocode = Callable[[Tensor, int], Tensor]  # mel [M, L] and seed → audio [L · hop]
Scores = dict[str, float]
GRIFFIN_LIM = "Griffin-Lim"
NLL = "nll"
TONES = "tones"
ITERATIONS = 60  # of Griffin-Lim
JUDGES = ("auraloss", "librosa", "pesq", "pystoi", "torch", "torchcrepe")


def evaluate(
    vocode: Vocode,
    spec: MelSpec,
    clips: Iterable[Path],
    *,
    name: str = "vocoder",
    seed: int = 0,
    metrics: Iterable[str] | None = None,
    baseline: bool = True,
    nll: Callable[[Tensor, Tensor], float] | None = None,
    group: int | None = None,
    settings: Mapping[str, object] | None = None,
    progress: bool = True,
) -> "Report":
    """Measure a vocoder on recordings.

    `vocode(mel [M, L], seed)` returns audio `[L · hop]`, and is called with the same seed for every clip;
    `metrics` names those to compute (all of `METRICS` by default); `baseline` adds a row for Griffin-Lim;
    `nll(audio [T], mel [M, L])` is the negative log-likelihood of the recording, in nats per sample; `group`
    is the vocoder's G, and adds how far every system's tones at multiples of Fs / G stand out above the
    recording's (`tone_excess`, in decibels); `settings`, anything that JSON can hold, is written down in the
    report beside ours. The progress bar shows on a terminal only. Raises `InvalidInput` where there is no
    clip, `InvalidAudio` for a clip that cannot be read or is too short for a mel.
    """
    names = [metric.name for metric in select(metrics)]
    if not (paths := list(clips)):
        raise InvalidInput("clips is empty; there is nothing to evaluate")
    systems = {name: vocode} | ({GRIFFIN_LIM: partial(griffin_lim, spec=spec)} if baseline else {})
    log_mel = LogMel(spec)
    done = []
    for path in tqdm(paths, desc="evaluate", unit="clip", disable=None if progress else True):
        recording, mel = _with_mel(path, log_mel)
        reference = Reference(recording, spec.sample_rate)
        heard = {system: _heard(make, mel, seed, spec, len(recording)) for system, make in systems.items()}
        scores = {system: reference.measure(sound, names) for system, sound in heard.items()}
        if group is not None:
            for system, sound in heard.items():
                scores[system][TONES] = tone_excess(sound, recording, spec.sample_rate, group)
        if nll is not None:
            scores[name][NLL] = float(nll(recording, mel))
        done.append(Clip(path.name, len(recording) / spec.sample_rate, scores))
    ours = {"griffin_lim_iterations": ITERATIONS} if baseline else {}
    return Report(spec, seed, tuple(done), {**ours, **(settings or {})})


def griffin_lim(mel: Tensor, seed: int, spec: MelSpec, iterations: int = ITERATIONS) -> Tensor:
    """Audio `[L · hop]` from a log-mel `[M, L]` without a model.

    Griffin and Lim (1984), as Perraudin et al. (2013) made it faster, by librosa: non-negative least squares
    from mel magnitudes to the STFT's, then the fast algorithm at its momentum of 0.99 from a random phase
    drawn with `seed`.
    """
    librosa = library("librosa")
    magnitudes = librosa.feature.inverse.mel_to_stft(
        mel.detach().cpu().double().exp().numpy(),
        sr=spec.sample_rate,
        n_fft=spec.n_fft,
        power=1.0,
        fmin=spec.f_min,
        fmax=spec.f_max,
    )
    samples = librosa.griffinlim(
        magnitudes,
        n_iter=iterations,
        hop_length=spec.hop_length,
        win_length=spec.win_length,
        n_fft=spec.n_fft,
        length=spec.samples(mel.shape[-1]) - 1,  # the longest clip that has no more frames than the mel
        pad_mode="reflect",
        init="random",
        random_state=seed,
    )
    return torch.nn.functional.pad(torch.from_numpy(samples).float(), (0, 1))


def mel_error(vocode: Vocode, spec: MelSpec, mel: Tensor, seed: int = 0) -> float:
    """How far the mel of what is synthesised is from the mel `[M, L]` it was synthesised from.

    The mean of |mel(vocode(mel)) - mel| over bands and frames, in nats. Needs no recording: a
    vocoder that renders what it was asked for comes near 0, though 0 does not mean that it sounds right.
    """
    rendered = LogMel(spec)(vocode(mel, seed)[None])[0, :, : mel.shape[-1]]
    return float((rendered - mel).abs().mean())


@dataclass(frozen=True)
class Clip:
    """One recording: its file, its length in seconds, and system → metric → score (NaN: there is none)."""

    name: str
    seconds: float
    scores: dict[str, Scores]


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation over the clips that have a score, and how many those are."""

    mean: float
    std: float
    clips: int


@dataclass(frozen=True)
class Report:
    """What was measured, clip by clip, and its summary."""

    spec: MelSpec
    seed: int
    clips: tuple[Clip, ...]
    settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def systems(self) -> list[str]:
        """Who was measured: the vocoder, then Griffin-Lim."""
        return list(self.clips[0].scores)

    def summary(self) -> dict[str, dict[str, Summary]]:
        """System → metric → mean, spread and count over the clips."""
        return {
            system: {
                metric: _summarise(clip.scores[system][metric] for clip in self.clips) for metric in scores
            }
            for system, scores in self.clips[0].scores.items()
        }

    def to_json(self) -> str:
        """Everything, as JSON; a score that does not exist is null."""
        systems = {s: {m: asdict(x) for m, x in row.items()} for s, row in self.summary().items()}
        everything = {
            "spec": self.spec.to_dict(),
            "seed": self.seed,
            "settings": dict(self.settings),
            "seconds": sum(clip.seconds for clip in self.clips),
            "systems": systems,
            "clips": [asdict(clip) for clip in self.clips],
            "libraries": dict(_versions()),
        }
        return json.dumps(_without_nan(everything), indent=2, ensure_ascii=False, allow_nan=False)

    def to_markdown(self) -> str:
        """Two tables: a row for each system, then a row for each clip and system."""
        columns = list(dict.fromkeys(metric for row in self.clips[0].scores.values() for metric in row))
        titles = [_title(column) for column in columns]
        totals = [
            [system, str(len(self.clips)), *(self._total(row.get(c)) for c in columns)]
            for system, row in self.summary().items()
        ]
        singles = [
            [clip.name, system, f"{clip.seconds:.2f}", *(_cell(scores.get(c)) for c in columns)]
            for clip in self.clips
            for system, scores in clip.scores.items()
        ]
        return (
            _table(["System", "Clips", *titles], totals)
            + "\n"
            + _table(["Clip", "System", "s", *titles], singles)
        )

    def _total(self, entry: Summary | None) -> str:
        """A mean and its spread; in brackets how many clips have a score, where not all do."""
        if entry is None or not entry.clips:
            return "–"
        spread = f" ± {entry.std:.3f}" if entry.clips > 1 else ""
        count = f" ({entry.clips})" if entry.clips < len(self.clips) else ""
        return f"{entry.mean:.3f}{spread}{count}"


def _with_mel(path: Path, log_mel: LogMel) -> tuple[Tensor, Tensor]:
    recording = audio.load(path, log_mel.spec.sample_rate)
    try:
        return recording, log_mel(recording[None])[0]
    except InvalidAudio as error:
        raise InvalidAudio(f"{path} has no mel: {error}") from error


def _heard(vocode: Vocode, mel: Tensor, seed: int, spec: MelSpec, samples: int) -> Tensor:
    """What a system makes of a mel, cut to the recording, which ends within the last frame."""
    sound, expected = vocode(mel, seed).detach().cpu().float(), [spec.samples(mel.shape[-1])]
    if list(sound.shape) != expected:
        raise InvalidAudio(
            f"vocode returned shape {list(sound.shape)}, expected {expected}, frames times hop"
        )
    return sound[:samples]


def _summarise(scores: Iterable[float]) -> Summary:
    known = [score for score in scores if math.isfinite(score)]
    mean = statistics.fmean(known) if known else math.nan
    return Summary(mean, statistics.stdev(known) if len(known) > 1 else math.nan, len(known))


def _versions() -> Iterator[tuple[str, str]]:
    for name in JUDGES:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue


def _without_nan(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _title(column: str) -> str:
    if column in (NLL, TONES):
        return "NLL (nats/sample) ↓" if column == NLL else "Tones (dB) ↓"
    (metric,) = select([column])
    return f"{metric.title} {'↑' if metric.higher_is_better else '↓'}"


def _cell(score: float | None) -> str:
    return "–" if score is None or not math.isfinite(score) else f"{score:.3f}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
