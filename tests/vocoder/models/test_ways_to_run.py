"""Every density under what people train with: compilers, half precision, several processes, little memory."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from tests.vocoder.models.densities import DENSITIES, Density
from vocoder.flows import make_reversible
from vocoder.models.catalogue import build
from vocoder.models.density_config import DensityConfig
from vocoder.models.glow import GlowConfig
from vocoder.models.nice import NICEConfig
from vocoder.models.realnvp import RealNVPConfig

every_density = pytest.mark.parametrize("density", DENSITIES, ids=str)
BY_NAME = {density.name: density for density in DENSITIES}
ONE_OF_A_KIND = ["nice", "realnvp-running", "glow", "glow-additive"]
one_of_a_kind = pytest.mark.parametrize("name", ONE_OF_A_KIND)


def shallow(density: Density) -> Density:
    """With as few couplings and blocks as there may be: a compiler unrolls all of them."""
    least = {RealNVPConfig: {"couplings": 1, "blocks": 0}, GlowConfig: {"steps": 1}}
    fewer: dict[str, int] = least.get(type(density.config), {})
    return Density(density.name, replace(density.config, **fewer))  # type: ignore[arg-type]


def gradients(model: nn.Module, score: Tensor) -> list[Tensor]:
    """Of the mean score, for every parameter."""
    return list(torch.autograd.grad(score.mean(), list(model.parameters())))


@every_density
def test_compiles_whole(density: Density) -> None:
    """Once initialised, likelihood, its gradients and buffers, and decoding are one graph each, and the same.

    In training mode, but for those that drop out: a compiler draws other random numbers.
    """
    torch._dynamo.reset()
    density = shallow(density)
    model, (x, cond) = density.model().train(not density.config.dropout), density.batch(4)
    plain = deepcopy(model)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    score, expected = compiled(x, cond), plain(x, cond)
    torch.testing.assert_close(score, expected, rtol=1e-9, atol=1e-9)
    found, wanted = gradients(model, score), gradients(plain, expected)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(dict(model.named_buffers()), dict(plain.named_buffers()), rtol=1e-9, atol=1e-9)
    decode = torch.compile(model.eval().decode, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        z = torch.randn_like(x)
        torch.testing.assert_close(decode(z, cond), model.decode(z, cond), rtol=1e-9, atol=1e-9)


@one_of_a_kind
def test_evaluation_compiles_whole(name: str) -> None:
    """In evaluation mode the likelihood is one graph too."""
    torch._dynamo.reset()
    density = shallow(BY_NAME[name])
    model, (x, cond) = density.model(), density.batch(4)
    found = torch.compile(model, fullgraph=True, backend="eager")(x, cond)
    torch.testing.assert_close(found, model(x, cond), rtol=1e-9, atol=1e-9)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # by the compiler
@one_of_a_kind
def test_a_compiler_leaves_constant_memory_alone(name: str) -> None:
    """Compiled, a reversible model trains as it does without; as one graph it is refused, with the reason."""
    torch._dynamo.reset()
    density = shallow(BY_NAME[name])
    model, (x, cond) = density.model().train(), density.batch(4)
    make_reversible(model)
    plain = deepcopy(model)
    found = gradients(model, torch.compile(model, backend="aot_eager")(x, cond))
    torch.testing.assert_close(found, gradients(plain, plain(x, cond)), rtol=1e-9, atol=1e-9)
    torch._dynamo.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported, match="a reversible Chain is not compiled"):
        torch.compile(model, fullgraph=True, backend="aot_eager")(x, cond)


@every_density
@pytest.mark.parametrize("frugal", [False, True], ids=["stored", "reversible"])
def test_autocast_is_finite(density: Density, frugal: bool) -> None:
    """A run in bfloat16 scores in float32, near the score in full precision, draws finite data, and learns:
    its gradients are finite and point where those in full precision do."""
    model, (x, cond) = density.model().float(), density.batch(4)
    make_reversible(model, frugal)
    exact = model(x.float(), cond)
    with torch.autocast("cpu", torch.bfloat16):
        score, draws = model(x.float(), cond), model.sample(4, cond=cond)
    assert score.dtype == torch.float32
    assert draws.isfinite().all()
    torch.testing.assert_close(score, exact, rtol=0.1, atol=3.0)
    found, wanted = (_row(gradients(model, each)) for each in (score, exact))
    assert found.isfinite().all()
    assert torch.cosine_similarity(found, wanted, 0) > 0.95


def _row(parts: list[Tensor]) -> Tensor:
    return torch.cat([part.flatten() for part in parts])


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    """A group of this one process."""
    distributed.init_process_group("gloo", f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@one_of_a_kind
def test_trains_in_a_wrapper(name: str, process_group: None) -> None:
    """Wrapped for data-parallel training, it scores the same, and every parameter gets its gradient."""
    model, (x, cond) = BY_NAME[name].model(), BY_NAME[name].batch(4)
    wrapped = DistributedDataParallel(model)
    score = wrapped(x, cond)
    torch.testing.assert_close(score, model(x, cond), rtol=0, atol=0)
    score.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.vocoder.models.test_ways_to_run import one_of_two
one_of_two(1, sys.argv[2])
"""

SHARED: dict[str, DensityConfig] = {
    "nice": NICEConfig((1, 2, 4), 17, couplings=3, layers=1, width=6),
    "realnvp": RealNVPConfig((1, 4, 4), 17, couplings=1, blocks=1, width=4, norm="none"),
    "glow": GlowConfig((1, 4, 4), 17, scales=2, steps=2, width=6),
    "glow-reversible": GlowConfig((1, 4, 4), 17, scales=2, steps=2, width=6),
}
Learned = dict[str, dict[str, Tensor]]


def after_two_steps(wrap: Callable[[nn.Module], nn.Module], part: int, parts: int) -> Learned:
    """What each model has learned from one of the equal parts of a first and a second batch of eight."""
    states = {}
    for name, config in SHARED.items():
        torch.manual_seed(0)
        model = build(config).double()
        make_reversible(model, name.endswith("reversible"))
        batches = torch.rand(2, 8, *config.shape, dtype=torch.float64)
        wrapped = wrap(model)
        optimiser = torch.optim.SGD(model.parameters(), 1e-3)
        for batch in batches:
            optimiser.zero_grad()
            (-wrapped(batch.chunk(parts)[part]).mean()).backward()
            optimiser.step()
        states[name] = model.state_dict()
    return states


def one_of_two(rank: int, store: str) -> Learned:
    """What this process, one of two that meet in a file, has learned."""
    patience = timedelta(seconds=100)
    distributed.init_process_group("gloo", f"file://{store}", patience, world_size=2, rank=rank)
    try:
        return after_two_steps(DistributedDataParallel, rank, 2)
    finally:
        distributed.destroy_process_group()


@pytest.mark.timeout(120)
def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    """From their very first batch, ActNorms uninitialised, two halves of a batch teach what the whole does.

    Networks of a RealNVP normalise by the batch, which is each process's own: it learns the same from both of
    two equal halves only.
    """
    (tmp_path / "program.py").write_text(PROGRAM)
    root = Path(__file__).parents[3]
    command = [sys.executable, str(tmp_path / "program.py"), str(root), str(tmp_path / "store")]
    with subprocess.Popen(command, cwd=root) as other:
        shared = one_of_two(0, str(tmp_path / "store"))
    assert other.returncode == 0
    alone, half = (after_two_steps(lambda model: model, 0, parts) for parts in (1, 2))
    for name in SHARED:
        assert any(not torch.allclose(half[name][key], shared[name][key]) for key in shared[name])
        if name != "realnvp":
            torch.testing.assert_close(shared[name], alone[name], rtol=0, atol=1e-10)


def saved_bytes(config: DensityConfig, reversible: bool) -> int:
    """What a backward pass of a new model waits for, weights not counted."""
    model, x = build(config), torch.rand(2, *config.shape)
    model.initialise(x)
    make_reversible(model, reversible)
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        score = model(x).sum()
    score.backward()
    return sum(size for place, size in kept.items() if place not in weights)


DEPTHS: dict[str, tuple[DensityConfig, str, tuple[int, ...]]] = {
    "nice": (NICEConfig((64,), 17, layers=1, width=8), "couplings", (4, 16, 64)),
    "realnvp": (RealNVPConfig((1, 4, 4), 17, scales=1, blocks=1, width=4), "couplings", (2, 8, 24)),
    "glow": (GlowConfig((1, 4, 4), 17, scales=2, width=4), "steps", (4, 16, 64)),
}


@pytest.mark.parametrize("name", DEPTHS)
def test_memory_is_flat_in_depth(name: str) -> None:
    """With reversible training what is saved is the same for few steps and for many; without, it grows."""
    config, depth, counts = DEPTHS[name]
    sizes = {
        on: [saved_bytes(replace(config, **{depth: count}), on) for count in counts]  # type: ignore[arg-type]
        for on in (True, False)
    }
    assert len(set(sizes[True])) == 1
    assert sizes[False][2] > 0.4 * counts[2] / counts[0] * sizes[False][0]
