"""Where the service is, who asks, and how patiently: what every request of a client has in common."""

import platform
import re
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import httpx2

from vocoder import __version__
from vocoder.client.calls import Call
from vocoder.client.failures import unanswered

__all__ = ["DEFAULT_TIMEOUT", "Destination", "Timeout"]

Timeout: TypeAlias = float | httpx2.Timeout | None

# The service gives up after a minute by default, and says so; a client that gave up sooner would not hear it.
DEFAULT_TIMEOUT = httpx2.Timeout(90.0, connect=5.0)

KEY = re.compile(r"[!-~]+")
AGENT = f"flow-vocoder/{__version__} Python/{platform.python_version()}"


@dataclass(frozen=True)
class Destination:
    """One service and one caller; the key is shown nowhere.

    Raises:
        ValueError: the address is no http(s) address, or the key cannot stand in a header.
    """

    base_url: str
    api_key: str | None = field(default=None, repr=False)
    timeout: Timeout = field(default_factory=lambda: DEFAULT_TIMEOUT, repr=False)

    def __post_init__(self) -> None:
        place = urlsplit(self.base_url)
        if place.scheme not in ("http", "https") or not place.hostname or place.query or place.fragment:
            raise ValueError(f"base_url (={self.base_url!r}) must be like http://127.0.0.1:8000")
        if self.api_key is not None and not KEY.fullmatch(self.api_key):
            raise ValueError("api_key must be visible ASCII characters, at least one, without spaces")

    def request(self, http: httpx2.Client | httpx2.AsyncClient, call: Call[Any]) -> httpx2.Request:
        """The request, built anew for each try."""
        authorization = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        # Nothing may be compressed on the way: lengths are checked, and audio would not shrink.
        common = {"User-Agent": AGENT, "Accept-Encoding": "identity", **authorization}
        try:
            return http.build_request(
                call.method,
                self.base_url.rstrip("/") + call.path,
                params=dict(call.query) or None,
                headers={**common, **call.headers},
                content=call.content,
                files=dict(call.files) if call.files else None,
                timeout=self.timeout,
            )
        except httpx2.InvalidURL as error:
            raise unanswered(error) from error
