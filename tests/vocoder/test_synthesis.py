"""`Vocoder`: exact lengths, one waveform for one seed, exact likelihood, and refusals that say why."""

import copy
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vocoder import Vocoder
from vocoder.errors import (
    CheckpointError,
    InvalidAudio,
    InvalidInput,
    InvalidMel,
    SynthesisError,
    UnknownVoice,
)
from vocoder.features import LogMel
from vocoder.noise import noise

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def voice() -> Vocoder:
    """The small seeded voice that is made for tests."""
    return Vocoder.load("waveglow-tiny", device="cpu")


def random_mel(*shape: int) -> Tensor:
    """A mel of speech's level, from a seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3)).clamp(-2, 2) - 5


@pytest.fixture(scope="module")
def hello() -> Tensor:
    """The mel of speech that the project ships."""
    return torch.from_numpy(np.load(ROOT / "samples" / "hello.npy"))


@pytest.mark.parametrize("frames", [1, 2, 3, 10, 101])
def test_samples_are_frames_times_hop(voice: Vocoder, frames: int) -> None:
    """Every mel gives exactly hop samples for a frame, alone and in a batch; plain float32 on the CPU."""
    audio = voice(random_mel(80, frames))
    assert (audio.shape, audio.dtype, audio.device.type) == ((frames * 256,), torch.float32, "cpu")
    assert not audio.is_inference()
    assert not audio.requires_grad
    assert voice(random_mel(3, 80, frames)).shape == (3, frames * 256)


def test_a_seed_is_a_waveform(voice: Vocoder) -> None:
    """The same seed gives the same samples to the last bit, another seed others; 0 if not given."""
    mel = random_mel(80, 20)
    assert torch.equal(voice(mel, seed=7), voice(mel, seed=7))
    assert not torch.equal(voice(mel, seed=7), voice(mel, seed=8))
    assert torch.equal(voice(mel), voice(mel, seed=0))


@pytest.mark.parametrize(("asked", "each"), [(5, [5, 6, 7]), ([9, 5, 9], [9, 5, 9]), ((1, 2, 3), [1, 2, 3])])
def test_a_batch_is_its_clips(voice: Vocoder, asked: Any, each: list[int]) -> None:
    """Clip b of a batch is what its mel gives alone, with seed + b or the seed named for it."""
    mels = random_mel(3, 80, 15)
    together = voice(mels, seed=asked)
    alone = torch.stack([voice(mel, seed=seed) for mel, seed in zip(mels, each, strict=True)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_the_latent_is_the_noise(voice: Vocoder) -> None:
    """What it speaks encodes to temperature × noise(seed): nothing else went into it."""
    mel = random_mel(80, 30)
    for temperature in (0.5, 1.0):
        z = voice.encode(voice(mel, seed=4, temperature=temperature), mel)
        torch.testing.assert_close(z, temperature * noise(4, 0, 30 * 256), rtol=0, atol=1e-3)


def test_encoding_is_undone(voice: Vocoder) -> None:
    """Audio → latent → audio comes back."""
    mel, audio = random_mel(80, 20), 0.1 * torch.randn(20 * 256)
    z = voice.encode(audio, mel)
    torch.testing.assert_close(voice.model.inverse(z[None], mel[None])[0][0], audio, rtol=0, atol=1e-5)


def test_temperature(voice: Vocoder) -> None:
    """None is the checkpoint's own, zero leaves nothing to chance, and less is less."""
    mel = random_mel(80, 20)
    assert torch.equal(voice(mel), voice(mel, temperature=voice.header.temperature))
    assert torch.equal(voice(mel, seed=1, temperature=0), voice(mel, seed=2, temperature=0))
    assert voice(mel, temperature=0.3).std() < 0.5 * voice(mel, temperature=1.0).std()
    assert torch.equal(voice(mel, temperature=1), voice(mel, temperature=np.float32(1)))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["<f2", "<f4", "<f8", ">f4", ">f8"])
def test_numpy_and_torch_are_the_same(voice: Vocoder, kind: str) -> None:
    """An array of any float type and byte order speaks as the tensor of its values does."""
    mel = random_mel(80, 10).numpy().astype(kind)
    assert torch.equal(voice(mel), voice(torch.from_numpy(mel.astype(np.float32))))


def test_any_layout_and_read_only_arrays(voice: Vocoder) -> None:
    """Transposed, reversed and read-only arrays are as good, and are left as they were."""
    mel = random_mel(80, 10).numpy()
    expected, turned, mirrored = voice(mel), np.ascontiguousarray(mel.T).T, mel[:, ::-1].copy()[:, ::-1]
    turned.flags.writeable = False
    for same in (turned, mirrored, np.asfortranarray(mel)):
        assert torch.equal(voice(same), expected)
    assert torch.equal(voice(torch.from_numpy(mel).to(torch.float64)), expected)


def test_touches_nobodys_generator(voice: Vocoder) -> None:
    """Synthesis neither reads nor moves torch's global generator."""
    before = torch.get_rng_state()
    voice(random_mel(80, 5))
    assert torch.equal(torch.get_rng_state(), before)


def test_gradients_are_nobodys_business(voice: Vocoder) -> None:
    """A mel that wants a gradient is spoken all the same, without one."""
    assert not voice(random_mel(80, 5).requires_grad_()).requires_grad
    assert not any(weight.requires_grad for weight in voice.model.parameters())


def test_what_it_speaks_has_the_mel_it_was_given(voice: Vocoder, hello: Tensor) -> None:
    """The tiny voice whispers: audibly, and with the spectrum of the speech whose mel it got."""
    audio = voice(hello)
    heard = LogMel(voice.spec)(audio[None])[0, :, : hello.shape[1]]
    assert 0.02 < audio.std() < 0.2
    assert (heard - hello).abs().mean() < 1.0
    assert (heard - hello).abs().mean() < 0.5 * (hello.mean() - hello).abs().mean()


def test_threads_do_not_disturb_one_another(voice: Vocoder) -> None:
    """Many calls at once give what they give one by one, from the first use of a voice on."""
    mels = [random_mel(80, frames) for frames in range(5, 21)]
    expected = [voice(mel, seed=seed) for seed, mel in enumerate(mels)]
    fresh = Vocoder.load("waveglow-tiny", device="cpu")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda job: fresh(job[1], seed=job[0]), enumerate(mels)))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def by_hand(voice: Vocoder, audio: Tensor, mel: Tensor, seed: int) -> float:
    """The score, from its formula, (ln N(z; 0, I) + log |det|) / T, in double precision."""
    model, noisy = (
        copy.deepcopy(voice.model).double(),
        audio.double() + 3e-4 * noise(seed, 0, len(audio)).double(),
    )
    z, log_det = model(noisy[None], mel[None].double())
    log_normal = torch.distributions.Normal(0, 1).log_prob(z).sum()
    return float(log_normal + log_det) / len(audio)


def test_the_score_is_the_likelihood(voice: Vocoder) -> None:
    """`score` is the formula, for more than one seed."""
    mel, audio = random_mel(80, 20), 0.05 * torch.randn(20 * 256)
    for seed in (0, 3):
        assert voice.score(audio, mel, seed=seed) == pytest.approx(by_hand(voice, audio, mel, seed), abs=1e-4)
    assert voice.score(audio, mel, seed=0) != voice.score(audio, mel, seed=3)


@pytest.mark.parametrize("over", [0, 1, 100, 255])
def test_the_mel_of_the_audio_may_have_its_last_frame(voice: Vocoder, over: int) -> None:
    """With 1 + T // hop frames, as LogMel makes them, the score is that of the whole frames both have."""
    audio, mel = 0.05 * torch.randn(20 * 256 + over), random_mel(80, 21)
    assert voice.score(audio, mel) == voice.score(audio[: 20 * 256], mel[:, :20])
    assert voice.encode(audio, mel).shape == (20 * 256,)


def test_likely_audio_is_likelier(voice: Vocoder, hello: Tensor) -> None:
    """What a voice made of a mel is likelier than the same backwards, louder, or with another mel."""
    audio = voice(hello)
    own = voice.score(audio, hello)
    assert own > voice.score(audio.flip(0), hello) + 0.5
    assert own > voice.score(4 * audio, hello) + 0.5
    assert own > voice.score(audio, random_mel(*hello.shape)) + 0.5


def test_silence_has_a_likelihood(voice: Vocoder) -> None:
    """Digital silence scores a finite number, thanks to the dequantisation noise."""
    silence = torch.full((80, 10), voice.spec.log_floor)
    assert 5 < voice.score(torch.zeros(2560), silence) < 10


GOOD = random_mel(80, 4)
BAD_MELS: dict[str, tuple[Any, str]] = {
    "79 bands": (random_mel(79, 4), r"shape \[79, 4\], expected \[80, frames\]"),
    "turned": (random_mel(4, 80), "axes look swapped"),
    "rank 1": (random_mel(80), "shape"),
    "rank 4": (random_mel(1, 1, 80, 4), "shape"),
    "no frame": (random_mel(80, 0), "at least one frame"),
    "no clip": (random_mel(0, 80, 4), "at least one frame"),
    "integers": (torch.zeros(80, 4, dtype=torch.int64), "int64, expected a floating"),
    "integers in NumPy": (np.zeros((80, 4), int), "int64, expected a floating"),
    "objects": (np.full((80, 4), None), "dtype object"),
    "complex": (np.zeros((80, 4), complex), "complex128"),
    "a list": ([[0.0] * 4] * 80, "mel is a list, expected"),
    "nothing": (None, "NoneType"),
    "NaN": (GOOD.index_fill(1, torch.tensor(2), math.nan), "nan at frame 2, band 0"),
    "decibels": (GOOD * 10, "expected natural-log"),
    "beyond float32": (np.full((80, 4), 1e300), "1e\\+300"),
    "beyond float64": (np.full((80, 4), np.longdouble("1e4000")), "inf"),
}


@pytest.mark.parametrize("case", BAD_MELS)
def test_refuses_what_is_no_mel_of_its_spec(voice: Vocoder, case: str) -> None:
    """A mel of another shape, type or range is refused, with the reason."""
    mel, words = BAD_MELS[case]
    with pytest.raises(InvalidMel, match=words):
        voice(mel)


@pytest.mark.parametrize("temperature", [-0.1, 2.1, math.nan, math.inf, "1", True])
def test_refuses_what_is_no_temperature(voice: Vocoder, temperature: Any) -> None:
    """Temperature is a number within 0 … 2."""
    with pytest.raises(InvalidInput, match=r"temperature \(=.*must be a number within 0 … 2"):
        voice(GOOD, temperature=temperature)


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, "7", None, True, [1.5], [None], torch.zeros(2)])
def test_refuses_what_is_no_seed(voice: Vocoder, seed: Any) -> None:
    """A seed is an integer in [0, 2⁶³)."""
    with pytest.raises(InvalidInput, match=r"seed \(=.*must be an integer"):
        voice(GOOD, seed=seed)


@pytest.mark.parametrize("seeds", [[], [1], [1, 2, 3]])
def test_refuses_too_many_or_too_few_seeds(voice: Vocoder, seeds: list[int]) -> None:
    """Seeds that are named are as many as the clips."""
    with pytest.raises(
        InvalidInput, match=f"seed names {len(seeds)} seeds, expected one for each of 2 clips"
    ):
        voice(random_mel(2, 80, 4), seed=seeds)


def test_the_seeds_of_a_batch_end_where_seeds_end(voice: Vocoder) -> None:
    """The largest seed serves one clip, and there is none behind it."""
    assert voice(GOOD, seed=2**63 - 1).shape == (1024,)
    with pytest.raises(InvalidInput, match="seed"):
        voice(random_mel(2, 80, 4), seed=2**63 - 1)


BAD_AUDIO: dict[str, tuple[Any, str]] = {
    "rank 2": (torch.zeros(1, 1024), r"float32 \[1, 1024\], expected"),
    "integers": (torch.zeros(1024, dtype=torch.int16), "int16"),
    "NumPy": (np.zeros(1024), "ndarray"),
    "NaN": (torch.full((1024,), math.nan), "not finite"),
}


@pytest.mark.parametrize("case", BAD_AUDIO)
def test_refuses_what_is_no_audio(voice: Vocoder, case: str) -> None:
    """`score` and `encode` take one clip of finite floats."""
    audio, words = BAD_AUDIO[case]
    for judge in (voice.score, voice.encode):
        with pytest.raises(InvalidAudio, match=words):
            judge(audio, GOOD)


@pytest.mark.parametrize(
    ("samples", "frames"), [(1023, 3), (1024, 3), (1025, 4), (1024, 6), (5000, 4), (0, 4)]
)
def test_refuses_a_mel_of_other_audio(voice: Vocoder, samples: int, frames: int) -> None:
    """Audio and a mel that cannot be its own do not fit; both lengths are told."""
    with pytest.raises(InvalidMel, match=f"{frames} frames beside {samples} samples"):
        voice.score(torch.zeros(samples), random_mel(80, frames))


def test_refuses_to_score_less_than_a_frame(voice: Vocoder) -> None:
    """Fewer samples than a hop hold no whole frame."""
    with pytest.raises(InvalidAudio, match="255 samples, expected at least 256"):
        voice.score(torch.zeros(255), random_mel(80, 1))


def test_refuses_to_score_a_batch(voice: Vocoder) -> None:
    """A score is that of one clip."""
    with pytest.raises(InvalidMel, match="expected that of one clip"):
        voice.score(torch.zeros(1024), random_mel(1, 80, 4))


def test_a_likelihood_is_a_number(voice: Vocoder) -> None:
    """Audio so loud that its likelihood overflows is refused."""
    with pytest.raises(InvalidAudio, match="likelihood of"):
        voice.score(torch.full((1024,), 1e30), GOOD)


def broken(voice: Vocoder) -> Vocoder:
    """The voice, with a correction of the spectrum that no float can hold."""
    model = copy.deepcopy(voice.model)
    torch.nn.init.constant_(model.front.correction.bias, 1000.0)  # type: ignore[union-attr, arg-type]
    return Vocoder(model, voice.header)


def test_what_is_not_finite_is_an_error(voice: Vocoder) -> None:
    """No NaN leaves the house: the first bad sample is named."""
    with pytest.raises(SynthesisError, match=r"sample \d+ of clip 0 is (nan|-?inf)"):
        broken(voice)(random_mel(2, 80, 4))


@pytest.mark.parametrize("device", ["mps", "cuda:99", "tpu", "", "meta", 5.0])
def test_refuses_devices_that_cannot_be_had(device: Any) -> None:
    """A device is cpu or a CUDA GPU that is there; the message repeats what was asked for."""
    with pytest.raises(InvalidInput, match=r"device \(="):
        Vocoder.load("waveglow-tiny", device=device)


def test_says_what_it_is(voice: Vocoder) -> None:
    """Name, spec, device and header are to be had."""
    assert (voice.name, voice.device, voice.header.name) == (
        "waveglow-tiny",
        torch.device("cpu"),
        "waveglow-tiny",
    )
    assert voice.spec.sample_rate == 22050


def test_loads_by_path_and_by_default(voice: Vocoder) -> None:
    """A path is as good as a name, and no name is the default voice."""
    path = ROOT / "checkpoints" / "waveglow-tiny.safetensors"
    assert torch.equal(Vocoder.load(path, device="cpu")(GOOD), voice(GOOD))
    assert Vocoder.load().name


def test_unknown_voices(tmp_path: Path) -> None:
    """A name that is none and a file that is none are told apart."""
    with pytest.raises(UnknownVoice, match="'nobody'"):
        Vocoder.load("nobody")
    (tmp_path / "x.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="is empty"):
        Vocoder.load(tmp_path / "x.safetensors")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_says_the_same(voice: Vocoder, hello: Tensor) -> None:
    """The same seed is the same waveform on a GPU, up to its arithmetic, and comes back to the CPU."""
    there = Vocoder.load("waveglow-tiny", device="cuda")
    audio = there(hello.cuda(), seed=3)
    assert audio.device.type == "cpu"
    torch.testing.assert_close(audio, voice(hello, seed=3), rtol=0, atol=5e-3)
