"""`Vocoder`: a loaded voice. Log-mel in, audio out; and back, exactly.

Letters: B batch, T samples, M mel bands, L mel frames.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vocoder import checkpoint, voices
from vocoder.arguments import (
    Mel,
    as_tensor,
    at_least,
    fitted,
    number_within,
    require_finite,
    seeds_of,
)
from vocoder.denoise import Bias, Denoiser, bias_spectrum, strength_within
from vocoder.device import choose_device
from vocoder.errors import InvalidAudio, InvalidInput, InvalidMel
from vocoder.features import MelSpec, warn_if_suspect
from vocoder.models.envelope import NOISE_FLOOR
from vocoder.models.likelihood import log_prob_by_frame
from vocoder.models.waveglow import WaveGlow
from vocoder.noise import noise, whole
from vocoder.padding import padded
from vocoder.streaming import FIRST, Window, render_in_chunks

__all__ = ["Mel", "Vocoder"]


class Vocoder:
    """A voice on a device, which may be called from several threads at once.

    It holds no state between calls but its denoiser, and that is a function of its weights.

    Attributes:
        model: the flow.
        header: what its checkpoint says of it.
        device: where the model is; mels may come from anywhere, and audio always comes back to the CPU.

    >>> import vocoder
    >>> voice = vocoder.load("waveglow-tiny", device="cpu")
    >>> voice(torch.full((80, 10), -5.0), seed=1).shape
    torch.Size([2560])
    """

    def __init__(self, model: WaveGlow, header: checkpoint.Header) -> None:
        self.model, self.header = model, header
        self.device = next(model.parameters()).device
        self._denoisers: dict[str, Denoiser] = {}

    @classmethod
    def load(cls, voice: str | Path = "default", *, device: str | None = None) -> "Vocoder":
        """Load a voice that comes with the package, by name, or a checkpoint file, by path.

        `device` is `cpu`, `cuda` or `cuda:N`; without one a GPU is taken where there is one. Raises
        `UnknownVoice`, `CheckpointError` for a file that is damaged or foreign, and `InvalidInput` for a
        device that cannot be had.
        """
        chosen = choose_device(device)  # before the work of loading
        model, header = checkpoint.load(voices.find(voice))
        return cls(model.requires_grad_(False).to(chosen), header)

    @staticmethod
    def describe(voice: str | Path = "default") -> checkpoint.Header:
        """What a voice says of itself, without building it; raises what `load` raises of a file."""
        return checkpoint.read_header(voices.find(voice))

    @property
    def spec(self) -> MelSpec:
        """What its mels must be."""
        return self.model.spec

    @property
    def name(self) -> str:
        """What the voice is called."""
        return self.header.name

    def __call__(
        self,
        mel: Mel,
        *,
        seed: int | Sequence[int] = 0,
        temperature: float | None = None,
        denoise: float = 0.0,
    ) -> Tensor:
        """Speak a log-mel `[M, L]` or `[B, M, L]`: audio `[T]` or `[B, T]`, T = L · hop, float32 on the CPU.

        audio = flow⁻¹(temperature · noise, mel). The noise is a function of the seed and the position alone,
        so the same mel, seed and temperature give the same audio. `seed` is an integer in [0, 2⁶³), where
        clip b of a batch takes seed + b, or one integer for each clip. `temperature` within 0 … 2 scales the
        noise; None is the voice's own. `denoise` within 0 … 1 is how much of the voice's tones (`denoiser`)
        is taken off; with 0 they stay, and the audio is what the flow made.

        Raises `InvalidMel` for a mel that is not of the voice's spec, `InvalidInput` for a seed, temperature
        or denoise out of range, `SynthesisError` where a sample comes out that is not finite.
        """
        mel = as_tensor(mel)
        self.spec.check(mel)
        clips = list(mel if mel.ndim == 3 else mel[None])
        audio = self.batch(clips, seed=seed, temperature=temperature, denoise=denoise)
        return torch.stack(audio).reshape(*mel.shape[:-2], -1)

    def batch(
        self,
        mels: Sequence[Mel],
        *,
        seed: int | Sequence[int] = 0,
        temperature: float | None = None,
        denoise: float = 0.0,
    ) -> list[Tensor]:
        """Speak log-mels `[M, L]` of any lengths in one pass of the model: audio `[T]` of each, T = L · hop.

        A clip sounds in any company as it does alone, but for the rounding of single precision: the shorter
        ones are padded with ln(floor), and no layer sees past a clip's end. The work, and the memory, are
        those of as many clips as long as the longest. The arguments, and what is raised, are those of a call.
        """
        if not len(mels):
            raise InvalidInput("mels is empty; expected at least one")
        windows, strength = [Window.whole(self._clip(mel)) for mel in mels], strength_within(denoise)
        seeds, scale = seeds_of(seed, len(windows)), self._temperature(temperature)
        audio = self.render(windows, seeds=seeds, temperatures=[scale] * len(windows))
        return [self._denoised(each, strength) for each in audio]

    def render(
        self, windows: Sequence[Window], *, seeds: Sequence[int], temperatures: Sequence[float]
    ) -> list[Tensor]:
        """What windows of mels want, of one mel or of many, in one pass: audio `[frames · hop]` of each.

        The one way to the model: a call, a batch and a stream are windows, and so may anything else be
        (`vocoder.Windows`). Each has its own seed and temperature, and its mel is taken to be of the spec.
        The work is that of as many windows as wide as the widest. Raises `SynthesisError` as a call does.
        """
        widths, hop = [window.width for window in windows], self.spec.hop_length
        z = [
            scale * noise(seed, window.start * hop, window.width * hop)
            for window, seed, scale in zip(windows, seeds, temperatures, strict=True)
        ]
        mels, lengths = padded([window.mel for window in windows], self.spec.log_floor), torch.tensor(widths)
        audio = self._render(padded(z, 0.0), mels, lengths if len(set(widths)) > 1 else None)
        return [window.cut(each, hop) for window, each in zip(windows, audio, strict=True)]

    def stream(
        self,
        mel: Mel | Iterable[Mel],
        *,
        seed: int = 0,
        temperature: float | None = None,
        denoise: float = 0.0,
        chunk_frames: int = 1024,
        first_frames: int = FIRST,
        halo: int | None = None,
    ) -> Iterator[Tensor]:
        """Speak a log-mel `[M, L]`, or pieces of one as they come, chunk by chunk: audio `[T]` each time.

        Together the chunks are what a call makes of the whole mel, but for the rounding of single precision;
        memory does not grow with L. The first chunk has `first_frames`, few for the sake of whoever listens;
        later ones double up to `chunk_frames`. A chunk needs `model.halo` frames behind it, or the end of the
        mel; to `denoise` holds its last samples back, three quarters of a window, for the next chunk to begin
        with. A smaller `halo` is faster and answers sooner, and no longer exact: the edges of a chunk sound
        as if the mel began and ended so many frames away.

        Raises what a call raises: at once for the arguments, for a piece when it is reached.
        """
        scale, start, strength = self._temperature(temperature), whole("seed", seed), strength_within(denoise)
        chunk, first = at_least("chunk_frames", chunk_frames, 1), at_least("first_frames", first_frames, 1)
        reach = self.model.halo if halo is None else min(at_least("halo", halo, 0), self.model.halo)
        hop = self.spec.hop_length

        def render(part: Tensor, frame: int) -> Tensor:
            window = Window(part, frame, 0, part.shape[1])
            return self.render([window], seeds=[start], temperatures=[scale])[0]

        checked = map(self._clip, [mel] if isinstance(mel, (Tensor, np.ndarray)) else mel)
        chunks = render_in_chunks(render, checked, halo=reach, hop=hop, chunk=chunk, first=first)
        return _all_finite(self.denoiser().stream(chunks, strength)) if strength else chunks

    def denoiser(self, bias: Bias = "speech") -> Denoiser:
        """What `denoise` takes this voice's tones off with; made when it is first asked for, and kept.

        `bias` says what the voice is asked for its tones: ours, a flat mel at the level of ``speech``;
        ``silence``; or what the ``published`` denoiser of WaveGlow does (`vocoder.denoise.bias_spectrum`).
        """
        if bias not in self._denoisers:  # two threads may both find none: they make the same one, one is kept
            spec = self.spec
            spectrum = bias_spectrum(
                bias,
                lambda mel: self._render(torch.zeros(1, spec.samples(mel.shape[1])), mel[None])[0],
                bands=spec.n_mels,
                hop=spec.hop_length,
                margin=self.model.halo,
                floor=spec.log_floor,
            )
            self._denoisers.setdefault(bias, Denoiser(spectrum))
        return self._denoisers[bias]

    def encode(self, audio: Tensor, mel: Mel) -> Tensor:
        """The latent z = flow(audio, mel) of `audio [T]`; `model.inverse` makes the audio of it again.

        Audio and mel are fitted as for `score`, whose errors these are, and no noise is added. N(0, I) if
        audio and model agree.
        """
        return self._latent(*self._pair(audio, mel))[0]

    def reconstruct(self, audio: Tensor, mel: Mel) -> Tensor:
        """Audio → z → audio, `[T]` → `[L · hop]`: what single precision leaves of an exact inverse.

        Audio and mel are fitted as for `score`. Raises what `encode` and a call raise.
        """
        samples, conditions = self._pair(audio, mel)
        return self._render(self._latent(samples, conditions), conditions)[0]

    def score(self, audio: Tensor, mel: Mel, *, seed: int = 0) -> float:
        """The exact log-likelihood ln p(audio | mel) of `audio [T]`, in nats per sample; higher is better.

        ln p = ln N(z; 0, I) + log |det ∂z/∂audio|, divided by the number of samples. The audio is taken at
        the level it has. Noise of standard deviation 3e-4, drawn with `seed`, is added to it, as in training:
        16-bit audio is discrete, and digital silence would have infinite density.

        The mel has the 1 + T // hop frames that the mel of the audio has, or is exactly as long, T = L · hop.
        Both are cut to the T // hop whole frames they have in common: the first mel loses its last frame, the
        audio the samples behind it, fewer than a hop. Raises `InvalidMel` and `InvalidAudio` where the two
        are not what they should be, or do not fit.
        """
        samples, conditions = self._pair(audio, mel)
        with torch.inference_mode():
            score = self.model.log_prob(self._dithered(samples, seed), conditions).cpu() / samples.shape[1]
        _require_likely("likelihood", score)
        return float(score)

    def score_frames(self, audio: Tensor, mel: Mel, *, seed: int = 0) -> Tensor:
        """The score frame by frame, `[L]`: nats per sample of each frame's samples; its mean is `score`.

        The mean is exact; which frame a nat is counted in is a convention, and sharp to some frames only
        (`vocoder.models.likelihood` says which, and why). Arguments and errors are those of `score`.
        """
        samples, conditions = self._pair(audio, mel)
        with torch.inference_mode():
            nats = log_prob_by_frame(self.model, self._dithered(samples, seed), conditions)[0].cpu()
        _require_likely("likelihood", nats)
        return nats.clone() / self.spec.hop_length

    def _denoised(self, audio: Tensor, strength: float) -> Tensor:
        if strength:
            audio = self.denoiser()(audio, strength)
            require_finite(audio[None])  # a transform adds up what single precision may not hold
        return audio

    def _latent(self, samples: Tensor, conditions: Tensor) -> Tensor:
        with torch.inference_mode():
            z = self.model(samples, conditions)[0].cpu()
        _require_likely("latent", z)
        return z.clone()

    def _dithered(self, samples: Tensor, seed: int) -> Tensor:
        return samples + self._here(NOISE_FLOOR * noise(seed, 0, samples.shape[1]))

    def _render(self, z: Tensor, mel: Tensor, lengths: Tensor | None = None) -> Tensor:
        lengths = None if lengths is None else lengths.to(self.device)
        with torch.inference_mode():
            audio = self.model.inverse(self._here(z), self._here(mel), lengths)[0].cpu()
        require_finite(audio)
        return audio.clone()

    def _clip(self, mel: Mel) -> Tensor:
        piece = as_tensor(mel)
        self.spec.check(piece)
        if piece.ndim != 2:
            raise InvalidMel(f"mel has shape {list(piece.shape)}, expected that of one clip, [bands, frames]")
        warn_if_suspect(piece, self.spec)
        return piece

    def _here(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, torch.float32)

    def _temperature(self, given: float | None) -> float:
        return number_within("temperature", self.header.temperature if given is None else given, 0, 2)

    def _pair(self, audio: Tensor, mel: Mel) -> tuple[Tensor, Tensor]:
        """`[1, L · hop]` and `[1, M, L]`, here: both cut to the whole frames of the audio."""
        samples, conditions = fitted(audio, self._clip(mel), self.spec)
        return self._here(samples[None]), self._here(conditions[None])


def _all_finite(chunks: Iterable[Tensor]) -> Iterator[Tensor]:
    for chunk in chunks:
        require_finite(chunk[None])
        yield chunk


def _require_likely(what: str, found: Tensor) -> None:
    if not (finite := found.isfinite()).all():
        came = f"audio has a {what} of {found[~finite][0].item()}"
        raise InvalidAudio(f"{came}; expected samples nominally within -1 … 1")
