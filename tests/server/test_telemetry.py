"""OpenTelemetry: nothing unless it is asked for, and then spans that hold no body and no key."""

import importlib.util
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from server.app import create_app
from server.settings import Settings
from server.telemetry import options
from tests.server.conftest import until
from tests.server.parcels import NPY, mel, npy
from vocoder import Vocoder
from vocoder.errors import InvalidConfig

pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

KEY = "key-that-no-span-may-hold"
PARENT = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture(scope="module")
def memory() -> InMemorySpanExporter:
    """Where the process's spans go; a process has one provider, and it cannot be changed."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def spans(memory: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    """The same, empty."""
    memory.clear()
    yield memory
    memory.clear()


def _speak(voice: Vocoder, *, telemetry: bool) -> None:
    settings = Settings(voice="waveglow-tiny", telemetry=telemetry, api_keys=[KEY])
    with TestClient(create_app(settings, load=lambda *_: voice)) as client:
        until(lambda: client.get("/health/ready").status_code == 200)
        client.get("/metrics")
        headers = NPY | {"Authorization": f"Bearer {KEY}", "traceparent": f"00-{PARENT}-b7ad6b7169203331-01"}
        assert client.post("/v1/vocode?seed=7", content=npy(mel(8)), headers=headers).status_code == 200
        assert client.post("/v1/vocode", content=b"no mel at all", headers=headers).status_code == 415


def test_off_by_default(voice: Vocoder, spans: InMemorySpanExporter) -> None:
    """Although the process has a provider, nothing is traced unless the setting says so."""
    _speak(voice, telemetry=False)
    assert spans.get_finished_spans() == ()


def test_a_request_is_a_span_of_its_callers_trace(voice: Vocoder, spans: InMemorySpanExporter) -> None:
    """Route and status are told, the caller's trace goes on, and probes and /metrics are left out."""
    _speak(voice, telemetry=True)
    served = [span for span in spans.get_finished_spans() if span.kind is trace.SpanKind.SERVER]
    assert [_told(span) for span in served] == [
        ("POST /v1/vocode", "/v1/vocode", 200, PARENT),
        ("POST /v1/vocode", "/v1/vocode", 415, PARENT),
    ]


def _told(span: ReadableSpan) -> tuple[object, ...]:
    assert span.attributes is not None and span.context is not None
    route, status = (span.attributes[key] for key in ("http.route", "http.response.status_code"))
    return span.name, route, status, f"{span.context.trace_id:032x}"


def test_spans_hold_no_body_and_no_key(voice: Vocoder, spans: InMemorySpanExporter) -> None:
    """Everything that would leave the process, as text: neither what was sent nor what opened the door."""
    _speak(voice, telemetry=True)
    text = "".join(span.to_json() for span in spans.get_finished_spans())
    assert "/v1/vocode" in text and "seed=7" in text
    assert not any(secret in text for secret in (KEY, "no mel at all", "NUMPY"))


def test_without_its_extra_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for and not installed: the start says so, rather than tracing nothing in silence."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InvalidConfig, match="extra otel"):
        options(Settings(telemetry=True))
