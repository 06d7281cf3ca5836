"""The spectral term: what it measures, and which samples it likes best."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from vocoder.errors import InvalidConfig
from vocoder.features import MelSpec
from vocoder.models.waveglow import WaveGlow
from vocoder.training.objective import Objective, Weights, excess_lock, stft_distance
from vocoder.training.recipes import small

AT = ((256, 64), (512, 128), (1024, 256), (2048, 512))  # window and hop
SHAPE = small(flows=2, channels=8, cond_channels=8, cond_layers=1)


def white(clips: int, seed: int) -> Tensor:
    """White noise `[clips, T]` at the level of speech."""
    return 0.05 * torch.randn(clips, 8192, generator=torch.Generator().manual_seed(seed))


def test_the_distance_is_one() -> None:
    """Zero from a signal to itself, positive else, and the same both ways at one size."""
    x, y = white(2, 1), white(2, 2)
    assert stft_distance(x, x, x, AT) == 0
    assert stft_distance(x, y, x, AT) == pytest.approx(stft_distance(y, x, x, AT).item(), rel=1e-6) and (
        stft_distance(x, y, x, AT) > 0
    )


def test_with_repulsion_noise_is_best_spoken_as_noise() -> None:
    """Against recordings of noise, the energy distance likes independent noise best.

    Better than pulses, whose spectrum is as even as the mean of noise's, one pulse, noise that is too quiet
    and noise that is always the same.
    """
    truth, sample, other = white(32, 1), white(32, 2), white(32, 3)
    pulses = torch.zeros_like(truth)
    pulses[:, ::64] = 0.05 * 8  # of the power of the noise

    def energy(x: Tensor, x2: Tensor, repulsion: float) -> float:
        near = 0.5 * (stft_distance(x, truth, truth, AT) + stft_distance(x2, truth, truth, AT))
        return float(near - 0.5 * repulsion * stft_distance(x, x2, truth, AT))

    still = 0.6 * torch.cat([torch.ones(32, 1), torch.zeros(32, 8191)], 1)  # one pulse: no chance at all
    assert energy(sample, other, 1.0) < min(energy(pulses, pulses, 1.0), energy(still, still, 1.0))
    assert energy(sample, other, 1.0) < energy(0.5 * sample, 0.5 * other, 1.0)
    assert energy(sample, other, 1.0) < energy(sample, sample, 1.0)


def test_what_repeats_with_the_grid_is_locked() -> None:
    """Noise is not locked; one group again and again is, unless the recording is too."""
    noise = white(32, 1)
    frozen = noise[:, :256].repeat(1, 32)
    assert excess_lock(white(32, 2), noise, 256) < 0.15
    assert excess_lock(frozen, noise, 256) > 8
    assert excess_lock(frozen, frozen, 256) == 0
    mixed = white(32, 2) + 0.3 * frozen
    assert 0.4 < excess_lock(mixed, noise, 256) < excess_lock(frozen, noise, 256)
    assert excess_lock(mixed.roll(5, 1), noise, 256) > 0.4  # whatever its phase


def test_the_objective_adds_up_and_reaches_every_weight() -> None:
    """Its loss is the weighted sum of its terms, with repulsion too, and gives every parameter a gradient."""
    torch.manual_seed(0)
    model = WaveGlow(SHAPE, MelSpec())
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    audio, mel = white(2, 1)[:, :2048], torch.full((2, 80, 8), -5.0)
    noise = torch.randn(3, 2, 2048)
    weights = Weights(likelihood=0.5, spectral=2.0, repulsion=1.0, locked=0.1)
    terms = Objective(model, weights)(audio, mel, noise)
    told = {name: value.item() for name, value in terms.items()}
    assert told["loss"] == pytest.approx(0.5 * told["nll"] + 2 * told["spectral"] + 0.1 * told["locked"])
    gradients = torch.autograd.grad(terms["loss"], list(model.parameters()))
    assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)
    alone = Objective(model, replace(weights, repulsion=0.0))(audio, mel, noise)
    assert alone["nll"] == terms["nll"] and alone["spectral"] > terms["spectral"]


def test_a_weight_that_would_be_ignored_is_refused() -> None:
    """Both look at samples, which only the spectral term draws."""
    with pytest.raises(InvalidConfig, match="repulsion"):
        Weights(repulsion=0.5)
    with pytest.raises(InvalidConfig, match="locked"):
        Weights(locked=0.5)
