"""The tools that put the service under load: what they measure is what happened, in short runs of it all."""

import asyncio
import contextlib
import json
import math
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from benchmarks.load import batching, concurrency, listeners, overhead, overload, soak
from benchmarks.load.arrivals import in_flight, open_loop, poisson
from benchmarks.load.bench import Bench, Cores, Service
from benchmarks.load.client import WAV_HEADER, Address, Connection, ask, post
from benchmarks.load.figures import Section, milliseconds, percentile, slope, table
from server.app import create_app
from server.settings import Settings
from tests.server.conftest import TINY, Gate, Serving
from tests.server.parcels import mel, npy
from vocoder import Vocoder

ROOT = Path(__file__).parents[2]
HELLO = np.load(ROOT / "samples" / "hello.npy")
NOWHERE = Cores(frozenset(), frozenset())  # the test's own process stays where it is


@dataclass
class Here(Bench):
    """A bench whose service is in a thread of this process, so that a test need not wait for another."""

    serve: Callable[..., contextlib.AbstractContextManager[str]] = field(kw_only=True)

    @contextlib.asynccontextmanager
    async def serving(self, **settings: object) -> AsyncIterator[Service]:
        """As that of a process, but for the process."""
        entered = self.serve(**settings)
        url = await asyncio.to_thread(entered.__enter__)
        try:
            yield Service(_address(url), 0.0)
        finally:
            await asyncio.to_thread(entered.__exit__, None, None, None)


def _address(url: str) -> Address:
    place = urlsplit(url)
    return str(place.hostname), int(place.port or 80)


@pytest.fixture
def bench(serving: Serving, voice: Vocoder) -> Here:
    """The small voice, for a fraction of a second."""

    def serve(**settings: Any) -> contextlib.AbstractContextManager[str]:
        app = create_app(Settings(voice="waveglow-tiny", **settings), load=lambda *_: voice)
        return serving(app)

    return Here("waveglow-tiny", "cpu", 1, 0.3, HELLO, concurrency=(1, 3), cores=NOWHERE, serve=serve)


@pytest.fixture
def address(serving: Serving, voice: Vocoder) -> Iterator[Address]:
    """Of a service."""
    with serving(create_app(TINY, load=lambda *_: voice)) as url:
        yield _address(url)


def test_percentiles_are_values_that_were_measured() -> None:
    """Nearest rank: never between two, the greatest at p100, NaN of nothing."""
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, share) for share in (1, 50, 95, 99, 100)] == [1, 50, 95, 99, 100]
    assert percentile([7.0], 99) == 7
    assert math.isnan(percentile([], 50))
    assert milliseconds([0.0123, math.nan]) == "12 / –"
    assert table(("a", "b"), [(1, 2)]).splitlines() == ["| a | b |", "| --- | --- |", "| 1 | 2 |"]
    assert slope([(0, 1), (1, 3), (2, 5)]) == 2


@pytest.mark.parametrize(
    ("pieces", "longest"),
    [
        ([(0.0, 1.0)], 0.0),  # all of it at once
        ([(0.0, 0.1), (0.1, 0.2), (0.3, 1.0)], 0.0),  # 0.2 s are there at 0.1, and last until 0.3
        ([(0.0, 0.1), (0.1, 0.2), (0.45, 1.0)], 0.15),
        ([(0.0, 0.5), (0.6, 1.0), (1.4, 1.5)], 0.3),  # 0.1 s, then 0.3
        ([(5.0, 0.1)], 0.0),  # shorter than the buffer
    ],
)
def test_a_player_hears_a_gap_where_there_is_one(pieces: list[tuple[float, float]], longest: float) -> None:
    """Played back from the moments at which bytes came; a silence moves what follows."""
    rate = 1000
    bytes_by = [(at, round(WAV_HEADER + seconds * rate)) for at, seconds in pieces]
    assert listeners.gap(bytes_by, rate) == pytest.approx(longest)


@pytest.mark.parametrize("limit", [0, 1, 2, 17, 100, 163])
def test_bisection_finds_the_most(limit: int) -> None:
    """To within the precision that it states, and never more than is good."""

    async def good(count: int) -> bool:
        return count <= limit

    found = asyncio.run(listeners.most(good, 163))
    assert found <= limit <= found + max(0.0, listeners.PRECISION * found)


def test_arrivals_wait_for_no_answer() -> None:
    """Poisson moments in order, at their rate; slow answers overlap, where callers in flight take turns."""
    moments = list(poisson(1000, 2))
    assert moments == sorted(moments)
    assert 1800 < len(moments) < 2200
    begun: list[float] = []

    async def answer(_: int = 0, due: float = 0.0) -> float:
        begun.append(asyncio.get_running_loop().time() - due)
        await asyncio.sleep(0.1)
        return due

    async def both() -> tuple[float, int]:
        dues = await open_loop([0.0, 0.01, 0.02, 0.02], answer)
        assert min(begun) >= 0  # never before its moment
        return max(dues) - min(dues), len(await in_flight(2, 0.15, answer))

    apart, answered = asyncio.run(both())
    assert apart == pytest.approx(0.02)
    assert answered == 4


def test_the_client_stamps_the_first_audio_and_not_the_header(serving: Serving, gate: Gate) -> None:
    """Nothing is heard while the voice is held up; then in order: sent, head, first audio, end."""
    gate.opened.clear()

    async def hear(address: Address) -> tuple[float, Any]:
        request = post("/v1/vocode?stream=true", npy(mel(600)))
        asked = asyncio.create_task(ask(address, request))
        await asyncio.sleep(0.2)
        assert not asked.done()
        opened = asyncio.get_running_loop().time()
        gate.opened.set()
        return opened, await asked

    with serving(create_app(TINY, load=lambda *_: gate)) as url:
        opened, answer = asyncio.run(hear(_address(url)))
    assert answer.complete
    assert answer.seconds == pytest.approx(600 * 256 / 22_050, abs=1e-5)
    assert answer.received == WAV_HEADER + 2 * 600 * 256
    assert answer.first is not None
    assert answer.due <= answer.sent < opened < answer.head <= answer.first <= answer.end
    assert 0 < answer.pause <= answer.end - answer.first


def test_the_client_tells_answers_from_refusals_and_broken_ones(address: Address) -> None:
    """One connection for several, a caller who leaves, a route that is none, and nobody at home."""

    async def talk() -> None:
        _, connection = await asyncio.get_running_loop().create_connection(Connection, *address)
        for _ in range(2):
            assert (await connection.ask(post("/v1/vocode", npy(mel(20))))).complete
        refused = await connection.ask(post("/v1/vocode?model=nobody", npy(mel(20))))
        assert (refused.status, refused.complete, refused.seconds, refused.first) == (404, False, 0.0, None)
        connection.close()
        left = await ask(address, post("/v1/vocode?stream=true", npy(mel(5168))), leave=True)
        assert left.first is not None
        assert not left.complete
        nobody = await ask(("127.0.0.1", 1), post("/v1/vocode", b""))
        assert (nobody.status, nobody.complete) == (0, False)

    asyncio.run(talk())


def _limits(section: Section) -> dict[str, bool]:
    return {limit.claim: limit.kept for limit in section.limits}


def test_latency_by_concurrency(bench: Here) -> None:
    """As many as were asked at once, all of them answered; first audio comes before the whole."""
    section = asyncio.run(concurrency.measure(bench))
    for count, told in section.data["at_once"].items():
        assert told["requests"] % count == 0
        assert told["failed"] == told["refused"] == 0
        assert all(0 < first < whole for first, whole in zip(told["first_s"], told["whole_s"], strict=True))
        assert told["audio_s_per_s"] > 0
    assert set(section.data["at_once"]) == {1, 3}


def test_overload_is_refused_and_the_rest_served(bench: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a short queue: refusals, each with its Retry-After, and no other failure."""
    monkeypatch.setenv("VOCODER_MAX_REQUESTS", "10")  # more than are in flight to find the capacity
    section = asyncio.run(overload.measure(bench))
    over = section.data["runs"][2.0]
    assert over["refused"] + over["failed"] < over["requests"]
    assert over["failed"] == 0
    assert section.data["peak"] > 0
    assert _limits(section)["nothing but audio and 429 at overload"]


def test_http_costs_something(bench: Here) -> None:
    """A call in another process and a request in turns; the service's own parts are within the whole."""
    data = asyncio.run(overhead.measure(bench)).data
    assert data["rounds"] >= overhead.FEWEST
    assert data["HTTP"][0] > data["total"][0] > data["inference"][0] > 0
    assert data["added_s"] == data["HTTP"][0] - data["in process"][0]


def test_batches_form_where_there_is_a_budget(bench: Here) -> None:
    """One clip a call without a budget, several with one; every request answered."""
    bench.budgets = (0, 2048)
    data = asyncio.run(batching.measure(bench)).data
    assert {told["failed"] for told in data.values()} == {0}
    for frames in batching.LENGTHS:
        alone, together = (data[f"{frames} frames, budget {budget}"]["together"] for budget in bench.budgets)
        assert alone == 1 < together


def test_a_soak_looks_at_memory_and_at_every_answer(bench: Here) -> None:
    """Two seconds of it: each kind was asked, each answered as it should be."""
    bench.soak = 2 / 60
    data = asyncio.run(soak.measure(bench)).data
    assert data["failed"] == 0
    assert data["requests"] > 0
    assert len(data["resident"]) > soak.LOOKS / 2
    assert math.isfinite(data["mb_per_minute"])


def test_the_command_starts_a_process_and_writes_its_report(tmp_path: Path) -> None:
    """The real one: pinned where it can be, the same figures in Markdown and in JSON, settings handed on."""
    command = [sys.executable, "-m", "benchmarks.load", "--voice", "waveglow-tiny", "--seconds", "0.2"]
    chosen = ["--only", "concurrency", "--concurrency", "2", "--out", str(tmp_path / "report"), "--check"]
    environment = os.environ | {"VOCODER_LOG_LEVEL": "error"}
    done = subprocess.run(
        [*command, *chosen], cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    written = (tmp_path / "report.md").read_text()
    assert written.strip() == done.stdout.strip()
    assert "VOCODER_LOG_LEVEL=error" in written
    assert str(tmp_path) not in written
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["concurrency"]["at_once"]["2"]["failed"] == 0
    assert data["machine"]["pinned"] == str(Cores.shared_out())
