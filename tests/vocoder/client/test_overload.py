"""A service that has more to do than it takes, and clients that wait their turn."""

import logging
import threading
import time

import numpy as np
import pytest

from server.app import create_app
from server.settings import Settings
from tests.server.conftest import Gate, Serving, until
from tests.server.parcels import mel
from tests.vocoder.client.conftest import AnyClient, Connect
from vocoder import Vocoder
from vocoder.client import Client, RateLimited


def test_full_queue_is_told_at_once_and_waited_out(serving: Serving, gate: Gate, connect: Connect) -> None:
    """While the one place is taken a call is refused within milliseconds; one that tries again is served."""
    app = create_app(Settings(voice="waveglow-tiny", max_requests=1), load=lambda *_: gate)
    with serving(app) as url, Client(url) as first:
        taken = threading.Thread(target=first.vocode, args=(mel(5),))
        taken.start()
        until(lambda: gate.entered == 1)
        impatient = connect(url, max_retries=0)
        waits = sorted(_refused(impatient) for _ in range(15))
        assert waits[7] < 0.05, waits

        opening = threading.Timer(0.2, gate.opened.set)
        opening.start()
        began = time.monotonic()
        assert connect(url).vocode(mel(6)).samples == 6 * 256
        assert 1 <= time.monotonic() - began < 5  # a second is what it was asked to wait
        opening.join()
        taken.join()


def _refused(client: AnyClient) -> float:
    began = time.perf_counter()
    with pytest.raises(RateLimited) as refused:
        client.vocode(mel(5))
    took = time.perf_counter() - began
    error = refused.value
    assert (error.status, error.code, error.retriable) == (429, "queue_full", True)
    assert error.retry_after in range(1, 61)
    return took


def test_crowd_is_served_to_the_last(
    voice: Vocoder, serving: Serving, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """Twelve at once where two have room: some are sent away for a while, and all get their own audio."""
    mels = [mel(100 + n, seed=n) for n in range(12)]
    app = create_app(Settings(voice="waveglow-tiny", max_requests=2), load=lambda *_: voice)
    with serving(app) as url, caplog.at_level(logging.INFO, "vocoder.client"):
        told = connect(url, max_retries=10).crowd(mels, seed=2, format="wav_f32")
    for audio, sent in zip(told, mels, strict=True):
        np.testing.assert_array_equal(audio.array(), voice(sent, seed=2).numpy())
    assert any("queue is full" in record.message for record in caplog.records)
