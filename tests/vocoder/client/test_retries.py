"""How long a client waits before it tries again, and when it does not."""

from email.utils import formatdate
from time import time

import pytest

from vocoder.client import ClientError, RateLimited
from vocoder.client.failures import refusal
from vocoder.client.retries import Retries


def test_pauses_double_and_differ() -> None:
    """From half a second to eight, and never the same for two, so that a crowd comes back spread out."""
    busy, patient = ClientError("busy", retriable=True), Retries(most=9)
    for tried, longest in enumerate((0.5, 1, 2, 4, 8, 8), start=1):
        pauses = [patient.pause(tried, busy) for _ in range(50)]
        assert 0.75 * longest <= min(pauses) < max(pauses) <= longest
        assert len(set(pauses)) > 40


@pytest.mark.parametrize("asked", [0, 1, 30, 60])
def test_asked_for_time_is_the_least(asked: int) -> None:
    """Never less than `Retry-After`, and at most a quarter more (or of half a second)."""
    error = RateLimited("full", retry_after=asked, retriable=True)
    pauses = [Retries().pause(1, error) for _ in range(50)]
    assert asked <= min(pauses) < max(pauses) <= asked + max(asked, 0.5) / 4


@pytest.mark.parametrize(
    ("most", "tried", "error"),
    [
        (2, 3, ClientError("enough", retriable=True)),
        (0, 1, ClientError("none wanted", retriable=True)),
        (2, 1, ClientError("lasting")),
        (2, 1, ClientError("too long", retriable=True, retry_after=60.1)),
    ],
    ids=str,
)
def test_error_is_raised_where_another_try_has_no_point(most: int, tried: int, error: ClientError) -> None:
    """Tries used up, a lasting refusal, or more patience asked for than there is: the error itself."""
    with pytest.raises(ClientError) as raised:
        Retries(most).pause(tried, error)
    assert raised.value is error


AFTER = [
    ("2", 2),
    (" 1.5 ", 1.5),
    ("-3", 0),
    ("soon", None),
    ("nan", None),
    ("inf", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "seconds"), AFTER, ids=repr)
def test_retry_after_is_seconds(text: str, seconds: float | None) -> None:
    """Seconds are understood, none are less than none, and nonsense is as if it were not there."""
    assert refusal(429, {"retry-after": text}, b"").retry_after == seconds


def test_retry_after_is_a_date() -> None:
    """A time to come is so many seconds from now, and the past is now."""
    to_come, past = formatdate(time() + 100, usegmt=True), formatdate(time() - 100)
    assert refusal(429, {"retry-after": to_come}, b"").retry_after == pytest.approx(100, abs=60)
    assert refusal(429, {"retry-after": past}, b"").retry_after == 0
