"""One JSON object a line on standard error."""

import json
import logging
import warnings
from datetime import UTC, datetime
from typing import Any

from vocoder.errors import MelWarning

__all__ = ["JsonLines", "capture_warnings", "config"]


class JsonLines(logging.Formatter):
    """time, level, logger, message, what was passed as `extra={"fields": {…}}`, and any traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def config(level: str) -> dict[str, Any]:
    """For `logging.config.dictConfig`: our lines and uvicorn's, in one form."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "server.logs.JsonLines"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": level.upper()},
    }


def capture_warnings() -> None:
    """Log what Python warns of, and every mel that looks like another convention; for a whole process.

    Whatever `-W` says, such a mel is spoken: a doubt fails no request.
    """
    logging.captureWarnings(True)
    warnings.filterwarnings("always", category=MelWarning)
