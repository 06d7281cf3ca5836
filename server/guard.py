"""Who may ask, and how often: API keys, the admin's key, and a rate for each caller.

Routers ask for it with `dependencies=[Depends(require_key)]`; it holds for WebSockets too, whose handshake
is refused. A route behind it must not let FastAPI read its body, or that is read first. Keys are kept as
digests, compared in constant time, and never logged.
"""

import hmac
import math
import time
from collections.abc import Callable
from hashlib import sha256
from ipaddress import IPv6Address, ip_address
from itertools import islice

from pydantic import SecretStr
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from server.settings import Settings

__all__ = ["Guard", "RateLimited", "Rates", "Unauthorized", "require_admin", "require_key"]

CALLERS = 10_000  # remembered at once by the rate limit


class Unauthorized(Exception):
    """The request has no key, or one that is not known."""

    headers = {"WWW-Authenticate": "Bearer"}  # noqa: RUF012  # read by failures, written by nobody

    def __init__(self) -> None:
        super().__init__("a valid key is needed, as in Authorization: Bearer KEY")


class RateLimited(Exception):
    """The caller asks more often than it may."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many requests; try again in {retry_after} s")
        self.retry_after = retry_after


class Rates:
    """A bucket for each caller: so many requests at once, then so many a minute, evenly.

    Of a caller one number is kept: when its bucket will be full again (the "generic cell rate algorithm").
    Beyond `CALLERS` of them whoever has been quiet for longest is forgotten, so that memory is bounded.
    """

    def __init__(self, a_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._spacing, self._clock = 60 / a_minute, clock
        self._full_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, caller: str) -> None:
        """Take one request out of the caller's bucket, or raise `RateLimited`."""
        now = self._clock()
        full = max(now, self._full_at.pop(caller, now)) + self._spacing
        if (late := full - now - 60) > 1e-6:
            self._full_at[caller] = full - self._spacing
            raise RateLimited(max(1, math.ceil(late)))
        self._full_at[caller] = full  # at the end: in the order of the last request
        self._forget(now)

    def _forget(self, now: float) -> None:
        for quiet in list(islice(self._full_at, 2)):  # one came, so two gone each time is enough
            if len(self._full_at) > CALLERS or self._full_at[quiet] <= now:
                del self._full_at[quiet]


class Guard:
    """The rules that the settings give, for one application."""

    def __init__(self, settings: Settings) -> None:
        self._keys = [_digest(key) for key in settings.api_keys]
        self._admin = [_digest(key) for key in filter(None, [settings.admin_key])]
        self._rates = Rates(settings.rate_limit) if settings.rate_limit else None

    def admit(self, connection: HTTPConnection) -> None:
        """Raise `Unauthorized` if keys are asked for and this is none, `RateLimited` if it comes too often.

        The admin's key opens what the others open.
        """
        caller = _address(connection)
        if self._keys:
            caller = _match(connection, self._keys + self._admin)
        if self._rates is not None:
            self._rates.take(caller)

    def admit_admin(self, connection: HTTPConnection) -> None:
        """Raise a 404 where there is no admin's key, `Unauthorized` for any other."""
        if not self._admin:
            raise HTTPException(404)
        _match(connection, self._admin)


async def require_key(connection: HTTPConnection) -> None:
    """A dependency of routers: what `Guard.admit` says."""
    _guard(connection).admit(connection)


async def require_admin(connection: HTTPConnection) -> None:
    """A dependency of routes: what `Guard.admit_admin` says."""
    _guard(connection).admit_admin(connection)


def _guard(connection: HTTPConnection) -> Guard:
    guard = connection.app.state.guard
    assert isinstance(guard, Guard)
    return guard


def _digest(key: SecretStr) -> bytes:
    return sha256(key.get_secret_value().encode()).digest()


def _match(connection: HTTPConnection, keys: list[bytes]) -> str:
    """Which of the keys came, as a name for it that tells nothing; every one of them is compared."""
    scheme, _, key = connection.headers.get("authorization", "").partition(" ")
    came = sha256(key.strip().encode("latin-1")).digest()
    equal = [hmac.compare_digest(came, known) for known in keys]
    if scheme.lower() != "bearer" or not any(equal):
        raise Unauthorized
    return f"key {equal.index(True)}"


def _address(connection: HTTPConnection) -> str:
    """The caller's address; of IPv6 the /64, all of which is one customer's."""
    host = connection.client.host if connection.client else ""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    return str(int(address) >> 64) if isinstance(address, IPv6Address) else host
