"""A GlowTTS is invertible and knows its density, aligns, obeys what it is given, and is saved and loaded."""

import copy
import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.vocoder.laws import stirred
from vocoder import checkpoint
from vocoder.errors import CheckpointError, InvalidConfig, InvalidInput, InvalidMel
from vocoder.features import MelSpec
from vocoder.flows import make_reversible
from vocoder.models.glowtts import GlowTTS, GlowTTSConfig
from vocoder.models.intonation import filled
from vocoder.noise import noise

SPEC = MelSpec(n_mels=8)
SHAPE = GlowTTSConfig(
    width=16, layers=2, heads=2, hidden=24, reach=3, predictor=16, flows=3, channels=12, dilations=(1, 2),
    pitch_channels=5,
)  # fmt: skip
IDS = torch.tensor([[0, 20, 41, 30, 1], [0, 50, 12, 1, 0], [0, 9, 1, 0, 0]])
SYMBOLS, FRAMES = torch.tensor([5, 4, 3]), torch.tensor([16, 9, 12])


@pytest.fixture(scope="module")
def model() -> GlowTTS:
    """A small one in float64 whose parameters are not at rest."""
    torch.manual_seed(0)
    made = GlowTTS(SHAPE, SPEC).double()
    made.explain(*batch()[:3])  # its ActNorms meet their first batch
    return stirred(made.eval(), 0.1)


def batch() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Mel, ids, f0, symbols and frames of three items."""
    generator = torch.Generator().manual_seed(1)
    mel = torch.randn(3, 8, 16, generator=generator, dtype=torch.float64) - 4
    f0 = 150 + 80 * torch.rand(3, 16, generator=generator, dtype=torch.float64)
    return mel, IDS, f0 * (f0 > 180), SYMBOLS, FRAMES


def test_it_is_invertible(model: GlowTTS) -> None:
    """Mel → z → mel to the precision of float64, and the two log-determinants cancel."""
    mel, _, f0, _, frames = batch()
    z, log_det = model(mel, f0, frames)
    back, inverse = model.inverse(z, filled(f0, frames // 2 * 2), frames // 2 * 2)
    for row, length in enumerate((frames // 2 * 2).tolist()):
        torch.testing.assert_close(back[row, :, :length], mel[row, :, :length], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(inverse, -log_det, rtol=1e-9, atol=1e-9)


def test_the_log_determinant_is_autograds(model: GlowTTS) -> None:
    """ln |det| of the Jacobian that automatic differentiation makes, of a short mel."""
    mel, _, f0, *_ = batch()
    mel, f0 = mel[:1, :, :4], f0[:1, :4]
    jacobian = torch.autograd.functional.jacobian(lambda x: model(x, f0)[0].flatten(), mel)
    expected = torch.linalg.slogdet(jacobian.view(mel.numel(), mel.numel())).logabsdet
    torch.testing.assert_close(model(mel, f0)[1], expected[None], rtol=1e-8, atol=1e-8)


def test_the_density_is_that_of_the_best_alignment(model: GlowTTS) -> None:
    """log_prob = Σ ln N(z; μ of its symbol, I) + log_det; no other alignment of three symbols is better."""
    mel, ids, f0, *_ = batch()
    mel, f0, ids = mel[:1, :, :6], f0[:1, :6], ids[:1, :3]
    explained = model.explain(mel, ids, f0)
    z, log_det = model(mel, f0)
    means = model.mean(model.encoder(ids))
    worth = []
    for first in range(1, 5):
        for second in range(1, 6 - first):
            durations = torch.tensor([first, second, 6 - first - second])
            centred = z - means[:, :, torch.arange(3).repeat_interleave(durations)]
            log_prob = torch.distributions.Normal(0.0, 1.0).log_prob(centred).sum((1, 2)) + log_det
            worth.append((log_prob.item(), durations.tolist()))
    assert explained.durations[0].tolist() == max(worth)[1]
    assert explained.log_prob.item() == pytest.approx(max(worth)[0], abs=1e-8)


def test_an_item_of_a_batch_is_what_it_is_alone(model: GlowTTS) -> None:
    """Density, durations and predictions, whatever stands behind an item's end."""
    mel, ids, f0, symbols, frames = batch()
    together = model.explain(mel, ids, f0, symbols, frames)
    for row, (n, length) in enumerate(zip(symbols.tolist(), frames.tolist(), strict=True)):
        one = slice(row, row + 1)
        alone = model.explain(mel[one, :, :length], ids[one, :n], f0[one, :length])
        assert together.durations[row, :n].tolist() == alone.durations[0].tolist()
        torch.testing.assert_close(together.log_prob[one], alone.log_prob, rtol=1e-9, atol=1e-9)
        for many, single in zip(together.predicted, alone.predicted, strict=True):
            torch.testing.assert_close(many[row, :n], single[0], rtol=1e-9, atol=1e-9)


def test_gradients_reach_all_of_it(model: GlowTTS) -> None:
    """The density teaches encoder and flow, and predictions their own network only."""
    explained = model.explain(*batch())
    aligned = torch.autograd.grad(explained.log_prob.sum(), list(model.parameters()), allow_unused=True)
    total = torch.stack([each.sum() for each in model.explain(*batch()).predicted]).sum()
    predicted = torch.autograd.grad(total, list(model.parameters()), allow_unused=True)
    for (name, _), one, other in zip(model.named_parameters(), aligned, predicted, strict=True):
        assert (one is None) == name.startswith("predictor."), name
        assert (other is None) != name.startswith("predictor."), name


def test_reversible_training_has_the_same_gradients(model: GlowTTS) -> None:
    """Activations computed again instead of kept: the same to rounding."""
    parameters = [each for name, each in model.named_parameters() if not name.startswith("predictor.")]
    plain = torch.autograd.grad(model.log_prob(*batch()).sum(), parameters)
    make_reversible(model)
    again = torch.autograd.grad(model.log_prob(*batch()).sum(), parameters)
    make_reversible(model, on=False)
    torch.testing.assert_close(again, plain, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("durations", [[3, 1, 4, 2, 2], [0, 5, 0, 1, 1], [0, 0, 1, 0, 0]])
def test_given_durations_are_obeyed(model: GlowTTS, durations: list[int]) -> None:
    """The mel is as long as they add up to, odd or even, and pace changes nothing in them."""
    for pace in (1.0, 2.0):
        plan = model.plan(IDS[0], torch.tensor(durations), pace=pace)
        assert plan.durations.tolist() == durations
        assert model.render(IDS[0], plan).shape == (8, sum(durations))


def test_given_pitch_is_obeyed(model: GlowTTS) -> None:
    """One for each frame is the contour; one for each symbol is met in its middle; none is predicted."""
    durations = torch.tensor([3, 3, 1, 5, 3])
    by_frame = torch.linspace(100, 300, 15, dtype=torch.float64)
    torch.testing.assert_close(model.plan(IDS[0], durations, by_frame).log_f0, by_frame.log())
    contour = model.plan(IDS[0], durations, torch.tensor([0.0, 200.0, 0.0, 300.0, 0.0])).log_f0
    torch.testing.assert_close(contour[[4, 9]].exp(), torch.tensor([200.0, 300.0], dtype=torch.float64))
    silent = model.plan(IDS[0], durations, torch.zeros(5)).log_f0
    torch.testing.assert_close(silent, model.plan(IDS[0], durations).log_f0)


def test_pitch_is_heard(model: GlowTTS) -> None:
    """Another pitch is another mel, and the same is the same."""
    durations, f0 = torch.tensor([3, 3, 1, 5, 3]), torch.full((5,), 180.0)
    mel, again, higher = (model.infer(IDS[0], durations, each) for each in (f0, f0, 1.2 * f0))
    assert torch.equal(mel, again)
    assert float((mel - higher).abs().max()) > 1e-3


def test_pace_divides_predicted_durations(model: GlowTTS) -> None:
    """Twice as fast takes half as long, to a frame a symbol, and every symbol is spoken."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        model.predictor.end.bias[0] += 2.0  # type: ignore[index]  # durations well above one frame
    slow, fast = (model.plan(IDS[0], pace=pace).durations for pace in (0.5, 1.0))
    assert abs(int(slow.sum()) - 2 * int(fast.sum())) <= 1
    assert int(fast.min()) >= 1


def test_noise_is_of_seed_and_place(model: GlowTTS) -> None:
    """Without temperature a latent is the mean; with it, frame l has noise(seed, l · bands …) on top."""
    durations = torch.tensor([2, 2, 2, 2, 2])
    plan = model.plan(IDS[0], durations)
    still, drawn = (model.render(IDS[0], plan, temperature=t, seed=5) for t in (0.0, 0.5))
    latent = [model(mel[None], plan.log_f0[None].exp())[0][0] for mel in (still, drawn)]
    expected = 0.5 * noise(5, 0, 80).view(10, 8).T.double()
    torch.testing.assert_close(latent[1] - latent[0], expected, rtol=1e-6, atol=1e-6)
    assert not torch.equal(drawn, model.render(IDS[0], plan, temperature=0.5, seed=6))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"durations": torch.tensor([1, 2])}, "one for each of 5 symbols"),
        ({"durations": torch.tensor([1.0, 1, 1, 1, 1])}, "whole frames"),
        ({"durations": torch.tensor([1, -1, 1, 1, 1])}, "must not be negative"),
        ({"durations": torch.zeros(5, dtype=torch.long)}, "one frame at least"),
        ({"f0": torch.tensor([100.0])}, "one for each of 5 symbols or of"),
        ({"f0": torch.tensor([100.0, torch.nan, 1, 1, 1])}, "must be finite"),
        ({"f0": torch.tensor([100.0, -5, 1, 1, 1])}, "0 where nothing is voiced"),
        ({"pace": 0.0}, "pace"),
        ({"pace": float("nan")}, "pace"),
        ({"temperature": -1.0}, "temperature"),
        ({"seed": -1}, "seed"),
        ({"ids": torch.tensor([0, 1000])}, "outside 0 … 79"),
        ({"ids": torch.zeros(0, dtype=torch.long)}, "expected whole numbers"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(model: GlowTTS, change: dict, message: str) -> None:
    """Each argument with the rule it breaks."""
    with pytest.raises(InvalidInput, match=message):
        model.infer(**{"ids": IDS[0], **change})


def test_shapes_of_a_mel_are_checked(model: GlowTTS) -> None:
    """Bands, frames and pitch have to agree."""
    mel, ids, f0, *_ = batch()
    for other in (mel[:, :7], mel[0], mel[:, :, :1]):
        with pytest.raises(InvalidMel, match="expected"):
            model.log_prob(other, ids, f0)
    with pytest.raises(InvalidInput, match="one for each frame"):
        model.log_prob(mel, ids, f0[:, :5])
    with pytest.raises(InvalidInput, match="frames for 5 symbols"):
        model.log_prob(mel[:, :, :4], ids, f0[:, :4])


@pytest.mark.parametrize(
    "change",
    [
        {"symbols": 10_000}, {"symbols": 79}, {"alphabet": "0"}, {"width": 15}, {"kernel": 2},
        {"dilations": ()}, {"bound": 0.0}, {"dropout": 1.0}, {"predictor_dropout": -0.1}, {"flows": 0},
        {"group": True},
    ],
    ids=str,
)  # fmt: skip
def test_a_shape_that_cannot_be_is_refused(change: dict) -> None:
    """Every rule of the configuration names its field."""
    with pytest.raises(InvalidConfig, match=r"GlowTTSConfig\.(alphabet|" + next(iter(change)) + ")"):
        dataclasses.replace(SHAPE, **change)


def test_it_is_saved_and_loaded(model: GlowTTS, tmp_path: Path) -> None:
    """The same mel from the file, of the spec in its header; asked for as a vocoder, it is refused."""
    single = GlowTTS(SHAPE, SPEC)
    single.load_state_dict(model.state_dict())
    header = checkpoint.save(tmp_path / "a.safetensors", single.eval(), name="test")
    again, _ = checkpoint.load(tmp_path / "a.safetensors", GlowTTS)
    assert (header.architecture, header.mel, again.config) == ("glowtts", SPEC, SHAPE)
    assert torch.equal(again.infer(IDS[0], seed=3), single.infer(IDS[0], seed=3))
    with pytest.raises(CheckpointError, match="holds a GlowTTS, expected a WaveGlow"):
        checkpoint.load(tmp_path / "a.safetensors")
