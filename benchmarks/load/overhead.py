"""What HTTP adds to a call of the model: the same mel in another process and over a socket, in turns."""

from __future__ import annotations

import asyncio
import subprocess
import sys

from benchmarks.load.bench import ROOT, Bench
from benchmarks.load.client import Connection
from benchmarks.load.figures import Limit, Section, milliseconds, percentiles, table

__all__ = ["measure"]

TITLE = "Overhead of HTTP"
FRAMES = 258  # 3 s
WARM_UP = 5
FEWEST = 20
LIMIT = 0.005


async def measure(bench: Bench) -> Section:
    """Medians and their difference."""
    async with bench.serving() as service:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, *service.address)
        with bench.cores.for_service():
            child = _Model(bench)
        try:
            rounds = await _rounds(bench, connection, child)
        finally:
            connection.close()
            child.close()
    told = {name: percentiles(each) for name, each in rounds.items()}
    count, added = len(rounds["HTTP"]), told["HTTP"][0] - told["in process"][0]
    rows = [[name, milliseconds(each, 2)] for name, each in told.items()]
    text = f"{_explained(count)}\n\n{table(HEAD, rows)}\n\nHTTP adds {1000 * added:.2f} ms at p50."
    limit = Limit("HTTP adds ≤ 5 ms at p50 to a mel of 3 s", f"{1000 * added:.2f} ms", added <= LIMIT)
    return Section(TITLE, text, {"rounds": count, "added_s": added, **told}, [limit])


HEAD = ("", "p50 / p95 / p99 (ms)")


def _explained(rounds: int) -> str:
    return (
        f"A mel of {FRAMES} frames, {rounds} times in turns: a call of the model in a process like the "
        "service's, on its cores and with its threads; a request for a WAV over one connection that stays "
        "open. Inference and total are what the answer's headers say."
    )


async def _rounds(bench: Bench, connection: Connection, child: _Model) -> dict[str, list[float]]:
    request = bench.request(FRAMES, "seed=0")
    took: dict[str, list[float]] = {"in process": [], "HTTP": [], "inference": [], "total": []}
    loop, index = asyncio.get_running_loop(), 0
    until = loop.time() + bench.seconds
    while index < WARM_UP + FEWEST or loop.time() < until:
        alone = child.call()
        answer = await connection.ask(request)
        index += 1
        if index > WARM_UP:
            told = (float(answer.headers[f"x-{name}-time"]) for name in ("inference", "total"))
            for name, value in zip(took, (alone, answer.whole_after, *told), strict=True):
                took[name].append(value)
    return took


class _Model:
    """A voice in a process of its own, called over a pipe; it times itself."""

    def __init__(self, bench: Bench) -> None:
        module = [sys.executable, "-m", "benchmarks.load.inprocess"]
        asked = [bench.voice, bench.device, str(bench.threads)]
        self._process: subprocess.Popen[bytes] = subprocess.Popen(
            [*module, *asked], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
        )
        mel = bench.body(FRAMES)
        self._say(b"%d\n" % len(mel) + mel)

    def call(self) -> float:
        """Seconds of one call."""
        return float(self._say(b"\n"))

    def close(self) -> None:
        """End it."""
        self._process.communicate()

    def _say(self, data: bytes) -> bytes:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(data)
        self._process.stdin.flush()
        return self._process.stdout.readline()
