"""`Vocoder`: a loaded voice. Log-mel in, audio out; and back, exactly.

Letters: B batch, T samples, M mel bands, L mel frames.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vocoder import checkpoint, voices
from vocoder.device import choose_device
from vocoder.errors import InvalidAudio, InvalidInput, InvalidMel, SynthesisError
from vocoder.features import MelSpec
from vocoder.models.envelope import NOISE_FLOOR
from vocoder.models.waveglow import WaveGlow
from vocoder.noise import noise, whole
from vocoder.streaming import render_in_chunks

__all__ = ["Mel", "Vocoder"]

Mel = Tensor | np.ndarray[Any, Any]


class Vocoder:
    """A voice on a device. It holds no state between calls and may be called from several threads at once.

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

    @property
    def spec(self) -> MelSpec:
        """What its mels must be."""
        return self.header.mel

    @property
    def name(self) -> str:
        """What the voice is called."""
        return self.header.name

    def __call__(
        self, mel: Mel, *, seed: int | Sequence[int] = 0, temperature: float | None = None
    ) -> Tensor:
        """Speak a log-mel `[M, L]` or `[B, M, L]`: audio `[T]` or `[B, T]`, T = L · hop, float32 on the CPU.

        audio = flow⁻¹(temperature · noise, mel). The noise is a function of the seed and the position alone,
        so the same mel, seed and temperature give the same audio. `seed` is an integer in [0, 2⁶³), where
        clip b of a batch takes seed + b, or one integer for each clip. `temperature` within 0 … 2 scales the
        noise; None is the voice's own.

        Raises `InvalidMel` for a mel that is not of the voice's spec, `InvalidInput` for a seed or
        temperature out of range, `SynthesisError` where a sample comes out that is not finite.
        """
        mel = _as_tensor(mel)
        self.spec.check(mel)
        batch = mel if mel.ndim == 3 else mel[None]
        scale, seeds = self._temperature(temperature), _seeds(seed, len(batch))
        z = scale * torch.stack([noise(each, 0, self.spec.samples(batch.shape[2])) for each in seeds])
        return self._render(z, batch).reshape(*mel.shape[:-2], -1)

    def stream(
        self,
        mel: Mel | Iterable[Mel],
        *,
        seed: int = 0,
        temperature: float | None = None,
        chunk_frames: int = 1024,
    ) -> Iterator[Tensor]:
        """Speak a log-mel `[M, L]`, or pieces of one as they come, chunk by chunk: audio `[T]` each time.

        Together the chunks are what a call makes of the whole mel, but for the rounding of single precision;
        memory does not grow with L. The first chunk is short, for the sake of whoever listens; later ones
        double up to `chunk_frames`. A chunk needs `model.halo` frames behind it, or the end of the mel.

        Raises what a call raises: at once for the arguments, for a piece when it is reached.
        """
        scale, start = self._temperature(temperature), whole("seed", seed)
        if isinstance(chunk_frames, bool) or not isinstance(chunk_frames, int) or chunk_frames < 1:
            raise InvalidInput(f"chunk_frames (={chunk_frames!r}) must be an integer >= 1")
        hop = self.spec.hop_length

        def render(part: Tensor, first: int) -> Tensor:
            z = scale * noise(start, first * hop, part.shape[1] * hop)
            return self._render(z[None], part[None])[0]

        pieces = [mel] if isinstance(mel, (Tensor, np.ndarray)) else mel
        checked = (self._piece(piece) for piece in pieces)
        return render_in_chunks(render, checked, halo=self.model.halo, hop=hop, chunk=chunk_frames)

    def encode(self, audio: Tensor, mel: Mel) -> Tensor:
        """The latent z = flow(audio, mel) of `audio [T]`; `model.inverse` makes the audio of it again.

        Audio and mel are fitted as for `score`, and no noise is added. N(0, I) if audio and model agree.
        """
        samples, conditions = self._pair(audio, mel)
        with torch.inference_mode():
            z = self.model(samples, conditions)[0].cpu()
        return z[0].clone()

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
        dither = NOISE_FLOOR * noise(seed, 0, samples.shape[1])
        with torch.inference_mode():
            score = float(self.model.log_prob(samples + self._here(dither), conditions)) / samples.shape[1]
        if not math.isfinite(score):
            raise InvalidAudio(f"audio has a likelihood of {score}; expected samples nominally within -1 … 1")
        return score

    def _render(self, z: Tensor, mel: Tensor) -> Tensor:
        with torch.inference_mode():
            audio = self.model.inverse(self._here(z), self._here(mel))[0].cpu()
        _require_finite(audio)
        return audio.clone()

    def _piece(self, mel: Mel) -> Tensor:
        piece = _as_tensor(mel)
        self.spec.check(piece)
        if piece.ndim != 2:
            raise InvalidMel(f"mel has shape {list(piece.shape)}, expected that of one clip, [bands, frames]")
        return piece

    def _here(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, torch.float32)

    def _temperature(self, given: float | None) -> float:
        value = self.header.temperature if given is None else given
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value <= 2:
            raise InvalidInput(f"temperature (={value!r}) must be a number within 0 … 2")
        return float(value)

    def _pair(self, audio: Tensor, mel: Mel) -> tuple[Tensor, Tensor]:
        """`[1, L · hop]` and `[1, M, L]`: both cut to the whole frames of the audio."""
        mel = self._piece(mel)
        _require_audio(audio)
        frames, common = mel.shape[1], len(audio) // self.spec.hop_length
        if len(audio) != self.spec.samples(frames) and frames != 1 + common:
            expected = f"{common + 1}, as the mel of the audio has, or {common} without a sample over"
            raise InvalidMel(f"mel has {frames} frames beside {len(audio)} samples; expected {expected}")
        if not common:
            raise InvalidAudio(f"audio has {len(audio)} samples, expected at least {self.spec.hop_length}")
        return self._here(audio[None, : common * self.spec.hop_length]), self._here(mel[None, :, :common])


def _as_tensor(mel: Mel) -> Tensor:
    if isinstance(mel, Tensor):
        return mel.detach()
    if not isinstance(mel, np.ndarray):
        raise InvalidMel(f"mel is a {type(mel).__name__}, expected a torch tensor or a NumPy array")
    if mel.dtype.kind != "f":
        raise InvalidMel(f"mel has dtype {mel.dtype}, expected a floating-point one")
    with np.errstate(over="ignore"):  # beyond float64 is inf, which the spec refuses by name
        return torch.from_numpy(np.array(mel, np.float64, order="C"))  # any byte order and strides


def _seeds(seed: int | Sequence[int], clips: int) -> Sequence[int]:
    if not isinstance(seed, Sequence):
        return [whole("seed", seed) + clip for clip in range(clips)]
    if len(seed) != clips:
        raise InvalidInput(f"seed names {len(seed)} seeds, expected one for each of {clips} clips")
    return seed


def _require_audio(audio: Tensor) -> None:
    if not isinstance(audio, Tensor) or audio.ndim != 1 or not audio.is_floating_point():
        came = f"{audio.dtype} {list(audio.shape)}" if isinstance(audio, Tensor) else type(audio).__name__
        raise InvalidAudio(f"audio is {came}, expected a floating-point tensor [samples]")
    if not audio.isfinite().all():
        raise InvalidAudio("audio has a sample that is not finite")


def _require_finite(audio: Tensor) -> None:
    """Look at audio `[B, T]`."""
    if not audio.isfinite().all():
        clip, sample = (~audio.isfinite()).nonzero()[0].tolist()
        value = audio[clip, sample].item()
        raise SynthesisError(f"sample {sample} of clip {clip} is {value}; the model cannot speak this mel")
