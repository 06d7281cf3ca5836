"""OpenTelemetry, if it is asked for: FastAPI's own spans and request metrics, without bodies, keys or logs.

Where they go is OpenTelemetry's to say, by its variables (`OTEL_EXPORTER_OTLP_ENDPOINT` and so on).
"""

import importlib.util
from collections.abc import MutableMapping
from typing import Any

from fastapi.telemetry import TelemetryConfig

from server.settings import Settings
from vocoder.errors import InvalidConfig

__all__ = ["options"]

OFF: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
QUIET = ("/health/live", "/health/ready", "/metrics")  # asked every few seconds, for ever


def options(settings: Settings) -> TelemetryConfig:
    """For `FastAPI(telemetry=…)`. Raises `InvalidConfig` if it is asked for where the extra `otel` is not."""
    if not settings.telemetry:
        return OFF
    if importlib.util.find_spec("opentelemetry.sdk") is None:
        raise InvalidConfig("telemetry needs the extra otel: pip install 'flow-vocoder[otel]'")
    return {"tracing": True, "metrics": True, "logs": False, "auto_configure": True, "exclude": _quiet}


def _quiet(scope: MutableMapping[str, Any]) -> bool:
    return scope["path"] in QUIET
