"""What is counted, how it is told, and that no caller can make it grow."""

import asyncio
import logging
import random
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient
from starlette.types import Message

from server.app import create_app
from server.metrics import Metrics
from server.settings import Settings
from tests.server.conftest import TINY, until
from tests.server.parcels import NPY, mel, npy
from vocoder import Vocoder

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def fresh(voice: Vocoder) -> Iterator[TestClient]:
    """A client of a service that nobody has asked anything but whether it is ready."""
    app = create_app(TINY, load=lambda *_: voice)
    with TestClient(app, raise_server_exceptions=False) as client:
        until(lambda: client.get("/health/ready").status_code == 200)
        yield client


def _series(client: TestClient) -> Series:
    text = client.get("/metrics").text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}


def _value(series: Series, name: str, **labels: str) -> float:
    return series.get((f"vocoder_{name}", frozenset(labels.items())), 0)


def test_what_is_exposed_is_what_is_documented() -> None:
    """Names, kinds, labels and meanings in docs/operations.md are those of /metrics, one for one."""
    rows = []
    for family in Metrics().registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append((name, family.type, family.documentation))
    text = DOCUMENT.read_text().split("## Metrics\n", 1)[1].split("\n## ", 1)[0]
    told = re.findall(r"^\| `(\w+)(?:\{[\w, ]+\})?` \| (\w+) \| (.+) \|$", text, re.MULTILINE)
    assert told == rows


def test_labels_are_as_documented() -> None:
    """The labels between the braces are the ones that the metric has, in order."""
    metrics = Metrics()
    text = DOCUMENT.read_text()
    for name, metric in vars(metrics).items():
        if labels := getattr(metric, "_labelnames", ()):
            assert f"`vocoder_{name}{{{', '.join(labels)}}}`" in text


def test_format_is_prometheus(fresh: TestClient) -> None:
    """The text parses, its type says which format it is, and there are no dates of creation in it."""
    response = fresh.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = {family.name: family.type for family in text_string_to_metric_families(response.text)}
    assert families["vocoder_request_duration_seconds"] == "histogram"
    assert not [name for name in families if name.endswith("_created")]


def test_one_request_is_counted_everywhere(fresh: TestClient) -> None:
    """Answered, timed, rendered, and its audio added up."""
    before = _series(fresh)
    assert fresh.post("/v1/vocode?format=flac", content=npy(mel(86)), headers=NPY).status_code == 200
    after = _series(fresh)
    route = {"route": "/v1/vocode"}
    assert _value(after, "requests_total", code="200", format="flac", **route) == 1
    assert _value(after, "request_duration_seconds_count", **route) == 1
    model = {"model": "waveglow-tiny"}
    for name in ("inference_seconds", "queue_seconds", "rtf", "time_to_first_audio_seconds"):
        assert _value(after, f"{name}_count", **model) == 1, name
    audio = _value(after, "audio_seconds_total", **model) - _value(before, "audio_seconds_total", **model)
    assert audio == pytest.approx(86 * 256 / 22_050)
    assert _value(after, "batch_size_count") - _value(before, "batch_size_count") == 1
    assert _value(after, "models_loaded") == 1
    assert _value(after, "queue_requests") == _value(after, "queue_frames") == 0
    assert _value(after, "requests_in_flight") == 1  # whoever reads this


def test_refusals_are_counted_by_reason(voice: Vocoder) -> None:
    """A 401 by its code; a 422 is the caller's mistake and no refusal for want of anything."""
    app = create_app(Settings(voice="waveglow-tiny", api_keys=["k"]), load=lambda *_: voice)
    with TestClient(app) as client:
        client.post("/v1/vocode")
        client.post("/v1/vocode?nonsense=1", headers={"Authorization": "Bearer k"})
        series = _series(client)
    refused = {labels: value for (name, labels), value in series.items() if "rejected" in name and value}
    assert refused == {frozenset({("reason", "invalid_api_key")}): 1}
    assert _value(series, "requests_total", route="/v1/vocode", format="", code="401") == 1


def test_ten_thousand_random_paths_are_one_label(voice: Vocoder, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever paths and methods callers think of, the series stay the same few."""
    caplog.set_level(logging.WARNING, "server.access")
    app = create_app(TINY, load=lambda *_: voice)
    dice = random.Random(0)
    asyncio.run(_wander(app, dice, 100))
    known = _all(app.state.metrics)
    asyncio.run(_wander(app, dice, 10_000))
    assert _all(app.state.metrics) == known
    assert {dict(labels).get("route") for _, labels in known} - {None} == {"(unknown)"}


def _all(metrics: Metrics) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {(one.name, frozenset(one.labels.items())) for family in families for one in family.samples}


async def _wander(app: FastAPI, dice: random.Random, number: int) -> None:
    letters = string.ascii_letters + string.digits + "/%._-~"
    for _ in range(number):
        method = dice.choice(["GET", "POST", "PUT", "DELETE", "X" + dice.choice(string.ascii_uppercase)])
        await _ask(app, method, "/x" + "".join(dice.choices(letters, k=dice.randrange(1, 40))))


async def _ask(app: FastAPI, method: str, path: str) -> None:
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": []}

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        assert message.get("status", 404) == 404

    await app(scope, receive, send)
