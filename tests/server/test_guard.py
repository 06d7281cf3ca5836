"""Keys, the admin's key, rates, other origins: who may ask, how often, and from where."""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient, WebSocketDenialResponse

from server.app import create_app
from server.guard import CALLERS, RateLimited, Rates
from server.settings import Settings
from tests.server.conftest import Serving, until
from tests.server.parcels import NPY, call, heard, mel, npy
from vocoder import Vocoder

FIRST, SECOND, ADMIN = "first-key-of-the-test", "second-key-of-the-test", "admin-key-of-the-test"
KEYS = [SecretStr(FIRST), SecretStr(SECOND)]


@contextmanager
def _client(voice: Vocoder, **settings: Any) -> Iterator[TestClient]:
    app = create_app(Settings(voice="waveglow-tiny", **settings), load=lambda *_: voice)
    with TestClient(app) as client:
        until(lambda: client.get("/health/ready").status_code == 200)
        yield client


@pytest.fixture(scope="module")
def locked(voice: Vocoder) -> Iterator[TestClient]:
    """A client of a service with two keys and an admin's."""
    with _client(voice, api_keys=KEYS, admin_key=SecretStr(ADMIN)) as client:
        yield client


def _bearer(key: str, scheme: str = "Bearer") -> dict[str, str]:
    return {"Authorization": f"{scheme} {key}"}


RIGHT = [_bearer(FIRST), _bearer(SECOND), _bearer(SECOND, "bearer"), _bearer(ADMIN)]


@pytest.mark.parametrize("header", RIGHT)
def test_every_key_opens(locked: TestClient, header: dict[str, str]) -> None:
    """Each key of the list, and the admin's; the scheme in any case."""
    assert locked.get("/v1/models", headers=header).status_code == 200


WRONG = [
    {},
    {"Authorization": ""},
    {"Authorization": "Bearer"},
    {"Authorization": FIRST},
    _bearer(""),
    _bearer(FIRST[:-1]),
    _bearer(FIRST + "x"),
    _bearer(FIRST.upper()),
    _bearer(f"{FIRST},{SECOND}"),
    _bearer(FIRST, "Basic"),
    {"X-API-Key": FIRST},
]


@pytest.mark.parametrize("header", WRONG)
@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/models"), ("POST", "/v1/vocode")])
def test_nothing_else_opens(locked: TestClient, header: dict[str, str], method: str, path: str) -> None:
    """401 with the envelope and `WWW-Authenticate`, whatever is nearly right."""
    response = locked.request(method, path, headers=header)
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    error = response.json()["error"]
    assert (error["type"], error["code"]) == ("authentication_error", "invalid_api_key")


def test_no_route_of_the_api_is_forgotten(locked: TestClient) -> None:
    """Everything that the document names under /v1 asks for a key, whatever it would say of the request."""
    paths = locked.get("/openapi.json").json()["paths"]
    asked = [(method, path.replace("{id}", "x")) for path, kinds in paths.items() for method in kinds]
    codes = {(m, p): locked.request(m.upper(), p).status_code for m, p in asked if p.startswith("/v1")}
    assert len(codes) >= 6 and set(codes.values()) == {401}, codes


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json"])
def test_probes_and_pages_are_public(locked: TestClient, path: str) -> None:
    """What has nothing to hide asks for no key."""
    assert locked.get(path).status_code == 200


def test_keys_are_asked_for_before_the_body(voice: Vocoder, serving: Serving) -> None:
    """On a socket: the 401 comes although no byte of the promised body has been sent."""
    app = create_app(Settings(voice="waveglow-tiny", api_keys=KEYS), load=lambda *_: voice)
    with serving(app) as url, call(url, "Content-Length: 4000") as caller:
        answer = heard(caller)
    assert answer.startswith(b"HTTP/1.1 401") and b"invalid_api_key" in answer


def test_websockets_are_refused_at_the_handshake(locked: TestClient) -> None:
    """No key, no socket: the handshake is answered with the same 401; with a key it is accepted."""
    with (
        pytest.raises(WebSocketDenialResponse) as refusal,
        locked.websocket_connect("/v1/vocode/stream"),
    ):
        pytest.fail("it was accepted")
    assert (refusal.value.status_code, refusal.value.headers["www-authenticate"]) == (401, "Bearer")
    assert refusal.value.json()["error"]["code"] == "invalid_api_key"
    with locked.websocket_connect("/v1/vocode/stream", headers=_bearer(FIRST)) as accepted:
        accepted.close()


@pytest.mark.parametrize("key", [FIRST, "wrong-key-of-the-test"])
def test_keys_are_never_logged(locked: TestClient, caplog: pytest.LogCaptureFixture, key: str) -> None:
    """Neither a right nor a wrong one, at any level, in any field."""
    with caplog.at_level(logging.DEBUG):
        locked.get("/v1/models", headers=_bearer(key))
        locked.post("/v1/vocode", headers=NPY | _bearer(key), content=b"x")
    assert caplog.records
    assert not any(key in str(vars(record)) for record in caplog.records)


def test_admin_needs_the_admins_key(locked: TestClient) -> None:
    """A caller's key is refused, the admin's is not."""
    path = "/v1/models/no-such-model/load"
    assert locked.post(path, headers=_bearer(FIRST)).status_code == 401
    assert locked.post(path).status_code == 401
    assert locked.post(path, headers=_bearer(ADMIN)).json()["error"]["code"] == "model_not_found"


def test_there_is_no_admin_unless_there_is_a_key(client: TestClient) -> None:
    """By default the routes are not there, whatever key comes."""
    for action in ("load", "unload"):
        path = f"/v1/models/waveglow-tiny/{action}"
        assert {client.post(path, headers=header).status_code for header in ({}, _bearer(ADMIN))} == {404}


def test_rate_limit_is_of_each_key(voice: Vocoder) -> None:
    """Two a minute: the third is a 429 with whole seconds to wait, and another key is not concerned."""
    with _client(voice, api_keys=KEYS, rate_limit=2) as client:
        codes = [client.get("/v1/models", headers=_bearer(FIRST)).status_code for _ in range(2)]
        refused = client.get("/v1/models", headers=_bearer(FIRST))
        assert (codes, refused.status_code) == ([200, 200], 429)
        assert 1 <= int(refused.headers["retry-after"]) <= 30
        assert refused.json()["error"]["code"] == "rate_limited"
        assert client.get("/v1/models", headers=_bearer(SECOND)).status_code == 200
        assert client.get("/health/live").status_code == 200


def test_rate_limit_without_keys_is_of_each_address(voice: Vocoder) -> None:
    """One a minute for this machine, WebSockets included."""
    with _client(voice, rate_limit=1) as client:
        body = npy(mel(4))
        assert client.post("/v1/vocode", content=body, headers=NPY).status_code == 200
        assert client.post("/v1/vocode", content=body, headers=NPY).status_code == 429
        with (
            pytest.raises(WebSocketDenialResponse) as refusal,
            client.websocket_connect("/v1/vocode/stream"),
        ):
            pytest.fail("it was accepted")
        assert refusal.value.status_code == 429


class _Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_fills_evenly() -> None:
    """After three at once, another each twenty seconds: when `retry_after` says, not before."""
    clock = _Clock()
    rates = Rates(3, clock)
    for _ in range(3):
        rates.take("a")
    for _ in range(2):
        with pytest.raises(RateLimited) as refused:
            rates.take("a")
        assert refused.value.retry_after == 20
        clock.now += 19.5
        with pytest.raises(RateLimited, match="1 s"):
            rates.take("a")
        clock.now += 0.5
        rates.take("a")


def test_ten_thousand_callers_fit_and_more_do_not_grow() -> None:
    """Memory is bounded: whoever has been quiet for longest is forgotten, and a busy caller is not."""
    clock = _Clock()
    rates = Rates(1, clock)
    rates.take("busy")
    for number in range(3 * CALLERS):
        rates.take(str(number))
        with pytest.raises(RateLimited):
            rates.take("busy")
    assert len(rates) == CALLERS
    clock.now += 61
    for number in range(CALLERS):
        rates.take(f"later {number}")
    assert len(rates) == CALLERS
    clock.now += 61
    for _ in range(CALLERS):
        rates.take("busy")
        clock.now += 60
    assert len(rates) == 1


def test_addresses_of_one_ipv6_network_are_one_caller(voice: Vocoder) -> None:
    """Whoever has a /64 has 2^64 addresses, and one rate."""
    app = create_app(Settings(voice="waveglow-tiny", rate_limit=1), load=lambda *_: voice)
    codes = []
    for address in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"):
        client = TestClient(app, client=(address, 50_000))
        codes.append(client.get("/v1/models").status_code)
    assert codes == [503, 429, 503]  # nothing is loaded here


ORIGIN = "https://pages.example"
PREFLIGHT = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}


def test_other_origins_are_off_by_default(client: TestClient) -> None:
    """No header that a browser would take for a permission."""
    assert client.options("/v1/vocode", headers=PREFLIGHT).status_code == 405
    assert "access-control-allow-origin" not in client.get("/v1/models", headers={"Origin": ORIGIN}).headers


def test_named_origins_may_call(voice: Vocoder) -> None:
    """A named origin gets its preflight, and can read our headers of refusals, too; another gets nothing."""
    with _client(voice, cors_origins=[ORIGIN], api_keys=KEYS) as client:
        allowed = client.options("/v1/vocode", headers=PREFLIGHT)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, ORIGIN)
        refused = client.get("/v1/models", headers={"Origin": ORIGIN})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, ORIGIN)
        assert "X-Seed" in refused.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in refused.headers
        other = client.get("/v1/models", headers={"Origin": "https://other.example"})
        assert "access-control-allow-origin" not in other.headers


def test_bodies_are_limited_by_promise_and_by_count(voice: Vocoder, serving: Serving) -> None:
    """On a socket: 413 for a promise of too much, and for chunks that become too much, with our envelope."""
    app = create_app(Settings(voice="waveglow-tiny", max_body_bytes=100_000), load=lambda *_: voice)
    with serving(app) as url:
        for head in ("Content-Length: 100001", "Transfer-Encoding: chunked"):
            with call(url, head) as caller:
                if "chunked" in head:
                    _flood(caller)
                answer = heard(caller)
            assert answer.startswith(b"HTTP/1.1 413") and b'"body_too_large"' in answer


def _flood(caller: socket.socket) -> None:
    start = npy(mel(5000))[:150_000]
    for begin in range(0, len(start), 10_000):
        caller.sendall(b"2710\r\n" + start[begin : begin + 10_000] + b"\r\n")
