"""When a call is tried again, and after how long."""

import logging
import random
from dataclasses import dataclass

from vocoder.client.failures import ClientError

__all__ = ["NEVER", "Retries"]

log = logging.getLogger("vocoder.client")

FIRST, LONGEST_BACKOFF = 0.5, 8.0  # seconds
JITTER = 0.25  # of a pause, at random, so that those who were refused together do not return together


@dataclass(frozen=True)
class Retries:
    """How often and how long to try again what may yet succeed (`ClientError.retriable`).

    A pause is at least what `Retry-After` asks for; without one it doubles from half a second to eight. A
    service that asks for more than `longest` seconds is not waited for. Every try is the same request, seed
    included, and so gives the same audio.

    >>> Retries(most=0).pause(1, ClientError("busy", retriable=True))
    Traceback (most recent call last):
    vocoder.client.failures.ClientError: busy
    """

    most: int = 2
    longest: float = 60.0

    def pause(self, tried: int, error: ClientError) -> float:
        """Seconds to wait after so many tries; raises the error itself where another has no point."""
        asked = error.retry_after
        if tried > self.most or not error.retriable or (asked or 0) > self.longest:
            raise error
        pause = _backoff(tried) if asked is None else asked + max(asked, FIRST) * random.uniform(0, JITTER)
        log.info("try %d of %d: %s; again in %.2f s", tried, self.most + 1, error, pause)
        return pause


def _backoff(tried: int) -> float:
    return min(LONGEST_BACKOFF, FIRST * 2.0 ** (tried - 1)) * random.uniform(1 - JITTER, 1)


NEVER = Retries(most=0)
