"""Exact chunks: a mel of any length, or one that is still being made, spoken piece by piece.

A sample depends on the mel and noise of its own frame and of `halo` frames on either side, and on nothing
else; the noise is a function of seed and position. So a chunk that is rendered with a halo around it, which
is then cut off, is what the whole would have been at that place::

    frames          … ├──── halo ────┼──── chunk ────┼──── halo ────┤ …
    rendered          ├───────────────────────────────────────────┤
    kept                             ├───────────────┤

Letters: T samples, M mel bands, L mel frames.
"""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

__all__ = ["render_in_chunks"]

FIRST = 32  # frames of the first chunk; later ones double until they are as long as asked for

Render = Callable[[Tensor, int], Tensor]  # mel [M, L] and the number of its first frame → audio [L · hop]


def render_in_chunks(
    render: Render, pieces: Iterable[Tensor], *, halo: int, hop: int, chunk: int, first: int = FIRST
) -> Iterator[Tensor]:
    """Audio `[T]` chunk by chunk, from pieces `[M, L]` of one mel, each as soon as its halo is there.

    Memory is that of one piece, one chunk and two halos, however long the mel is.
    """
    window, start, done, size = torch.empty(0), 0, 0, min(first, chunk)  # the window's first frame is `start`

    def speak(frames: int) -> Tensor:
        low, high = max(done - halo, 0), min(done + frames + halo, start + window.shape[-1])
        audio = render(window[:, low - start : high - start], low)
        return audio[(done - low) * hop : (done - low + frames) * hop]

    for piece in pieces:
        window = torch.cat([window, piece], 1) if window.numel() else piece
        while start + window.shape[-1] >= done + size + halo:
            yield speak(size)
            done, size = done + size, min(2 * size, chunk)
            keep = max(done - halo, 0)
            window, start = window[:, keep - start :], keep
    while (left := start + window.shape[-1] - done) > 0:
        yield speak(min(size, left))
        done, size = done + min(size, left), min(2 * size, chunk)
