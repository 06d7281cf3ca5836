"""Everything that the service counts: one vocabulary, in Prometheus' base units, and where it is counted.

```
middleware   requests_total  request_duration_seconds  requests_in_flight  rejected_total
routes       time_to_first_audio_seconds  streams_open  aborted_total{sending}
engine       queue_*  inference_seconds  rtf  batch_*  audio_seconds_total  aborted_total{queued, rendering}
worker       cuda_oom_total  device_memory_bytes  models_loaded
```

A label has few values whatever callers send: routes are templates, models are names of the catalogue, formats
and reasons are words of ours.
"""

import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from vocoder import __version__

__all__ = ["CONTENT_TYPE", "UNKNOWN_ROUTE", "Metrics", "Stage"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
UNKNOWN_ROUTE = "(unknown)"  # the label of every path that is no route

Stage = Literal["queued", "rendering", "sending"]
STAGES: tuple[Stage, ...] = ("queued", "rendering", "sending")
REASONS = ("queue_full", "not_ready", "rate_limited", "invalid_api_key")

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
RATIOS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
CLIPS = (1, 2, 4, 8, 16, 32, 64)
FRAMES = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384)


class Metrics:
    """The counters of one application, in a registry of their own; any thread may call any method."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests()
        self._work()
        self._state()
        ProcessCollector(registry=self.registry)

    def _requests(self) -> None:
        self.requests_total = self._counter(
            "requests_total",
            "Requests answered, by route template, audio format (empty: none) and HTTP status or close code.",
            "route",
            "format",
            "code",
        )
        self.request_duration_seconds = self._histogram(
            "request_duration_seconds", "From a request's head to the end of its answer.", SECONDS, "route"
        )
        self.time_to_first_audio_seconds = self._histogram(
            "time_to_first_audio_seconds",
            "From a request's head until its first audio is ready to be sent.",
            SECONDS,
            "model",
        )
        self.rejected_total = self._counter(
            "rejected_total", "Requests refused for want of room, readiness or a key.", "reason"
        )
        self.aborted_total = self._counter(
            "aborted_total", "Requests given up: the client left, or time ran out.", "stage"
        )
        for stage in STAGES:
            self.aborted_total.labels(stage)
        for reason in REASONS:
            self.rejected_total.labels(reason)

    def _work(self) -> None:
        self.queue_seconds = self._histogram("queue_seconds", "Admission to rendering.", SECONDS, "model")
        self.inference_seconds = self._histogram(
            "inference_seconds", "Rendering, of a request or of the batch it is in.", SECONDS, "model"
        )
        self.rtf = self._histogram("rtf", "Inference seconds per second of audio.", RATIOS, "model")
        self.audio_seconds_total = self._counter("audio_seconds_total", "Audio made, in seconds.", "model")
        self.batch_size = self._histogram("batch_size", "Clips in one call of the model.", CLIPS)
        self.batch_frames = self._histogram("batch_frames", "Frames in one call, padding included.", FRAMES)
        self.cuda_oom_total = self._counter("cuda_oom_total", "Calls that ran out of CUDA memory.", "device")

    def _state(self) -> None:
        self.queue_requests = self._gauge("queue_requests", "Requests admitted: waiting or being rendered.")
        self.queue_frames = self._gauge("queue_frames", "Frames admitted: waiting or being rendered.")
        self.requests_in_flight = self._gauge("requests_in_flight", "Requests and WebSockets being answered.")
        self.streams_open = self._gauge("streams_open", "Answers being streamed, WebSockets included.")
        self.models_loaded = self._gauge("models_loaded", "Models in memory.")
        self.device_memory_bytes = self._gauge(
            "device_memory_bytes", "CUDA memory of this process: allocated or reserved.", "device", "kind"
        )
        self.build_info = self._gauge(
            "build_info", "Always 1; the labels say what runs here.", "version", "torch", "python"
        )
        self.build_info.labels(__version__, version("torch"), platform.python_version()).set(1)

    def finished(self, route: str, format: str, code: int, seconds: float) -> None:  # noqa: A002
        """An answer has been sent to its end, or given up."""
        self.requests_total.labels(route, format, str(code)).inc()
        self.request_duration_seconds.labels(route).observe(seconds)

    def rejected(self, reason: str) -> None:
        """A request was refused; `reason` is the code of its error. The middleware calls this."""
        self.rejected_total.labels(reason).inc()

    def aborted(self, stage: Stage) -> None:
        """A request was given up at this stage."""
        self.aborted_total.labels(stage).inc()

    def first_audio(self, model: str, seconds: float) -> None:
        """The first audio of an answer was ready to be sent, so long after the request's head."""
        self.time_to_first_audio_seconds.labels(model).observe(seconds)

    def batched(self, clips: int, frames: int) -> None:
        """One call of a model: so many clips, so many frames with padding."""
        self.batch_size.observe(clips)
        self.batch_frames.observe(frames)

    def rendered(self, model: str, *, queued: float, took: float, audio: float) -> None:
        """One request is rendered: the seconds it waited, the worker took, and of audio that were made."""
        self.queue_seconds.labels(model).observe(queued)
        self.inference_seconds.labels(model).observe(took)
        self.audio_seconds_total.labels(model).inc(audio)
        if audio > 0:
            self.rtf.labels(model).observe(took / audio)

    def out_of_memory(self, device: str) -> None:
        """A call ran out of memory on this device."""
        self.cuda_oom_total.labels(device).inc()

    @contextmanager
    def streaming(self) -> Iterator[None]:
        """Counts an answer among the open streams for as long as the block lasts."""
        with self.streams_open.track_inprogress():
            yield

    def watch_queue(self, requests: Callable[[], float], frames: Callable[[], float]) -> None:
        """Read the queue's length, in requests and in frames, whenever somebody looks."""
        self.queue_requests.set_function(requests)
        self.queue_frames.set_function(frames)

    def watch_models(self, loaded: Callable[[], float]) -> None:
        """Read the number of models in memory whenever somebody looks."""
        self.models_loaded.set_function(loaded)

    def watch_memory(
        self, device: str, allocated: Callable[[], float], reserved: Callable[[], float]
    ) -> None:
        """Read the bytes that a device holds for this process whenever somebody looks."""
        self.device_memory_bytes.labels(device, "allocated").set_function(allocated)
        self.device_memory_bytes.labels(device, "reserved").set_function(reserved)

    def exposition(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(_WithoutDates(self.registry))

    def _counter(self, name: str, help: str, *labels: str) -> Counter:  # noqa: A002
        return Counter(name, help, labels, namespace="vocoder", registry=self.registry)

    def _gauge(self, name: str, help: str, *labels: str) -> Gauge:  # noqa: A002
        return Gauge(name, help, labels, namespace="vocoder", registry=self.registry)

    def _histogram(self, name: str, help: str, buckets: Sequence[float], *labels: str) -> Histogram:  # noqa: A002
        return Histogram(name, help, labels, namespace="vocoder", registry=self.registry, buckets=buckets)


class _WithoutDates(CollectorRegistry):
    """The registry without the date of creation that the library adds to every series, a series each."""

    def __init__(self, inner: CollectorRegistry) -> None:
        super().__init__()
        self.register(_Undated(inner))


class _Undated(Collector):
    def __init__(self, inner: CollectorRegistry) -> None:
        self._inner = inner

    def collect(self) -> Iterator[Metric]:
        for family in self._inner.collect():
            family.samples = [one for one in family.samples if not one.name.endswith("_created")]
            yield family
