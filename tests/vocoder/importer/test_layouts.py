"""Every layout and container of a WaveGlow becomes a model of ours that computes what its author's does."""

import argparse
import collections
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.vocoder.importer import authors
from tests.vocoder.importer.authors import BANDS, GROUP, NET, SHAPE, SQUEEZE, author, trained
from vocoder import checkpoint
from vocoder.importer import Imported, import_checkpoint
from vocoder.models.waveglow import WaveGlow

FRAMES = 5
LAYOUTS = {"A": {}, "B": {"split_cond": True}, "C": {"split_cond": True, "split_skip": True}}


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    """A, B or C."""
    return str(request.param)


@pytest.fixture
def glow() -> Iterator[Any]:
    """The author's module, gone again before anything is imported by us."""
    with author("glow", "glow") as module:
        yield module


def build(module: Any, layout: str = "A") -> Any:
    """A trained network of a layout."""
    return trained(module.WaveGlow(**SHAPE, WN_config={**NET, **LAYOUTS[layout]}))


def alone(save: Callable[[Any], Path], layout: str = "A", name: str = "glow") -> tuple[Any, Path]:
    """A network and its file; the author's module can no longer be imported when this returns."""
    with author(name, "glow") as module:
        network = build(module, layout)
        return network, save(network)


def folded(network: nn.Module) -> Any:
    """The network without weight norm, by PyTorch's own means."""
    for part in list(network.modules()):
        if hasattr(part, "weight_g"):
            nn.utils.remove_weight_norm(part)
    return network


def agrees(imported: Imported, network: Any, bands: int = BANDS, group: int = GROUP) -> None:
    """Both directions, in float64 from the very same single-precision weights."""
    theirs, ours = folded(network).double(), imported.model.double()
    samples = imported.model.spec.samples(FRAMES)
    mel = torch.randn(2, bands, FRAMES, dtype=torch.float64)
    audio = 0.3 * torch.randn(2, samples, dtype=torch.float64)
    with torch.no_grad():
        z = theirs(mel, audio)
        assert z.shape == (2, group, samples // group)
        found = ours(audio, mel)[0]
        torch.testing.assert_close(found, z.transpose(1, 2).flatten(1), rtol=0, atol=1e-12)
        noise = 0.6 * torch.randn(2, group, samples // group, dtype=torch.float64)
        said = ours.inverse(noise.transpose(1, 2).flatten(1), mel)[0]
        torch.testing.assert_close(said, theirs.infer(mel, noise), rtol=0, atol=1e-11)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_pickled_module(layout: str, zipped: bool, tmp_path: Path) -> None:
    """NVIDIA's whole-module pickles of every release, in both formats, with the optimiser's state."""
    network, path = alone(
        lambda n: authors.save(authors.checkpoint(n), tmp_path / "waveglow.pt", zipped=zipped), layout
    )
    imported = import_checkpoint(path)
    agrees(imported, network)
    told = imported.report
    assert (told.kind, told.home, told.layout and told.layout[0]) == ("glow.WaveGlow", "model", layout)
    assert (told.weight_norm, told.step, told.problem) == ("weight_g and weight_v", 580000, None)
    assert told.container == ("zip" if zipped else "legacy")
    assert ("class WaveGlow" in told.sources.get("glow.WaveGlow", "")) == (not zipped)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_alternating_halves_are_told_by_the_class(zipped: bool, tmp_path: Path) -> None:
    """A `glow_old.WaveGlow` feeds the second half in odd steps, which nothing but its class says."""
    network, path = alone(
        lambda n: authors.save({"model": n}, tmp_path / "old.pt", zipped=zipped), "B", "glow_old"
    )
    imported = import_checkpoint(path)
    assert imported.model.config.halves == "alternate"
    agrees(imported, network)


def test_alternating_halves_can_be_said(tmp_path: Path) -> None:
    """A state dict of `glow_old` needs the word of who has it, and a note says so where it is missing."""
    network, path = alone(lambda n: authors.save(n.state_dict(), tmp_path / "old.pt"), "B", "glow_old")
    plain = import_checkpoint(path)
    assert plain.model.config.halves == "first"
    assert any("--alternate-halves" in note for note in plain.report.notes)
    agrees(import_checkpoint(path, alternate_halves=True), network)


@pytest.mark.parametrize("room", ["waveglow.model", "tacotron.vendored.glow_old"])
def test_a_copy_of_the_authors_code(room: str, tmp_path: Path) -> None:
    """The classes are known by their names, in whatever module a project keeps them."""
    network, path = alone(lambda n: authors.save({"model": n}, tmp_path / "x.pt"), "B", room)
    imported = import_checkpoint(path)
    assert imported.report.kind == f"{room}.WaveGlow"
    agrees(imported, network)


def test_what_is_said_of_halves_wins(tmp_path: Path) -> None:
    """A caller who contradicts the class is believed, and told."""
    _, path = alone(lambda n: authors.save({"model": n}, tmp_path / "x.pt"))
    imported = import_checkpoint(path, alternate_halves=True)
    assert imported.model.config.halves == "alternate"
    assert any("glow.WaveGlow" in note for note in imported.report.notes)


@pytest.mark.parametrize("prefix", ["", "module.", "module.1.", "model.", "waveglow."])
def test_prefixes_of_wrappers(prefix: str, tmp_path: Path) -> None:
    """DeepLearningExamples' dict, with its config inside, and any wrapper's prefix before the names."""
    config = {**SHAPE, "WN_config": NET}
    other = {"epoch": 3, "config": config, "optimizer": {}, "random_rng_states_all": [torch.get_rng_state()]}
    network, path = alone(
        lambda n: authors.save(
            {**other, "state_dict": authors.wrapped(n.state_dict(), prefix)}, tmp_path / "dle.pt"
        ),
        "B",
    )
    imported = import_checkpoint(path)
    agrees(imported, network)
    assert (imported.report.home, imported.report.prefix) == ("state_dict", prefix)
    assert imported.report.settings == config
    assert imported.report.temperature == 0.9  # what their inference.py does


def test_a_wrapped_module(tmp_path: Path) -> None:
    """A network pickled inside DataParallel is found, with its class."""
    network, path = alone(lambda n: authors.save({"model": nn.DataParallel(n)}, tmp_path / "dp.pt"))
    imported = import_checkpoint(path)
    agrees(imported, network)
    assert (imported.report.kind, imported.report.prefix) == ("glow.WaveGlow", "module.")


def test_parametrised_weight_norm(layout: str, tmp_path: Path) -> None:
    """The names that weight norm has since PyTorch 2.0."""
    network, path = alone(
        lambda n: authors.save(authors.parametrised(n.state_dict()), tmp_path / "p.pt"), layout
    )
    imported = import_checkpoint(path)
    agrees(imported, network)
    assert imported.report.weight_norm == "parametrizations"


def test_weight_norm_that_is_gone(layout: str, tmp_path: Path) -> None:
    """Files of networks prepared for inference."""
    network, path = alone(lambda n: authors.save(folded(n).state_dict(), tmp_path / "f.pt"), layout)
    imported = import_checkpoint(path)
    agrees(imported, network)
    assert imported.report.weight_norm == "folded"


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_nemo(mode: str, tmp_path: Path) -> None:
    """A `.nemo` brings its own mel; what is not a weight is dropped by name."""
    network, path = alone(lambda n: authors.nemo(n.state_dict(), tmp_path / "x.nemo", mode=mode))
    imported = import_checkpoint(path)
    spec = imported.model.spec
    assert (spec.sample_rate, spec.n_fft, spec.win_length, spec.hop_length) == (16000, 2048, 1024, 256)
    assert (spec.n_mels, spec.f_min, spec.f_max, spec.floor) == (4, 40.0, 8000.0, 1e-5)
    agrees(imported, network)
    told = imported.report
    assert set(told.dropped) == {"convinv.0.inv_conv.weight", "audio_to_melspec_precessor.fb"}
    assert (told.layout, told.prefix, told.temperature) == ("NeMo", "waveglow.", 1.0)
    assert told.container == ("gzip tar zip" if mode == "w:gz" else "tar zip")


def test_nemo_of_old(tmp_path: Path) -> None:
    """The numbers lay a table deeper once; a null means what it means to NeMo, and a number may be a word."""
    lines = authors.YAML.replace("n_fft: 2048", "n_fft: null").splitlines()
    section = lines.index("preprocessor:") + 1
    deeper = [f"  {line}" if line.startswith("  ") else line for line in lines[section:]]
    config = "\n".join([*lines[:section], "  params:", *deeper])
    _, path = alone(lambda n: authors.nemo(n.state_dict(), tmp_path / "x.nemo", config=config))
    spec = import_checkpoint(path).spec
    assert (spec.n_fft, spec.sample_rate, spec.f_min, spec.f_max) == (1024, 16000, 40.0, 8000.0)
    assert spec.floor == 1e-5


def test_what_lies_beside_the_weights(glow: Any, tmp_path: Path) -> None:
    """Numbers of NumPy, arguments, devices, sets and random states are known, and stay data."""
    beside = {
        "loss": np.float64(-5.5),
        "curve": np.arange(3.0),
        "args": argparse.Namespace(sigma=1.0, device=torch.device("cuda", 0), dtype=torch.float16),
        "seen": {1, 2},
        "counts": collections.defaultdict(int, {"a": 1}),
        "shape": torch.Size([1, 2]),
        "rng": torch.get_rng_state(),
        "amp": {"loss_scaler0": {"loss_scale": 65536.0}},
        "bytes": b"\xff",
    }
    network = build(glow)
    imported = import_checkpoint(authors.save({**beside, "model": network}, tmp_path / "x.pt"))
    agrees(imported, network)
    assert imported.report.holds["args"] == "object of 'argparse.Namespace'"


def weights(model: WaveGlow) -> Iterator[tuple[str, Tensor]]:
    """Our weights, without their place in the chain: kind of weight, in order."""
    for name, weight in model.state_dict().items():
        yield name.partition("conditioner.")[2], weight


def test_rows_are_laid_behind_one_another(tmp_path: Path) -> None:
    """B and C become A to the last bit: the rows are PyTorch's own folded ones."""
    for name in ("B", "C"):
        network, path = alone(lambda n: authors.save(n.state_dict(), tmp_path / "x.pt"), name)
        theirs = folded(network).WN[0]
        ours = dict(reversed(list(weights(import_checkpoint(path).model))))
        for kind in ("weight", "bias"):
            rows = torch.cat([getattr(layer, kind) for layer in theirs.cond_layers])
            assert torch.equal(ours[f"cond_layer.{kind}"], rows)
            assert torch.equal(ours[f"in_layers.2.{kind}"], getattr(theirs.in_layers[2], kind))
            if name == "C":
                both = [getattr(theirs.res_layers[1], kind), getattr(theirs.skip_layers[1], kind)]
                assert torch.equal(ours[f"res_skip_layers.1.{kind}"], torch.cat(both))
                assert torch.equal(ours[f"res_skip_layers.2.{kind}"], getattr(theirs.skip_layers[2], kind))


@pytest.mark.parametrize("spelling", ["old", "parametrised"])
def test_folding_is_pytorchs(glow: Any, spelling: str, tmp_path: Path) -> None:
    """Every weight is, bit for bit, what `remove_weight_norm` leaves of it."""
    network = build(glow)
    state = network.state_dict()
    path = authors.save(state if spelling == "old" else authors.parametrised(state), tmp_path / "x.pt")
    ours = [weight.squeeze() for weight in import_checkpoint(path).model.state_dict().values()]
    theirs = [weight.squeeze() for weight in folded(network).state_dict().values()]
    assert len(ours) == len(theirs)
    for weight in theirs:
        assert any(weight.shape == each.shape and torch.equal(weight, each) for each in ours)


def test_half_precision_is_folded_in_single(glow: Any, tmp_path: Path) -> None:
    """Half has too few digits to take a norm in; the result is that of the network in single precision."""
    network = build(glow).half()
    path = authors.save(network.state_dict(), tmp_path / "h.pt")
    agrees(import_checkpoint(path), network.float())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions(glow: Any, dtype: torch.dtype, tmp_path: Path) -> None:
    """What comes out is single precision, whatever went in."""
    path = authors.save(build(glow).to(dtype).state_dict(), tmp_path / "d.pt")
    state = import_checkpoint(path).model.state_dict()
    assert {weight.dtype for weight in state.values()} == {torch.float32}


def test_weights_of_cuda(glow: Any, tmp_path: Path) -> None:
    """Files that a GPU saved name storages of CUDA and a device; both are read into the CPU's memory."""
    network = build(glow)
    path = authors.save(network.state_dict(), tmp_path / "c.pt", zipped=False)
    data = path.read_bytes()
    for old, new in {
        b"ctorch\nFloatStorage\n": b"ctorch.cuda\nFloatStorage\n",
        b"X\x03\x00\x00\x00cpu": b"X\x06\x00\x00\x00cuda:0",
    }.items():
        assert data.count(old) == 1
        data = data.replace(old, new)
    path.write_bytes(data)
    imported = import_checkpoint(path)
    assert "torch.cuda.FloatStorage" in imported.report.names
    agrees(imported, network)


def test_modules_of_old_pytorch(glow: Any, tmp_path: Path) -> None:
    """Before 1.4 every module named a backend, a function that PyTorch keeps to this day for such files."""
    from torch.nn.backends import thnn

    class Backend:
        def __reduce__(self) -> Any:
            return thnn._get_thnn_function_backend, ()

    network = build(glow)
    for part in network.modules():
        part._backend = Backend()
    imported = import_checkpoint(authors.save({"model": network}, tmp_path / "old.pt", zipped=False))
    assert "torch.nn.backends.thnn._get_thnn_function_backend" in imported.report.names
    agrees(imported, network)


@pytest.mark.parametrize("group", [128, 256])
@pytest.mark.parametrize("fused", [False, True])
def test_squeezewave(group: int, fused: bool, tmp_path: Path) -> None:
    """Depthwise-separable networks, batch norm before the padded convolution or fused into it."""
    with author("glow", "squeezewave") as module:
        network = trained(module.SqueezeWave(**{**SQUEEZE, "n_audio_channel": group}, WN_config=NET), 0.05)
        if fused:
            for net in network.WN:
                net.fuse()
        path = authors.save({"model": network, "iteration": 5}, tmp_path / "s.pt")
    imported = import_checkpoint(path)
    config = imported.model.config
    assert (config.net, config.conditioning, config.dilations) == ("separable", "repeat", (1, 1, 1))
    assert (config.group, config.early_every, config.early_size) == (group, 2, 16)
    assert imported.report.layout == "SqueezeWave"
    for net in network.WN if not fused else ():
        for layer in net.in_layers:  # as our model has it: rounded once
            norm = layer[0].double()
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            shift = norm.bias - norm.running_mean * scale
            norm.weight.data, norm.bias.data = scale.float().double(), shift.float().double()
            norm.running_mean.zero_()
            norm.running_var.fill_(1 - norm.eps)
    agrees(imported, network, BANDS, group)


def test_a_model_without_early_outputs(glow: Any, tmp_path: Path) -> None:
    """Where no channels leave, the shapes say so, and one flow is enough."""
    for flows in (1, 2):
        network = trained(glow.WaveGlow(**{**SHAPE, "n_flows": flows}, WN_config=NET))
        imported = import_checkpoint(authors.save(network.state_dict(), tmp_path / "x.pt"))
        assert (imported.model.config.flows, imported.model.config.early_every) == (flows, 0)
        agrees(imported, network)


def test_the_published_shape(glow: Any, tmp_path: Path) -> None:
    """12 flows of 8 layers with early outputs after 4 and 8 are our `waveglow-256` but for the width."""
    shape = {**SHAPE, "n_flows": 12, "n_early_every": 4}
    network = trained(glow.WaveGlow(**shape, WN_config={**NET, "n_layers": 8, "n_channels": 4}), 0.05)
    imported = import_checkpoint(authors.save({"model": network}, tmp_path / "x.pt"))
    assert imported.model.config.to_dict() == {**type(imported.model.config)().to_dict(), "channels": 4}
    agrees(imported, network)


def test_saved_and_loaded(glow: Any, tmp_path: Path) -> None:
    """The file of ours is a checkpoint like any other, and says where it is from."""
    source = authors.save(authors.checkpoint(build(glow)), tmp_path / "waveglow_256.v1.pt")
    imported = import_checkpoint(source)
    header = imported.save(tmp_path / "voice.safetensors")
    assert (header.name, header.licence, header.temperature, header.step) == (
        "waveglow_256.v1",
        "unknown",
        0.6,
        580000,
    )
    origin = header.extra["imported_from"]
    assert (origin["file"], origin["sha256"]) == ("waveglow_256.v1.pt", imported.report.sha256)
    assert origin["layout"] == imported.report.layout
    loaded, again = checkpoint.load(tmp_path / "voice.safetensors")
    assert again == header
    for key, weight in imported.model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], weight)


def test_saved_as_one_likes(glow: Any, tmp_path: Path) -> None:
    """Name, licence, temperature and half precision are the caller's."""
    imported = import_checkpoint(authors.save(build(glow).state_dict(), tmp_path / "x.pt"))
    said = {"name": "ljs", "licence": "BSD-3-Clause", "temperature": 0.8}
    header = imported.save(tmp_path / "v", half=True, **said)  # type: ignore[arg-type]  # of several types
    assert {key: header.to_dict()[key] for key in said} == said
    told = checkpoint.inspect(tmp_path / "v")["tensors"]
    assert {each["dtype"] for each in told.values()} == {"float16"}
