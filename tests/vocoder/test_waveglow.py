"""WaveGlow: equal to the published equations, exact both ways, local, and plain about what it refuses."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.golden import reference_waveglow as reference
from tests.vocoder.laws import stirred
from tests.vocoder.shapes import (
    CHEAP,
    NARROW,
    SHUFFLED,
    SPEC,
    TINY_SPEC,
    every_shape,
    make_audio,
    make_mel,
    make_model,
)
from vocoder.errors import InvalidAudio, InvalidConfig, InvalidInput, InvalidMel
from vocoder.features import MelSpec
from vocoder.flows import InvertibleConv1x1
from vocoder.models.waveglow import WaveGlow, WaveGlowConfig
from vocoder.nets.upsample import TransposedUpsample
from vocoder.nets.wavenet import WaveNet


def _as_published(model: WaveGlow) -> dict[str, Tensor]:
    """Our weights under the names of the reference."""
    assert isinstance(model.encoder, TransposedUpsample)
    weights = {f"upsample.{name}": value for name, value in model.encoder.conv.named_parameters()}
    mixes = [module for module in model.modules() if isinstance(module, InvertibleConv1x1)]
    nets = [module for module in model.modules() if isinstance(module, WaveNet)]
    for k, (mix, net) in enumerate(zip(mixes, nets, strict=True)):
        weights[f"{k}.mix"] = mix.weight
        for name, value in net.named_parameters():
            weights[f"{k}.{name}".replace("_layers", "").replace("_layer", "")] = value
    return {name: value.detach() for name, value in weights.items()}


def _assert_published(
    model: WaveGlow, frames: int, *, atol: float, rtol_log_det: float, dtype: torch.dtype
) -> None:
    """Ours and the reference agree: z and its order, log_det, and the way back."""
    spec, weights = model.spec, _as_published(model)
    audio, mel = make_audio(spec, frames).to(dtype), make_mel(spec, frames).to(dtype)
    with torch.no_grad():
        expected_z, expected_log_det = reference.forward(audio, mel, weights, spec.hop_length)
        z, log_det = model(audio, mel)
        torch.testing.assert_close(z, expected_z.transpose(1, 2).flatten(1), rtol=0, atol=atol)
        torch.testing.assert_close(log_det, expected_log_det, rtol=rtol_log_det, atol=0)
        noise = torch.randn(2, 8, spec.samples(frames) // 8, dtype=dtype)
        ours, back_log_det = model.inverse(noise.transpose(1, 2).flatten(1), mel)
        theirs = reference.inverse(noise, mel, weights, spec.hop_length)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=atol)
        torch.testing.assert_close(back_log_det, -model(ours, mel)[1], rtol=rtol_log_det, atol=1e-9)


def test_equals_the_published_equations() -> None:
    """The published shape in narrow layers, double precision: 1e-10 both ways, log_det 1e-10 relative."""
    _assert_published(make_model(NARROW, SPEC), 5, atol=1e-10, rtol_log_det=1e-10, dtype=torch.float64)


def test_equals_the_published_equations_in_single_precision() -> None:
    """The same in single precision: 1e-5 both ways, log_det 1e-6 relative."""
    model = stirred(WaveGlow(NARROW, SPEC), 0.03)
    _assert_published(model, 5, atol=1e-5, rtol_log_det=1e-6, dtype=torch.float32)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=str)
def test_the_published_model_has_its_size_and_its_equations(dtype: torch.dtype, atol: float) -> None:
    """waveglow-256 in full: 87,731,816 parameters, weight norm folded, and the equations on one frame."""
    model = WaveGlow(WaveGlowConfig(), SPEC).to(dtype)
    assert sum(parameter.numel() for parameter in model.parameters()) == 87_731_816
    for name, parameter in model.named_parameters():
        if "end" in name:
            torch.nn.init.normal_(parameter, std=0.01)  # at rest the couplings would be the identity
    _assert_published(model, 1, atol=atol, rtol_log_det=1e-6, dtype=dtype)


@pytest.mark.parametrize(
    "spec",
    [
        MelSpec(sample_rate=16000, win_length=800, hop_length=200),
        MelSpec(sample_rate=24000, n_mels=100, f_max=12000.0),
        MelSpec(n_fft=2048, win_length=1100, hop_length=440),
    ],
    ids=["16k-hop-200", "24k-100-bands", "hop-440"],
)
def test_the_upsampler_follows_the_spec(spec: MelSpec) -> None:
    """Kernel = window and stride = hop of whatever spec it is, and the equations still hold."""
    model = make_model(replace(NARROW, dilations=(1, 2)), spec)
    assert isinstance(model.encoder, TransposedUpsample)
    assert model.encoder.conv.kernel_size == (spec.win_length,)
    assert model.encoder.conv.stride == (spec.hop_length,)
    _assert_published(model, 3, atol=1e-10, rtol_log_det=1e-10, dtype=torch.float64)


@every_shape
def test_round_trips(config: WaveGlowConfig) -> None:
    """Both ways are the identity, and the log-determinants cancel, for every front and conditioning."""
    model, audio, mel = make_model(config), make_audio(TINY_SPEC, 7), make_mel(TINY_SPEC, 7)
    z, log_det = model(audio, mel)
    back, inverse_log_det = model.inverse(z, mel)
    assert z.shape == back.shape == audio.shape
    torch.testing.assert_close(back, audio, rtol=0, atol=1e-10)
    torch.testing.assert_close(inverse_log_det, -log_det, rtol=1e-10, atol=1e-10)
    noise = torch.randn_like(z)
    torch.testing.assert_close(model(model.inverse(noise, mel)[0], mel)[0], noise, rtol=0, atol=1e-10)


@every_shape
def test_log_prob_is_the_density(config: WaveGlowConfig) -> None:
    """log p(x | mel) = log N(z; 0, I) + log |det ∂z/∂x|, the last by automatic differentiation."""
    model, audio, mel = make_model(config), make_audio(TINY_SPEC, 2, 1), make_mel(TINY_SPEC, 2, 1)
    jacobian = torch.autograd.functional.jacobian(lambda x: model(x, mel)[0], audio)
    assert isinstance(jacobian, Tensor)
    log_det = torch.linalg.slogdet(jacobian.view(32, 32)).logabsdet
    standard = torch.distributions.Normal(torch.zeros_like(audio), torch.ones_like(audio))
    expected = standard.log_prob(model(audio, mel)[0]).sum() + log_det
    torch.testing.assert_close(model.log_prob(audio, mel)[0], expected, rtol=1e-9, atol=0)


@every_shape
def test_gradients_reach_every_parameter(config: WaveGlowConfig) -> None:
    """The likelihood trains every parameter, and so does a loss on samples."""
    model, audio, mel = make_model(config), make_audio(TINY_SPEC, 5), make_mel(TINY_SPEC, 5)
    for loss in (model.log_prob(audio, mel).sum(), (model.inverse(audio, mel)[0] ** 3).sum()):
        names, parameters = zip(*model.named_parameters(), strict=True)
        gradients = dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))
        assert [name for name, grad in gradients.items() if not 0 < grad.abs().max() < math.inf] == []


@every_shape
def test_starts_as_whitening(config: WaveGlowConfig) -> None:
    """Before training the couplings are the identity: only the front and orthonormal mixing are left."""
    model, audio, mel = WaveGlow(config, TINY_SPEC).double(), make_audio(TINY_SPEC, 5), make_mel(TINY_SPEC, 5)
    features, whitening = model._condition(audio, mel, None)
    whitened, log_det = model.front.flow(audio, whitening)
    z, whole_log_det = model(audio, mel)
    torch.testing.assert_close(z.square().sum(1), whitened.square().sum(1), rtol=1e-5, atol=0)
    torch.testing.assert_close(whole_log_det, log_det, rtol=0, atol=1e-3)
    assert features.shape[2] == audio.shape[1] // config.group


@every_shape
def test_items_of_a_batch_are_independent(config: WaveGlowConfig) -> None:
    """The second clip and its mel leave the first clip's result alone."""
    model, audio, mel = make_model(config), make_audio(TINY_SPEC, 5), make_mel(TINY_SPEC, 5)
    with torch.no_grad():
        for direction in (model, model.inverse):
            together, alone = direction(audio, mel), direction(audio[:1], mel[:1])
            torch.testing.assert_close(together[0][:1], alone[0], rtol=0, atol=1e-12)
            torch.testing.assert_close(together[1][:1], alone[1], rtol=0, atol=1e-9)


@every_shape
def test_save_and_load(config: WaveGlowConfig) -> None:
    """The state dict holds parameters and nothing derived from the spec, and carries a model over exactly."""
    model, other = make_model(config), make_model(config)
    z, mel = make_audio(TINY_SPEC, 5), make_mel(TINY_SPEC, 5)
    with torch.no_grad():
        other.inverse(z, mel)  # fills what it keeps
        other.load_state_dict(model.state_dict(), strict=True)
        assert torch.equal(model.inverse(z, mel)[0], other.inverse(z, mel)[0])
    assert list(model.state_dict()) == [name for name, _ in model.named_parameters()]


@every_shape
def test_halo(config: WaveGlowConfig) -> None:
    """Mel and noise beyond the halo change not one bit of a frame; just inside they change something."""
    model, frames, middle = make_model(config), 41, 20
    halo, hop = model.halo, TINY_SPEC.hop_length
    assert 0 < halo < middle
    z, mel = torch.randn(1, frames * hop, dtype=torch.float64), make_mel(TINY_SPEC, frames, 1)
    inside = slice(middle - halo, middle + halo + 1)

    def frame(z: Tensor, mel: Tensor) -> Tensor:
        with torch.no_grad():
            return model.inverse(z, mel)[0][:, middle * hop : (middle + 1) * hop]

    strange_z, strange_mel = torch.randn_like(z), make_mel(TINY_SPEC, frames, 1)
    strange_z[:, inside.start * hop : inside.stop * hop] = z[:, inside.start * hop : inside.stop * hop]
    strange_mel[:, :, inside] = mel[:, :, inside]
    assert torch.equal(frame(strange_z, strange_mel), frame(z, mel))

    near_mel, near_z = mel.clone(), z.clone()
    near_mel[:, :, [inside.start + 1, inside.stop - 2]] += 0.5
    assert not torch.equal(frame(z, near_mel), frame(z, mel))
    near_z[:, (inside.start + model.encoder.reach) * hop :][:, :hop] += 1.0
    assert not torch.equal(frame(near_z, mel), frame(z, mel))


@every_shape
def test_chunks_with_a_halo_are_the_whole(config: WaveGlowConfig) -> None:
    """Chunks synthesised with halo frames more on each side, as far as there are any, join to the whole."""
    model, frames, hop = make_model(config), 40, TINY_SPEC.hop_length
    z, mel = torch.randn(1, frames * hop, dtype=torch.float64), make_mel(TINY_SPEC, frames, 1)
    pieces = []
    with torch.no_grad():
        whole = model.inverse(z, mel)[0]
        for start, stop in ((0, 3), (3, 17), (17, 18), (18, 40)):
            first, last = max(0, start - model.halo), min(frames, stop + model.halo)
            chunk = model.inverse(z[:, first * hop : last * hop], mel[:, :, first:last])[0]
            pieces.append(chunk[:, (start - first) * hop : (stop - first) * hop])
    torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=0, atol=1e-12 * whole.abs().max().item())


def test_halo_of_the_published_model() -> None:
    """24,480 samples of couplings are 95.6 frames, and the upsampler looks back three more."""
    with torch.device("meta"):
        assert WaveGlow(WaveGlowConfig(), SPEC).halo == 99


@every_shape
@pytest.mark.parametrize("autocast", [False, True], ids=["bfloat16", "autocast"])
def test_half_precision_is_near(config: WaveGlowConfig, autocast: bool) -> None:
    """In bfloat16, and in mixed precision, the model says about what it says in double precision."""
    model, audio, mel = make_model(config, scale=0.03), make_audio(TINY_SPEC, 5), make_mel(TINY_SPEC, 5)
    with torch.no_grad():
        z, log_det = model(audio, mel)
        dtype = torch.float32 if autocast else torch.bfloat16
        model.to(dtype)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            half_z, half_log_det = model(audio.to(dtype), mel.to(dtype))
            back, _ = model.inverse(half_z, mel.to(dtype))
    assert half_z.dtype == dtype
    assert half_log_det.dtype == torch.float32
    size = z.abs().max().item()
    torch.testing.assert_close(half_z.double(), z, rtol=0, atol=(0.02 if autocast else 0.1) * size)
    torch.testing.assert_close(half_log_det.double(), log_det, rtol=0.02, atol=1.0)
    torch.testing.assert_close(back.double(), audio, rtol=0, atol=0.003 if autocast else 0.1)


@pytest.mark.parametrize("level", [-11.5, 0.0, 2.0])
def test_a_loud_or_silent_mel_can_be_whitened(level: float) -> None:
    """Full-scale low bands over silent high ones, in single precision: no front fails, all come back."""
    mel = torch.full((1, 80, 4), -11.5)
    mel[:, :10] = level
    for front in ("lapped", "filter", "cholesky"):
        model = WaveGlow(WaveGlowConfig(group=64, flows=1, channels=2, dilations=(1,), front=front), SPEC)
        z = torch.randn(1, 1024)
        audio, _ = model.inverse(z, mel)
        assert audio.isfinite().all()
        torch.testing.assert_close(model(audio, mel)[0], z, rtol=0, atol=0.05)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"group": 0}, "group"),
        ({"group": 1}, "group"),
        ({"group": 8.0}, "group"),
        ({"group": True}, "group"),
        ({"group": 5, "front": "lapped"}, "group"),
        ({"flows": 0}, "flows"),
        ({"early_every": -1}, "early_every"),
        ({"early_size": 0}, "early_size"),
        ({"early_size": 4}, "early_size"),
        ({"group": 4}, "early_size"),
        ({"early_every": 1}, "early_size"),
        ({"channels": 0}, "channels"),
        ({"dilations": ()}, "dilations"),
        ({"dilations": (1, 0)}, "dilations"),
        ({"dilations": (1, 2.0)}, "dilations"),
        ({"dilations": 3}, "dilations"),
        ({"kernel": 2}, "kernel"),
        ({"kernel": -1}, "kernel"),
        ({"conditioning": "none"}, "conditioning"),
        ({"conditioning": "encoder"}, "cond_channels"),
        ({"conditioning": "encoder", "cond_channels": 4, "cond_layers": -1}, "cond_layers"),
        ({"front": "wavelet"}, "front"),
        ({"front": None}, "front"),
        ({"bound": 0.0}, "bound"),
        ({"bound": -1.0}, "bound"),
        ({"bound": float("inf")}, "bound"),
        ({"bound": float("nan")}, "bound"),
        ({"bound": "3"}, "bound"),
        ({"bound": 1.0, "coupling": "additive"}, "bound"),
        ({"coupling": "autoregressive"}, "coupling"),
        ({"mix": "lu"}, "mix"),
        ({"halves": "last"}, "halves"),
        ({"net": "transformer"}, "net"),
    ],
    ids=str,
)
def test_impossible_configs_are_refused(changes: dict[str, Any], name: str) -> None:
    """The message names the field, its value and the rule."""
    with pytest.raises(InvalidConfig, match=rf"WaveGlowConfig\.{name} \(=.*\) must"):
        WaveGlowConfig(**changes)


def test_a_group_that_does_not_divide_the_hop_is_refused() -> None:
    """A frame is whole groups: 256 is not divisible by 24."""
    with pytest.raises(InvalidConfig, match=r"group \(=24\) must divide the hop \(=256\)"):
        WaveGlow(WaveGlowConfig(group=24), SPEC)


def test_config_travels_as_plain_values() -> None:
    """to_dict and from_dict are inverse to each other, through JSON's lists too, and strict about keys."""
    config = replace(CHEAP, front="lapped")
    values = config.to_dict()
    assert WaveGlowConfig.from_dict(values) == config
    assert WaveGlowConfig.from_dict({**values, "dilations": [1, 3]}) == config
    assert hash(WaveGlowConfig.from_dict({**values, "dilations": [1, 3]})) == hash(config)
    with pytest.raises(InvalidConfig, match="fields"):
        WaveGlowConfig.from_dict({**values, "sigma": 1.0})
    with pytest.raises(InvalidConfig, match="fields"):
        WaveGlowConfig.from_dict({name: value for name, value in values.items() if name != "front"})


def test_a_config_of_the_first_release_means_what_it_meant() -> None:
    """What a header of version 0.1.0 does not name is the affine coupling after a 1×1 convolution."""
    later = {"coupling", "mix", "halves", "net"}
    old = {name: value for name, value in CHEAP.to_dict().items() if name not in later}
    assert WaveGlowConfig.from_dict(old) == CHEAP


def test_alternate_halves_take_turns() -> None:
    """In odd steps the last half feeds the network and passes unchanged, as in NVIDIA's glow_old.py."""
    model = make_model(replace(SHUFFLED, flows=2, mix="conv", early_every=0), scale=0.3)
    steps = list(model.flow.inner)  # type: ignore[call-overload]  # a Chain, which nn.Module does not say
    x, cond = torch.randn(1, 8, 4, dtype=torch.float64), torch.randn(1, 40, 4, dtype=torch.float64)
    with torch.no_grad():
        even, odd = steps[1](x, cond)[0], steps[3](x, cond)[0]
    assert torch.equal(even[:, :4], x[:, :4]) and not torch.equal(even[:, 4:], x[:, 4:])
    assert torch.equal(odd[:, 4:], x[:, 4:]) and not torch.equal(odd[:, :4], x[:, :4])


@pytest.mark.parametrize("shape", [(2, 79), (2, 81), (2, 96), (2, 0), (80,), (2, 1, 80)], ids=str)
def test_audio_of_another_length_is_refused(shape: tuple[int, ...]) -> None:
    """T = frames · hop exactly, in both directions; the message says how many were expected."""
    model, mel = make_model(CHEAP), make_mel(TINY_SPEC, 5)
    signal = torch.zeros(shape, dtype=torch.float64)
    for call in (model, model.log_prob):
        with pytest.raises(InvalidAudio, match=r"audio has shape .* = \[batch, 80\]"):
            call(signal, mel)
    with pytest.raises(InvalidInput, match=r"z has shape .* = \[batch, 80\]"):
        model.inverse(signal, mel)


@pytest.mark.parametrize("shape", [(2, 4, 5), (5, 5), (2, 5, 0), (2, 5, 5, 1)], ids=str)
def test_a_mel_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    """Its bands are the spec's, and it is a batch with frames."""
    model, mel = make_model(CHEAP), torch.zeros(shape, dtype=torch.float64)
    for direction in (model, model.inverse):
        with pytest.raises(InvalidMel, match=r"expected \[batch, 5, frames\]"):
            direction(torch.zeros(2, 80, dtype=torch.float64), mel)


def test_batches_that_do_not_match_are_refused() -> None:
    """One mel is not broadcast over two clips."""
    model = make_model(CHEAP)
    for direction in (model, model.inverse):
        with pytest.raises(InvalidInput, match="batch of 2 and mel of 1"):
            direction(make_audio(TINY_SPEC, 5, 2), make_mel(TINY_SPEC, 5, 1))
