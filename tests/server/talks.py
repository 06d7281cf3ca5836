"""Conversations over `WS /v1/vocode/stream`, as tests hold them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

__all__ = ["END", "heard_out", "talking"]

END = json.dumps({"type": "end"})


@contextmanager
def talking(url: str, query: str = "", **options: Any) -> Iterator[ClientConnection]:
    """A conversation with seed 1; options are those of `connect`."""
    target = f"{url.replace('http', 'ws')}/v1/vocode/stream?seed=1&{query}"
    with connect(target, close_timeout=1, **options) as talk:
        yield talk


def heard_out(talk: ClientConnection) -> tuple[list[dict[str, Any]], bytes, int]:
    """What is said until the end: in words, in sound, and the close code."""
    words, sound = [], b""
    try:
        while True:
            if isinstance(message := talk.recv(timeout=30), str):
                words.append(json.loads(message))
            else:
                sound += message
    except ConnectionClosed as closed:
        return words, sound, closed.rcvd.code if closed.rcvd else 1006
