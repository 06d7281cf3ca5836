"""Checkpoints: they come back as they were, and anything that is not a whole, unaltered one is refused."""

import hashlib
import json
import pickle
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from vocoder import checkpoint
from vocoder.checkpoint import Header
from vocoder.errors import CheckpointError, InvalidConfig, InvalidInput
from vocoder.features import MelSpec
from vocoder.models.density import DensityModel
from vocoder.models.glow import Glow
from vocoder.models.nice import NICE, NICEConfig
from vocoder.models.waveglow import WaveGlow, WaveGlowConfig
from vocoder.voices import VoiceInfo, list_voices

CONFIG = WaveGlowConfig(
    group=8,
    flows=2,
    early_every=0,
    channels=4,
    dilations=(1,),
    conditioning="encoder",
    cond_channels=4,
    front="lapped",
    bound=2.0,
)
SPEC = MelSpec(n_mels=8)


def build() -> WaveGlow:
    """A small model whose couplings do something."""
    model = WaveGlow(CONFIG, SPEC)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return model.eval()


@pytest.fixture
def model() -> WaveGlow:
    """A model of its own for a test."""
    return build()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a good checkpoint."""
    path = tmp_path_factory.mktemp("good") / "voice.safetensors"
    checkpoint.save(path, build(), name="voice", temperature=0.8, step=7, extra={"recipe": "small"})
    return path.read_bytes()


def canonical(values: Mapping[str, Any]) -> str:
    """JSON as the format wants it."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def forge(path: Path, tensors: dict[str, Tensor], **changes: Any) -> Path:
    """Write a checkpoint with right digests, whatever it holds; it also says, in code, what the format is."""
    weights = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        kind = {"dtype": str(tensor.dtype).removeprefix("torch."), "name": name, "shape": list(tensor.shape)}
        weights.update(canonical(kind).encode() + tensor.numpy().tobytes())
    header = {
        "architecture": "waveglow",
        "config": CONFIG.to_dict(),
        "mel": SPEC.to_dict(),
        "name": "forged",
        "licence": "Apache-2.0",
        "temperature": 1.0,
        "step": 0,
        "weights": weights.hexdigest(),
        "extra": {},
        "format": 1,
        **changes,
    }
    digest = hashlib.sha256(canonical(header).encode()).hexdigest()
    text = canonical({**header, "digest": digest})
    path.write_bytes(safetensors.torch.save(tensors, {"flow-vocoder": text}))
    return path


def refused(path: Path, data: bytes) -> str:
    """Write the bytes, and expect that both ways of reading refuse them with the same words."""
    path.write_bytes(data)
    with pytest.raises(CheckpointError) as told:
        checkpoint.inspect(path)
    with pytest.raises(CheckpointError) as again:
        checkpoint.load(path)
    assert str(told.value) == str(again.value)
    assert str(told.value).startswith(str(path))
    return str(told.value).removeprefix(str(path)).strip()


def test_comes_back_as_it_was(model: WaveGlow, tmp_path: Path) -> None:
    """A loaded model computes what the saved one did, to the last bit, and its header says what was said."""
    saved = checkpoint.save(tmp_path / "v", model, name="v", temperature=0.5, step=3, extra={"a": [1, None]})
    loaded, header = checkpoint.load(tmp_path / "v")
    z, mel = torch.randn(1, 2560), torch.randn(1, 8, 10) - 5
    assert torch.equal(loaded.inverse(z, mel)[0], model.inverse(z, mel)[0])
    assert not loaded.training
    assert header == saved
    assert (header.name, header.temperature, header.step, header.extra) == ("v", 0.5, 3, {"a": [1, None]})
    assert (header.mel, WaveGlowConfig.from_dict(header.config)) == (SPEC, CONFIG)


def test_half_precision_is_for_storage(model: WaveGlow, tmp_path: Path) -> None:
    """Weights stored in float16 take half the room and load as float32, rounded once."""
    checkpoint.save(tmp_path / "whole", model, name="v")
    checkpoint.save(tmp_path / "half", model, name="v", dtype=torch.float16)
    loaded, _ = checkpoint.load(tmp_path / "half")
    for (name, found), expected in zip(loaded.state_dict().items(), model.state_dict().values(), strict=True):
        assert found.dtype == torch.float32, name
        assert torch.equal(found, expected.half().float()), name
    half, whole = (safetensors.torch.load_file(tmp_path / name).values() for name in ("half", "whole"))
    assert 2 * sum(tensor.nbytes for tensor in half) == sum(tensor.nbytes for tensor in whole)


def test_same_model_same_bytes(model: WaveGlow, tmp_path: Path) -> None:
    """Nothing of the moment gets into a file, and none is left beside it."""
    for name in ("a", "b"):
        checkpoint.save(tmp_path / name, model, name="v")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.parametrize(("value", "dtype"), [(float("nan"), None), (1e6, torch.float16)])
def test_a_model_that_is_not_finite_is_not_saved(
    model: WaveGlow, tmp_path: Path, value: float, dtype: torch.dtype | None
) -> None:
    """A run that diverged, or does not fit into half precision, does not overwrite the last good file."""
    path = tmp_path / "v"
    checkpoint.save(path, model, name="v")
    before = path.read_bytes()
    torch.nn.init.constant_(model.encoder.start.bias, value)  # type: ignore[union-attr, arg-type]
    with pytest.raises(InvalidInput, match=r"encoder\.start\.bias is not finite"):
        checkpoint.save(path, model, name="v", dtype=dtype)
    assert path.read_bytes() == before


BAD_CARDS: dict[str, Any] = {
    "name": "",
    "licence": 5,
    "temperature": 2.5,
    "step": -1,
    "extra": {"path": Path()},
}


@pytest.mark.parametrize("field", BAD_CARDS)
def test_a_header_that_could_not_be_read_is_not_written(model: WaveGlow, tmp_path: Path, field: str) -> None:
    """What `save` writes `load` takes, so that it refuses what it could not read, by name."""
    with pytest.raises(InvalidConfig, match=field):
        checkpoint.save(tmp_path / "v", model, **{"name": "v", field: BAD_CARDS[field]})
    assert list(tmp_path.iterdir()) == []


def test_a_nan_temperature_is_not_written(model: WaveGlow, tmp_path: Path) -> None:
    """NaN passes no comparison, and so no check."""
    with pytest.raises(InvalidConfig, match="temperature"):
        checkpoint.save(tmp_path / "v", model, name="v", temperature=float("nan"))


def test_loading_draws_nothing(good: bytes, tmp_path: Path) -> None:
    """The caller's random numbers are the same whether a voice was loaded in between or not."""
    (tmp_path / "v").write_bytes(good)
    before = torch.get_rng_state()
    checkpoint.load(tmp_path / "v")
    assert torch.equal(torch.get_rng_state(), before)


def test_inspect_tells_everything(good: bytes, tmp_path: Path) -> None:
    """The header, the file's size and digest, and each tensor's dtype and shape."""
    (tmp_path / "v").write_bytes(good)
    told = checkpoint.inspect(tmp_path / "v")
    assert (told["name"], told["step"], told["temperature"]) == ("voice", 7, 0.8)
    assert told["extra"] == {"recipe": "small"}
    assert told["mel"] == SPEC.to_dict()
    assert (told["bytes"], told["sha256"]) == (len(good), hashlib.sha256(good).hexdigest())
    assert told["tensors"]["encoder.start.weight"] == {"dtype": "float32", "shape": [4, 8, 5]}
    assert told["parameters"] == sum(weight.numel() for weight in build().parameters())
    json.dumps(told)


def test_no_bit_of_the_header_can_be_flipped(good: bytes, tmp_path: Path) -> None:
    """A byte of the head with a bit flipped is refused: no name, number or brace goes unwatched."""
    path, end, rng = tmp_path / "v", 8 + int.from_bytes(good[:8], "little"), random.Random(0)
    for place in rng.sample(range(end), 800):
        flipped = bytearray(good)
        flipped[place] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        with pytest.raises(CheckpointError):
            checkpoint.inspect(path)


def test_no_bit_of_the_weights_can_be_flipped(good: bytes, tmp_path: Path) -> None:
    """A flipped bit in the weights is told as that."""
    start = 8 + int.from_bytes(good[:8], "little")
    for place in random.Random(0).sample(range(start, len(good)), 50):
        flipped = bytearray(good)
        flipped[place] ^= 1 << place % 8
        assert "is damaged: its weights" in refused(tmp_path / "v", bytes(flipped))


def test_no_file_can_be_cut(good: bytes, tmp_path: Path) -> None:
    """Wherever a file ends too early, it is told to be truncated."""
    for length in [*range(9, len(good), 97), len(good) - 1]:
        assert "truncated" in refused(tmp_path / "v", good[:length])


def test_nothing_can_be_appended(good: bytes, tmp_path: Path) -> None:
    """Bytes behind the last tensor belong to nothing."""
    assert "is damaged" in refused(tmp_path / "v", good + b"\0")


class Bomb:
    """What a pickle does when it is opened: here, leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_is_never_opened(protocol: int, tmp_path: Path) -> None:
    """A pickled file is named as one, and its code does not run."""
    data = pickle.dumps(Bomb(tmp_path / "gone-off"), protocol=protocol)
    assert "pickle" in refused(tmp_path / "v", data)
    assert not (tmp_path / "gone-off").exists()


@pytest.mark.parametrize("zipped", [False, True])
def test_torch_files_are_not_opened(zipped: bool, model: WaveGlow, tmp_path: Path) -> None:
    """Nor is what `torch.save` writes, in its old and its new form."""
    torch.save(model.state_dict(), tmp_path / "w", _use_new_zipfile_serialization=zipped)
    assert "pickle" in refused(tmp_path / "v", (tmp_path / "w").read_bytes())


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_no_number_of_a_header_is_infinite(number: str, good: bytes, tmp_path: Path) -> None:
    """What JSON cannot hold, or cannot hold for long, is damage."""
    tensors = safetensors.torch.load(good)
    text = '{"format":1,"temperature":' + number + "}"
    assert "damaged" in refused(tmp_path / "v", safetensors.torch.save(tensors, {"flow-vocoder": text}))


def test_a_wrapped_model_is_not_saved(model: WaveGlow, tmp_path: Path) -> None:
    """What wraps a model renames its weights, so that the file would not load."""
    with pytest.raises(InvalidInput, match="model is a Sequential, expected"):
        checkpoint.save(tmp_path / "v", torch.nn.Sequential(model), name="v")  # type: ignore[arg-type]


FOREIGN = {
    b"": "is empty",
    b"\0": "is no safetensors file",
    b"RIFF" + bytes(100): "is no safetensors file",
    b"version https://git-lfs": "is no safetensors file",
    (2**60).to_bytes(8, "little") + b"{}": "is no safetensors file",
    (2).to_bytes(8, "little") + b"{x": "is damaged: its header is not JSON",
    (2).to_bytes(8, "little") + b"{}": "other software",
    (40000).to_bytes(8, "little") + b'{"a":' + b"[" * 39995: "is damaged: its header is not JSON",
    (20).to_bytes(8, "little") + b'{"__metadata__": []}': "other software",
}


@pytest.mark.parametrize(("data", "words"), FOREIGN.items())
def test_foreign_files_are_told_what_they_are(data: bytes, words: str, tmp_path: Path) -> None:
    """Empty files, other formats and nonsense are told apart."""
    assert words in refused(tmp_path / "v", data)


@pytest.mark.parametrize("voice", list_voices(), ids=lambda voice: voice.name)
def test_shipped_files_load_and_keep_what_they_say(voice: VoiceInfo, tmp_path: Path) -> None:
    """A voice of an earlier version, loaded and saved again, says the same; choices it lacked are added."""
    loaded, header = checkpoint.load(voice.path)
    said = {name: getattr(header, name) for name in ("name", "temperature", "licence", "step", "extra")}
    checkpoint.save(tmp_path / "v", loaded, dtype=torch.float16, **said)
    before, after = checkpoint.inspect(voice.path), checkpoint.inspect(tmp_path / "v")
    assert before["config"].items() <= after["config"].items()
    for different in ("config", "bytes", "sha256"):
        del before[different], after[different]
    assert before == after  # the digest of the weights among them


def test_a_density_is_no_voice(model: WaveGlow, tmp_path: Path) -> None:
    """Either kind is told from the other, and a kind from its siblings; none is mistaken for a voice."""
    density = NICE(NICEConfig((4,), None, couplings=3, layers=1, width=4))
    checkpoint.save(tmp_path / "density", density, name="d")
    checkpoint.save(tmp_path / "voice", model, name="v")
    assert checkpoint.inspect(tmp_path / "density")["mel"] is None
    assert isinstance(checkpoint.load(tmp_path / "density", NICE)[0], NICE)
    with pytest.raises(CheckpointError, match="density holds a NICE, expected a WaveGlow"):
        checkpoint.load(tmp_path / "density")
    with pytest.raises(CheckpointError, match="density holds a NICE, expected a Glow"):
        checkpoint.load(tmp_path / "density", Glow)
    with pytest.raises(CheckpointError, match="voice holds a WaveGlow, expected a DensityModel"):
        checkpoint.load(tmp_path / "voice", DensityModel)


def test_safetensors_of_others_are_told_so(model: WaveGlow, tmp_path: Path) -> None:
    """Weights in safetensors without our header are not guessed at."""
    assert "other software" in refused(tmp_path / "v", safetensors.torch.save(dict(model.state_dict())))


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    """What the system says goes into the message."""
    for path, words in ((tmp_path / "none", "No such file"), (tmp_path, "directory")):
        with pytest.raises(CheckpointError, match=words):
            checkpoint.load(path)


def test_the_format_is_what_this_file_says(model: WaveGlow, tmp_path: Path) -> None:
    """A file written by the few lines of `forge` is a good one."""
    path = forge(tmp_path / "v", dict(model.state_dict()))
    assert checkpoint.load(path)[1].name == "forged"


BAD_HEADERS: dict[str, tuple[dict[str, Any], str]] = {
    "a later format": ({"format": 2}, "format 2; this version reads format 1"),
    "no format": ({"format": None}, "format None"),
    "an unknown architecture": ({"architecture": "wavenet"}, r"'wavenet'.* must be one of \['waveglow'"),
    "an unknown field": ({"colour": "red"}, "has the fields .*colour"),
    "a mel spec that cannot be": ({"mel": {**SPEC.to_dict(), "n_mels": 0}}, "n_mels"),
    "a mel spec that is none": ({"mel": None}, "mel"),
    "a density with a mel spec": ({"architecture": "glow"}, "mel"),
    "a temperature that is none": ({"temperature": "hot"}, "temperature"),
    "a configuration that is none": ({"config": [1]}, "config"),
    "an architecture that is none": ({"architecture": {}}, "architecture"),
}


@pytest.mark.parametrize("case", BAD_HEADERS)
def test_a_header_is_read_strictly(case: str, model: WaveGlow, tmp_path: Path) -> None:
    """A header that is intact and yet not what it should be is refused, with the reason."""
    changes, words = BAD_HEADERS[case]
    path = forge(tmp_path / "v", dict(model.state_dict()), **changes)
    with pytest.raises(CheckpointError, match=words):
        checkpoint.inspect(path)


@pytest.mark.parametrize("changes", [{"group": 0}, {"group": "8"}, {"colour": "red"}, {"dilations": None}])
def test_a_configuration_that_cannot_be_built(changes: Any, model: WaveGlow, tmp_path: Path) -> None:
    """`load` says so, and `inspect`, which builds nothing, shows the configuration all the same."""
    config = json.loads(json.dumps({**CONFIG.to_dict(), **changes}))
    path = forge(tmp_path / "v", dict(model.state_dict()), config=config)
    with pytest.raises(CheckpointError, match="configuration cannot be built"):
        checkpoint.load(path)
    assert checkpoint.inspect(path)["config"] == config


def test_weights_and_configuration_must_agree(model: WaveGlow, tmp_path: Path) -> None:
    """What is missing, what is too much and what has another shape are all reported at once."""
    tensors = dict(model.state_dict())
    tensors["more"] = tensors.pop("encoder.start.bias")
    tensors["encoder.start.weight"] = torch.zeros(4, 8, 3)
    with pytest.raises(CheckpointError) as told:
        checkpoint.load(forge(tmp_path / "v", tensors))
    assert "1 missing (encoder.start.bias)" in str(told.value)
    assert "1 unexpected (more)" in str(told.value)
    assert "encoder.start.weight [4, 8, 3], expected [4, 8, 5]" in str(told.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_must_be_finite(value: float, model: WaveGlow, tmp_path: Path) -> None:
    """An intact file with a weight that is not finite names that weight."""
    tensors = dict(model.state_dict())
    tensors["encoder.start.bias"] = torch.full((4,), value)
    path = forge(tmp_path / "v", tensors)
    with pytest.raises(CheckpointError, match=r"not finite: encoder\.start\.bias"):
        checkpoint.load(path)


def test_a_header_is_frozen_and_comes_back_from_its_dict(good: bytes, tmp_path: Path) -> None:
    """`Header.from_dict` undoes `to_dict`."""
    (tmp_path / "v").write_bytes(good)
    _, header = checkpoint.load(tmp_path / "v")
    assert Header.from_dict(header.to_dict()) == header
    with pytest.raises(AttributeError):
        header.name = "other"  # type: ignore[misc]
