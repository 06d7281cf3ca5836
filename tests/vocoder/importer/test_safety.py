"""Whatever a file is: no code of it runs, no more is believed than it holds, and errors say what it is."""

import gzip
import io
import os
import pickle
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.vocoder.importer import authors
from tests.vocoder.importer.authors import NET, SHAPE, author, trained
from vocoder.errors import CheckpointError
from vocoder.importer import Limits, import_checkpoint, report

SAVERS: dict[str, Callable[[Any, Path], Path]] = {
    "zip": authors.save,
    "legacy": lambda value, path: authors.save(value, path, zipped=False),
    "nemo": lambda value, path: authors.nemo(value["model"].state_dict(), path),
}


def network() -> Any:
    """A small network; the module that it is of cannot be imported any more."""
    with author("glow", "glow") as glow:
        return trained(glow.WaveGlow(**{**SHAPE, "n_flows": 2}, WN_config={**NET, "n_layers": 1}))


def state() -> dict[str, torch.Tensor]:
    """Its weights."""
    return dict(network().state_dict())


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bytes of a good file of each kind."""
    folder = tmp_path_factory.mktemp("good")
    with author("glow", "glow") as glow:
        small = trained(glow.WaveGlow(**{**SHAPE, "n_flows": 2}, WN_config={**NET, "n_layers": 1}))
        small.upsample.weight.data.mul_(0).add_(0.5)
        return {kind: save({"model": small}, folder / kind).read_bytes() for kind, save in SAVERS.items()}


def refused(path: Path, **settings: Any) -> str:
    """The words with which a file is refused; the report has the same, and is one that can be shown."""
    with pytest.raises(CheckpointError) as told:
        import_checkpoint(path, **settings)
    found = report(path, **settings)
    assert str(told.value) == f"{path} {found.problem}"
    assert found.problem and found.problem in found.to_text()
    assert all(line.isprintable() for line in found.to_text().splitlines())
    return found.problem


class Call:
    """An object whose pickle calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


def payloads(marker: Path) -> dict[str, Any]:
    """Objects that would leave a file behind if their pickle were loaded in the usual way."""
    touch = f"open({str(marker)!r}, 'w').close()"
    return {
        "posix.system": Call(os.system, f"touch {marker}"),
        "builtins.eval": Call(eval, touch),
        "builtins.exec": Call(exec, touch),
        "io.open": Call(open, str(marker), "w"),
        "builtins.getattr": Call(getattr, os, "system"),
        "torch.serialization.load": Call(torch.load, str(marker)),
    }


PAYLOADS = [name for name in payloads(Path()) if name != "builtins.getattr"]


def test_the_payloads_work(tmp_path: Path) -> None:
    """What the tests below prove harmless is not so elsewhere."""
    marker = tmp_path / "ran"
    pickle.loads(pickle.dumps(payloads(marker)["builtins.eval"]))  # noqa: S301  # the point of it
    assert marker.exists()


@pytest.mark.parametrize("name", PAYLOADS)
@pytest.mark.parametrize("place", ["alone", "beside", "in a module", "in an optimiser", "among the weights"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_nothing_runs(name: str, place: str, zipped: bool, tmp_path: Path) -> None:
    """A function that no checkpoint needs is named and not run, wherever in the file it hides."""
    marker = tmp_path / "ran"
    bad = payloads(marker)[name]
    with author("glow", "glow") as glow:
        model = trained(glow.WaveGlow(**{**SHAPE, "n_flows": 1}, WN_config={**NET, "n_layers": 1}))
        if place == "in a module":
            model.WN[0].start.hook = bad
        values = {
            "alone": bad,
            "beside": {"model": model, "config": bad},
            "in a module": {"model": model},
            "in an optimiser": {"model": model, "optimizer": {"state": {0: {"step": bad}}}},
            "among the weights": {**model.state_dict(), "WN.0.start.weight_g": bad},
        }
        path = authors.save(values[place], tmp_path / "x.pt", zipped=zipped)
    told = refused(path)
    found = report(path).refused
    assert [each.replace("__builtin__", "builtins") for each in found] == [name]
    assert found[0] in told and "nothing was run" in told
    assert not marker.exists()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", PAYLOADS)
def test_nothing_runs_in_a_plain_pickle(name: str, protocol: int, tmp_path: Path) -> None:
    """Pickles of every protocol, the textual one of old among them."""
    marker = tmp_path / "ran"
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"model": payloads(marker)[name]}, protocol))
    assert name.replace("builtins.", "") in refused(path)
    assert not marker.exists()


def test_nothing_runs_in_a_nemo_archive(tmp_path: Path) -> None:
    """The weights in an archive are read like any others."""
    marker = tmp_path / "ran"
    bad: Any = {**state(), "extra": payloads(marker)["posix.system"]}
    assert "posix.system" in refused(authors.nemo(bad, tmp_path / "x.nemo"))
    assert not marker.exists()


def test_nothing_runs_by_other_instructions(tmp_path: Path) -> None:
    """Calling has many names: INST, OBJ, NEWOBJ, a class with a state, an extension, a call of no name."""
    marker = tmp_path / "ran"
    touch = f"touch {marker}".encode()
    programs = {
        b"(S'%b'\nios\nsystem\n." % touch: "os.system",
        b"\x80\x02(cos\nsystem\nX%b%bo." % (struct.pack("<I", len(touch)), touch): "os.system",
        b"\x80\x02cos\nsystem\nX%b%b\x85\x81." % (struct.pack("<I", len(touch)), touch): "os.system",
        b"\x80\x02ctorch\nSize\n}X\x01\x00\x00\x00aK\x01sb.": "gives torch.Size a state",
        b"\x80\x02ctorch\nSize\n(K\x01tR)R.": "which is not the name of a function",
        b"\x80\x02\x82\x01.": "an instruction that no checkpoint needs",
        b"\x80\x04\x8c\x02os\x94K\x05\x93.": "expected two strings",
    }
    for program, expected in programs.items():
        (tmp_path / "x.pkl").write_bytes(program)
        assert expected in refused(tmp_path / "x.pkl")
    assert not marker.exists()


@pytest.mark.parametrize("kind", SAVERS)
def test_no_file_can_be_cut(good: dict[str, bytes], kind: str, tmp_path: Path) -> None:
    """Wherever a file ends too early, it is refused with a reason."""
    path, data = tmp_path / "x.pt", good[kind]
    ends = {*range(0, len(data), max(1, len(data) // 40)), 1, 2, 3, 100, 511, 512, 513, len(data) - 1}
    for end in sorted(ends):
        path.write_bytes(data[:end])
        assert len(refused(path)) > 10


@pytest.mark.parametrize("kind", SAVERS)
def test_damage_is_an_error_or_is_not_seen(good: dict[str, bytes], kind: str, tmp_path: Path) -> None:
    """A flipped bit may change a weight where a format has no checksum; it never leads to another error."""
    path, rng, refusals = tmp_path / "x.pt", random.Random(0), 0
    for _ in range(40):
        data = bytearray(good[kind])
        spot = rng.randrange(len(data)) if rng.random() < 0.3 else rng.randrange(min(4000, len(data)))
        data[spot] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        try:
            import_checkpoint(path)
        except CheckpointError:
            refusals += 1
    assert refusals


NOT_CHECKPOINTS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "is empty"),
    "noise": (random.Random(1).randbytes(5000), "no checkpoint of PyTorch's"),
    "zeros": (bytes(5000), "no checkpoint of PyTorch's"),
    "a web page": (b"<!DOCTYPE html><html>" + b" " * 600, "begins with b'<!DOCTYPE html>"),
    "a pointer of git-lfs": (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs"),
    "safetensors": (struct.pack("<Q", 2) + b"{}" + bytes(600), "vocoder inspect"),
    "a pickle": (pickle.dumps([1, 2]), "holds no tensors where weights are kept; it holds list of 2"),
    "a pickle of pickles": (pickle.dumps({"a": pickle.dumps(1)}), "no tensors"),
}


@pytest.mark.parametrize("name", NOT_CHECKPOINTS)
def test_what_is_no_checkpoint(name: str, tmp_path: Path) -> None:
    """Common mistakes are told for what they are."""
    data, expected = NOT_CHECKPOINTS[name]
    (tmp_path / "x.pt").write_bytes(data)
    assert expected in refused(tmp_path / "x.pt")


def test_what_is_no_file(tmp_path: Path) -> None:
    """No file, and a folder."""
    for path in (tmp_path / "missing.pt", tmp_path):
        with pytest.raises(CheckpointError, match=path.name):
            import_checkpoint(path)
        with pytest.raises(CheckpointError, match="expected a checkpoint"):
            report(path)


def archive(path: Path, entries: dict[str, bytes]) -> Path:
    """A zip archive of these, compressed."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in entries.items():
            file.writestr(name, data)
    return path


def test_archives_that_are_something_else(tmp_path: Path) -> None:
    """What is in them is told, as far as names go."""
    path = tmp_path / "x.pt"
    assert "'waveglow.pt'" in refused(archive(path, {"waveglow.pt": b""}))
    assert "TorchScript" in refused(archive(path, {"x/data.pkl": b"\x80\x02N.", "x/constants.pkl": b""}))
    assert "big-endian" in refused(archive(path, {"x/data.pkl": b"\x80\x02N.", "x/byteorder": b"big"}))
    with tarfile.open(path, "w:gz") as file:
        file.addfile(tarfile.TarInfo("../../readme.txt"))
    assert "without model_weights.ckpt; it holds 'readme.txt'" in refused(path)
    with tarfile.open(path, "w") as file:
        link = tarfile.TarInfo("model_weights.ckpt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
    assert "without model_weights.ckpt" in refused(path)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """An archive that unpacks to many times its size is refused before it is."""
    path = archive(tmp_path / "x.pt", {"x/data.pkl": bytes(2**24)})
    assert "claims to unpack to 16777216 bytes" in refused(path)
    path.write_bytes(gzip.compress(bytes(2**24)))
    assert "unpacks to more than" in refused(path)


def test_lengths_that_are_promised_are_not_reserved(tmp_path: Path) -> None:
    """Strings, memory slots and storages of terabytes cost nothing but the error."""
    path = tmp_path / "x.pkl"
    for program in (
        b"\x80\x04\x8d" + struct.pack("<Q", 2**42) + b"abc.",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**42) + b"abc.",
        b"\x80\x02K\x01r" + struct.pack("<I", 2**32 - 1) + b".",
        b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b".",
        b"\x80\x02L" + b"9" * 100_000 + b"L\n.",
    ):
        path.write_bytes(program)
        refused(path)


def test_depth_costs_nothing(tmp_path: Path) -> None:
    """Lists in lists, tuples as keys, modules in modules, and things that hold themselves."""
    path, deep = tmp_path / "x.pkl", 50_000
    path.write_bytes(b"\x80\x02" + b"]" * deep + b"a" * (deep - 1) + b".")
    assert "no tensors" in refused(path)
    path.write_bytes(b"\x80\x02}K\x01" + b"\x85" * deep + b"K\x01s.")
    assert "a tuple for a key" in refused(path)
    module, child = b"cglow\nWN\n)\x81}X\x08\x00\x00\x00_modules", b"}X\x01\x00\x00\x00a"
    path.write_bytes(
        b"\x80\x02" + (module + child) * 5000 + b"N" + b"sssb"[:1] + b"sb" + b"ssb" * 4999 + b"."
    )
    assert "deep" in refused(path)
    path.write_bytes(b"\x80\x02" + module + b"}q\x01X\x01\x00\x00\x00ah\x01ssb.")
    assert "no tensors" in refused(path)
    path.write_bytes(
        b"\x80\x02cglow\nWN\n)\x81q\x01}X\x08\x00\x00\x00_modules" + child + b"h\x01sssb"[:2] + b"ssb."
    )
    assert "deep" in refused(path)


def test_a_file_that_branches_is_not_walked_for_ever(tmp_path: Path) -> None:
    """Modules that hold one another many times over are as many as they seem; only so many are looked at."""
    lines = [b"\x80\x02cglow\nWN\n)\x81q\x00"]
    for level in range(12):
        children = b"".join(b"X\x01\x00\x00\x00%ch%c" % (97 + i, level) for i in range(20))
        lines.append(b"cglow\nWN\n)\x81}X\x08\x00\x00\x00_modules}(%busbq%c" % (children, level + 1))
    (tmp_path / "x.pkl").write_bytes(b"".join(lines) + b".")
    assert "more than 100000" in refused(tmp_path / "x.pkl")


def test_limits(tmp_path: Path) -> None:
    """Every limit is kept, and told."""
    path = authors.save(state(), tmp_path / "x.pt")
    assert "more than the 1000 that are read" in refused(path, limits=Limits(size=1000))
    assert "more than 50 instructions" in refused(path, limits=Limits(instructions=50))
    assert "more than 3 tensors" in refused(path, limits=Limits(tensors=3))
    assert "in 38 entries" in refused(path, limits=Limits(entries=3))
    assert "more than 2 entries" in refused(
        authors.nemo(state(), tmp_path / "x.nemo", mode="w", others=3), limits=Limits(entries=2)
    )


def rewritten(path: Path, change: Callable[[bytes], bytes]) -> Path:
    """A zip file of PyTorch's with another pickle in it."""
    with zipfile.ZipFile(path) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    name = next(name for name in entries if name.endswith("/data.pkl"))
    changed = change(entries[name])
    assert changed != entries[name]
    with zipfile.ZipFile(path, "w") as file:
        for each, data in entries.items():
            file.writestr(each, changed if each == name else data)
    return path


def test_no_more_is_believed_than_is_there(tmp_path: Path) -> None:
    """Shapes, offsets and counts that a file's bytes do not bear out."""
    tensor = {"convinv.0.conv.weight": torch.zeros(8, 8, 1)}

    def lie(old: bytes, new: bytes) -> str:
        path = authors.save(tensor, tmp_path / "x.pt")
        return refused(rewritten(path, lambda data: data.replace(old, new)))

    assert "which do not hold it" in lie(b"K\x08K\x08K\x01\x87", b"K\x09K\x09K\x01\x87")
    assert "which do not hold it" in lie(b"K\x00K\x08K\x08K\x01\x87", b"K\x07K\x08K\x08K\x01\x87")
    assert "not made of numbers" in lie(b"K\x08K\x08K\x01\x87", b"K\x08J\xff\xff\xff\xffK\x01\x87")
    assert "no storage of numbers" in lie(b"X\x03\x00\x00\x00cpu", b"K\x01")
    assert "without a storage" in lie(b"Q", b"0K\x01")


def test_little_is_not_made_much(tmp_path: Path) -> None:
    """Tensors that share a storage, or repeat one number, claim more than the file holds."""
    weights = state()
    for name in [name for name in weights if name.endswith("weight_v")]:
        weights[name] = torch.zeros(1).expand(weights[name].shape)
    assert "bytes of weights, but holds" in refused(authors.save(weights, tmp_path / "x.pt"))


def test_a_storage_that_is_missing(tmp_path: Path) -> None:
    """A storage that the pickle refers to must be there, in its size."""
    path = authors.save(state(), tmp_path / "x.pt")
    with zipfile.ZipFile(path) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    gone = next(name for name in entries if name.endswith("data/0"))
    for data in (None, b"12"):
        with zipfile.ZipFile(path, "w") as file:
            for name, each in entries.items():
                if name != gone:
                    file.writestr(name, each)
                elif data:
                    file.writestr(name, data)
                file.writestr(f"{name}.spare", each)
        assert f"has {'nothing' if data is None else '2 bytes'} under '0'" in refused(path)


class Generator(nn.Module):
    """The names of a HiFi-GAN."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_pre = nn.Conv1d(80, 8, 7)
        self.ups = nn.ModuleList(nn.ConvTranspose1d(8, 8, 4) for _ in range(4))
        self.conv_post = nn.Conv1d(8, 1, 7)


def test_another_architecture(tmp_path: Path) -> None:
    """A HiFi-GAN is told by what it holds instead of a WaveGlow."""
    path = authors.save({"generator": Generator().state_dict()}, tmp_path / "g.pt")
    told = refused(path)
    assert "holds no WaveGlow" in told and "conv_pre.weight, conv_pre.bias, ups.*.weight ×4" in told
    assert report(path).home == "generator"


def changed(change: Callable[[dict[str, torch.Tensor]], object], path: Path) -> str:
    """How a state that was tampered with is refused."""
    weights = state()
    change(weights)
    return refused(authors.save(weights, path))


CHANGES: dict[str, tuple[Callable[[dict[str, torch.Tensor]], object], str]] = {
    "a layer": (
        lambda s: [s.pop(f"WN.1.end.{kind}") for kind in ("weight", "bias")],
        "lacks the layer WN.1.end",
    ),
    "a weight": (lambda s: s.pop("WN.1.end.bias"), "WN.1.end with ['weight'], expected weight and bias"),
    "a magnitude": (lambda s: s.pop("WN.0.start.weight_g"), "WN.0.start with ['bias', 'weight_v']"),
    "the upsampler": (lambda s: s.pop("upsample.weight"), "lacks the weight upsample.weight"),
    "its bias": (lambda s: s.pop("upsample.bias"), "1 missing (upsample.bias)"),
    "a mixing": (lambda s: s.pop("convinv.1.conv.weight"), "unexpected (WN.1"),
    "the first mixing": (lambda s: s.pop("convinv.0.conv.weight"), "there is no convinv.0.conv.weight"),
    "a network": (
        lambda s: [s.pop(name) for name in list(s) if name.startswith("WN.0")],
        "lacks the weight WN.0.start.weight",
    ),
    "a shape": (
        lambda s: s.update({"WN.0.end.weight": torch.zeros(8, 5, 1)}),
        "WN.0.end.weight [8, 5, 1], expected [8, 6, 1]",
    ),
    "magnitudes": (lambda s: s.update({"WN.0.start.weight_g": torch.zeros(1, 1, 1)}), "expected one a row"),
    "a scalar": (lambda s: s.update({"WN.0.end.bias": torch.tensor(1.0)}), "expected weight and bias"),
    "integers": (lambda s: s.update({"WN.0.end.bias": torch.zeros(8).long()}), "in torch.int64"),
    "NaN": (lambda s: s["WN.0.end.bias"].fill_(torch.nan), "not finite, 'WN.0.end.bias'"),
    "a speaker": (
        lambda s: s.update({"speakers.weight": torch.zeros(2, 2)}),
        "no WaveGlow has, 'speakers.weight'",
    ),
    "a gate": (
        lambda s: s.update({"WN.0.gate.weight": torch.zeros(1), "WN.0.gate.bias": torch.zeros(1)}),
        "no WaveGlow has, 'WN.0.gate'",
    ),
    "a flat mixing": (
        lambda s: s.update({"convinv.1.conv.weight": torch.zeros(8, 8)}),
        "expected three dimensions",
    ),
    "two networks": (
        lambda s: s.update({"teacher.convinv.0.conv.weight": torch.zeros(8, 8, 1)}),
        "holds 2 networks like a WaveGlow",
    ),
    "a control character": (lambda s: s.update({"\x1b[2Jx": torch.zeros(1)}), "x1b[2Jx"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_weights_that_do_not_fit(name: str, tmp_path: Path) -> None:
    """What is missing, too much or of the wrong shape is named."""
    change, expected = CHANGES[name]
    assert expected in changed(change, tmp_path / "x.pt")


def test_channels_that_leave_out_of_step(tmp_path: Path) -> None:
    """Early outputs come in a rhythm."""
    with author("glow", "glow") as glow:
        odd = trained(glow.WaveGlow(**{**SHAPE, "n_flows": 4}, WN_config=NET))
        odd.convinv[3] = glow.Invertible1x1Conv(2)
        path = authors.save({"model": odd}, tmp_path / "x.pt")
    assert "flows of [8, 8, 6, 2] channels" in refused(path)


def test_dilations_of_their_own(tmp_path: Path) -> None:
    """A pickled module with other dilations would be another network of the same weights."""
    with author("glow", "glow") as glow:
        other = trained(glow.WaveGlow(**SHAPE, WN_config=NET))
        other.WN[1].in_layers[2].dilation = (9,)
        path = authors.save({"model": other}, tmp_path / "x.pt")
    assert "WN.1.in_layers.2.dilation '(9,)', expected 4" in refused(path)


def test_networks_of_different_layouts(tmp_path: Path) -> None:
    """All the networks of a model are spelled alike."""

    def rename(weights: dict[str, torch.Tensor]) -> None:
        for kind in ("weight_g", "weight_v", "bias"):
            weights[f"WN.1.cond_layers.0.{kind}"] = weights.pop(f"WN.1.cond_layer.{kind}")

    assert "networks of 2 layouts" in changed(rename, tmp_path / "x.pt")


YAMLS = {
    "a: [": "cannot be read",
    "- 1": "is no table",
    "a: &a {<<: *a}": "merges tables",
    "[" * 2000: "cannot be read",
    "sigma: 1.0": "without a preprocessor",
    authors.YAML.replace("mag_power: 1.0", "mag_power: 2.0"): "preprocessor.mag_power = 2.0, expected 1",
    authors.YAML.replace("normalize: null", "normalize: per_feature"): "preprocessor.normalize",
    authors.YAML.replace("nfilt: 4", "nfilt: 80"): "weights for 4 mel bands, and is said to have 80",
    authors.YAML.replace("sample_rate: 16000", "sample_rate: [1]"): "sample_rate is a list",
    authors.YAML.replace("sample_rate: 16000", "sample_rate: -1"): "a mel that cannot be",
    authors.YAML.replace("n_window_stride: 256", "n_window_stride: 200"): "kernel 1024 and stride 256",
    "!!python/object/apply:os.system ['true']": "cannot be read",
}


@pytest.mark.parametrize("config", YAMLS, ids=range(len(YAMLS)))
def test_configurations_that_cannot_be(config: str, tmp_path: Path) -> None:
    """A `.nemo` whose mel we cannot make, or whose configuration is none."""
    path = authors.nemo(state(), tmp_path / "x.nemo", config=config)
    assert YAMLS[config] in refused(path)


def test_a_nemo_archive_without_configuration(tmp_path: Path) -> None:
    """The usual mel is taken, and a note says so."""
    weights = io.BytesIO()
    torch.save({f"waveglow.{name}": value for name, value in state().items()}, weights)
    with tarfile.open(tmp_path / "x.nemo", "w") as file:
        member = tarfile.TarInfo("model_weights.ckpt")
        member.size = len(weights.getvalue())
        file.addfile(member, io.BytesIO(weights.getvalue()))
    imported = import_checkpoint(tmp_path / "x.nemo")
    assert imported.model.spec.sample_rate == 22050
    assert "does not tell its mel" in imported.report.notes[0]
