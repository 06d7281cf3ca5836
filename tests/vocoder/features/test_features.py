"""MelSpec and LogMel: equal to librosa, aligned as drawn, and strict about what they are given."""

import math
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import pytest
import torch
from torch import Tensor

from vocoder import audio
from vocoder.errors import InvalidAudio, InvalidConfig, InvalidMel
from vocoder.features import LogMel, MelSpec, mel_filters

SPECS = [
    MelSpec(),
    MelSpec(sample_rate=24000, n_mels=100, f_max=12000.0),
    MelSpec(sample_rate=16000, n_fft=1024, win_length=800, hop_length=200, f_min=50.0, f_max=7600.0),
    MelSpec(sample_rate=11025, n_fft=512, win_length=512, hop_length=128, n_mels=40, f_max=5512.5),
]


def noise(samples: int, seed: int = 0) -> Tensor:
    """White noise at the level of speech."""
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def chirp(samples: int) -> Tensor:
    """A sweep from 0 Hz to half of the sample rate, 34 dB above a floor of noise, as recordings have."""
    phase = math.pi / 2 * torch.arange(samples, dtype=torch.float64).square() / samples
    return 0.5 * torch.sin(phase).float() + 0.1 * noise(samples)


def by_librosa(sound: Tensor, spec: MelSpec) -> Tensor:
    """The same log-mel `[M, L]`, computed by librosa in double precision."""
    mel = librosa.feature.melspectrogram(
        y=sound.double().numpy(),
        sr=spec.sample_rate,
        n_fft=spec.n_fft,
        hop_length=spec.hop_length,
        win_length=spec.win_length,
        n_mels=spec.n_mels,
        fmin=spec.f_min,
        fmax=spec.f_max,
        power=1.0,
        htk=False,
        norm="slaney",
        center=True,
        pad_mode="reflect",
        dtype=np.float64,
    )
    return torch.from_numpy(np.log(np.maximum(mel, spec.floor)))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.sample_rate}")
@pytest.mark.parametrize("make", [noise, chirp])
def test_log_mel_is_librosas(spec: MelSpec, make: Callable[[int], Tensor]) -> None:
    """On synthetic sound, in single precision, LogMel agrees with librosa to 1e-4 in log units."""
    sound = make(20000)
    torch.testing.assert_close(
        LogMel(spec)(sound[None])[0].double(), by_librosa(sound, spec), rtol=0, atol=1e-4
    )


def test_log_mel_is_librosas_on_speech(speech_dir: Path) -> None:
    """On recorded speech too, quiet stretches included."""
    for path in sorted((speech_dir / "kathleen" / "flac").iterdir())[::400]:
        sound = audio.load(path, 22050)
        mel = LogMel(MelSpec())(sound[None])[0].double()
        torch.testing.assert_close(mel, by_librosa(sound, MelSpec()), rtol=0, atol=1e-4)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.sample_rate}")
def test_double_precision(spec: MelSpec, float64: torch.dtype) -> None:
    """In float64 throughout, LogMel agrees with librosa to 1e-9, even where a tone leaves bands empty."""
    tone = torch.sin(torch.arange(9000) * 0.1)
    mel = LogMel(spec)(tone[None])[0]
    assert mel.dtype == float64
    torch.testing.assert_close(mel, by_librosa(tone, spec), rtol=0, atol=1e-9)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.sample_rate}")
def test_filters_are_librosas(spec: MelSpec) -> None:
    """The filterbank is librosa's to the last digits, also at a sample rate that is odd."""
    theirs = librosa.filters.mel(
        sr=spec.sample_rate,
        n_fft=spec.n_fft,
        n_mels=spec.n_mels,
        fmin=spec.f_min,
        fmax=spec.f_max,
        dtype=np.float64,
    )
    torch.testing.assert_close(mel_filters(spec), torch.from_numpy(theirs), rtol=0, atol=1e-12)


@pytest.mark.parametrize("samples", [513, 1000, 1023, 1024, 1025, 2559, 2560, 2561])
def test_frames_and_samples(samples: int) -> None:
    """A clip of T samples has 1 + T // hop frames, and n frames are n · hop samples."""
    spec = MelSpec()
    mel = LogMel(spec)(noise(samples)[None])
    assert list(mel.shape) == [1, 80, spec.frames(samples)] == [1, 80, 1 + samples // 256]
    assert spec.samples(spec.frames(samples)) == mel.shape[-1] * 256 > samples


@pytest.mark.parametrize("frame", [4, 7, 20])
def test_an_impulse_peaks_at_its_frame(frame: int) -> None:
    """An impulse at sample k · hop is loudest in frame k, even around it, and unseen from frame k ± 2 on."""
    sound = torch.zeros(1, 8192)
    sound[0, frame * 256] = 1.0
    mel = LogMel(MelSpec())(sound)[0]
    loudness = mel.exp().sum(dim=0)
    assert int(loudness.argmax()) == frame
    torch.testing.assert_close(loudness[frame - 1], loudness[frame + 1])
    others = [k for k in range(mel.shape[1]) if abs(k - frame) > 1]
    torch.testing.assert_close(mel[:, others], torch.full_like(mel[:, others], MelSpec().log_floor))


@pytest.mark.parametrize(("start", "frames"), [(0, 1), (3, 16), (29, 10), (0, 39)])
def test_a_segment_is_a_slice_of_the_whole(start: int, frames: int) -> None:
    """A segment is a slice of the clip and of the mel of the whole clip, and the two are of one length."""
    spec, sound = MelSpec(), noise(10000)
    mel = LogMel(spec)(sound[None])[0]
    cut_audio, cut_mel = spec.segment(sound, mel, start, frames)
    assert torch.equal(cut_audio, sound[start * 256 : (start + frames) * 256])
    assert torch.equal(cut_mel, mel[:, start : start + frames])
    assert len(cut_audio) == spec.samples(cut_mel.shape[1])


def test_the_mel_of_a_segment_holds_the_mirror() -> None:
    """The mel of cut audio is that of the whole clip only where no window reaches past the cut."""
    spec, sound = MelSpec(), noise(20000)
    mel = LogMel(spec)(sound[None])[0]
    cut_audio, cut_mel = spec.segment(sound, mel, 20, 16)
    anew = LogMel(spec)(cut_audio[None])[0][:, :16]
    torch.testing.assert_close(anew[:, 2:15], cut_mel[:, 2:15], rtol=0, atol=1e-4)
    assert float((anew[:, 0] - cut_mel[:, 0]).abs().max()) > 0.1


@pytest.mark.parametrize(("start", "frames"), [(-1, 4), (0, 0), (0, 40), (39, 1), (36, 4)])
def test_a_segment_lies_inside(start: int, frames: int) -> None:
    """A segment that would leave the clip, or that is empty, is refused."""
    spec, sound = MelSpec(), noise(10000)
    with pytest.raises(InvalidAudio, match=f"{frames} frames from start_frame {start} must lie within.* 39 "):
        spec.segment(sound, LogMel(spec)(sound[None])[0], start, frames)


def test_a_segment_wants_the_mel_of_the_whole_clip() -> None:
    """A mel that is not as long as the clip's is refused: its frames would pair with the wrong samples."""
    with pytest.raises(InvalidMel, match="39 frames, expected 40"):
        MelSpec().segment(noise(10000), torch.zeros(80, 39), 0, 4)


def test_log_mel_learns_nothing_and_passes_gradients() -> None:
    """There is nothing in the state dict, and the gradient of the sum reaches the audio and is finite."""
    log_mel = LogMel(MelSpec())
    sound = torch.cat([torch.zeros(2000), noise(3000)])[None].requires_grad_()
    log_mel(sound).sum().backward()
    assert dict(log_mel.state_dict()) == {}
    assert sound.grad is not None
    assert bool(sound.grad.isfinite().all())
    assert float(sound.grad.abs().sum()) > 0


def test_silence_is_the_floor() -> None:
    """Digital silence is ln(floor) everywhere, which is the pad value of batches."""
    mel = LogMel(MelSpec())(torch.zeros(1, 4000))
    assert mel.unique().tolist() == pytest.approx([MelSpec().log_floor])
    assert MelSpec().log_floor == pytest.approx(-11.5129, abs=1e-4)


@pytest.mark.parametrize(
    ("sound", "rule"),
    [
        (torch.zeros(4000), r"shape \[4000\], expected \[batch, samples\]"),
        (torch.zeros(1, 1, 4000), "expected"),
        (torch.zeros(1, 512), "512 samples, expected at least 513"),
        (torch.zeros(1, 4000, dtype=torch.int16), "int16, expected a floating"),
    ],
)
def test_log_mel_refuses(sound: Tensor, rule: str) -> None:
    """Audio of a wrong rank, length or dtype is refused with the rule it breaks."""
    with pytest.raises(InvalidAudio, match=rule):
        LogMel(MelSpec())(sound)


def test_the_shortest_clip() -> None:
    """One sample more than half a window is enough."""
    assert LogMel(MelSpec())(noise(513)[None]).shape == (1, 80, 3)


@pytest.mark.parametrize("spec", SPECS)
def test_a_spec_survives_a_dictionary(spec: MelSpec) -> None:
    """to_dict and from_dict are inverses, and equal specs have equal digests."""
    again = MelSpec.from_dict(spec.to_dict())
    assert again == spec
    assert again.digest() == spec.digest()
    assert len({other.digest() for other in SPECS}) == len(SPECS)


def test_a_digest_is_the_same_for_ever() -> None:
    """The digest of the default spec is the one in checkpoints, whether 8000 is written 8000 or 8000.0."""
    assert MelSpec(f_max=8000).digest() == MelSpec().digest()
    assert MelSpec().digest()[:16] == "1ccda7c46e1ec670"


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"hop": 256}, "no field .*hop"),
        ({"n_mels": None}, "n_mels"),
        ({"n_mels": "80"}, "n_mels .* positive integer"),
        ({"n_mels": True}, "n_mels .* positive integer"),
        ({"hop_length": 0}, "hop_length .* positive integer"),
        ({"n_fft": 1025}, "n_fft .* even"),
        ({"win_length": 2048}, "win_length .*n_fft"),
        ({"hop_length": 2048}, "hop_length .*win_length"),
        ({"f_min": 9000.0}, "f_min .*f_max"),
        ({"f_max": 12000.0}, "f_max .*sample_rate / 2"),
        ({"f_max": math.nan}, "f_max .* finite"),
        ({"floor": 0.0}, "floor .*> 0"),
    ],
)
def test_a_bad_spec_is_refused(change: dict[str, object], rule: str) -> None:
    """An unknown key or an impossible number is InvalidConfig; the message names the field and its rule."""
    with pytest.raises(InvalidConfig, match=rule):
        MelSpec.from_dict(MelSpec().to_dict() | change)


def test_a_missing_key_is_refused() -> None:
    """from_dict fills nothing in: a header that lacks a field is damaged."""
    partial = {name: value for name, value in MelSpec().to_dict().items() if name != "floor"}
    with pytest.raises(InvalidConfig, match=r"lacks .*floor"):
        MelSpec.from_dict(partial)


@pytest.mark.parametrize("shape", [(80, 1), (80, 7), (3, 80, 7)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_good_mel_passes(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """A mel `[M, L]` or `[B, M, L]` of any floating dtype passes, up to both ends of the range."""
    mel = torch.full(shape, -20.0, dtype=dtype)
    mel[..., -1] = 10.0
    MelSpec().check(mel)


@pytest.mark.parametrize(
    ("mel", "rule"),
    [
        (torch.zeros(80), r"shape \[80\]"),
        (torch.zeros(1, 1, 80, 5), "shape"),
        (torch.zeros(79, 5), r"shape \[79, 5\], expected \[80, frames\]"),
        (torch.zeros(5, 80), "axes look swapped"),
        (torch.zeros(80, 0), "at least one frame"),
        (torch.zeros(0, 80, 5), "at least one frame"),
        (torch.zeros(80, 5, dtype=torch.int64), "int64, expected a floating"),
    ],
)
def test_a_mel_of_another_shape_is_refused(mel: Tensor, rule: str) -> None:
    """A wrong rank, a wrong number of bands, no frame or whole numbers: the message says which."""
    with pytest.raises(InvalidMel, match=rule):
        MelSpec().check(mel)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (math.nan, "is nan at frame 5, band 7; every value must be finite"),
        (math.inf, "is inf at frame 5, band 7; every value must be finite"),
        (-20.5, r"is -20.5 at frame 5, band 7; .*\[-20, 10\]"),
        (12.0, r"is 12 at frame 5, band 7; .*\[-20, 10\]"),
    ],
)
def test_a_bad_value_is_named(value: float, rule: str) -> None:
    """The message says what the first bad value is, and in which frame, band and item of the batch."""
    mel = torch.zeros(2, 80, 9)
    mel[1, 7, 5] = value
    with pytest.raises(InvalidMel, match=rule.replace("; ", " of item 1; ")):
        MelSpec().check(mel)
    with pytest.raises(InvalidMel, match=rule):
        MelSpec().check(mel[1])
