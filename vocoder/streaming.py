"""Exact chunks: a mel of any length, or one that is still being made, spoken piece by piece.

A sample depends on the mel and noise of its own frame and of `halo` frames on either side, and on nothing
else; the noise is a function of seed and position. So a chunk that is rendered with a halo around it, which
is then cut off, is what the whole would have been at that place::

    frames          … ├──── halo ────┼──── chunk ────┼──── halo ────┤ …
    window            ├───────────────────────────────────────────┤
    kept                             ├───────────────┤

Letters: T samples, M mel bands, L mel frames, W frames of a window.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["FIRST", "Window", "Windows", "render_in_chunks"]

FIRST = 32  # frames of the first chunk; later ones double until they are as long as asked for

Render = Callable[[Tensor, int], Tensor]  # mel [M, W] and the number of its first frame → audio [W · hop]


@dataclass(frozen=True, eq=False)
class Window:
    """A stretch of a mel, and the frames within it whose audio is wanted; a task that knows of no other.

    Attributes:
        mel: `[M, W]`.
        start: number of its first frame in the whole mel, which places the noise.
        skip: how many frames stand in front of those that are wanted.
        frames: how many are wanted.
    """

    mel: Tensor
    start: int
    skip: int
    frames: int

    @classmethod
    def whole(cls, mel: Tensor) -> "Window":
        """All of a mel `[M, L]`."""
        return cls(mel, 0, 0, mel.shape[-1])

    @property
    def width(self) -> int:
        """W, what it costs to render."""
        return self.mel.shape[-1]

    def cut(self, audio: Tensor, hop: int) -> Tensor:
        """What is wanted of the window's audio `[W · hop]`, or longer."""
        return audio[self.skip * hop : (self.skip + self.frames) * hop]

    def halves(self, halo: int) -> "list[Window]":
        """Two windows that want together what this one wants, each with less of its mel."""
        middle = -(-self.frames // 2)
        parts = [(self.skip, middle), (self.skip + middle, self.frames - middle)]
        return [self._part(low, frames, halo) for low, frames in parts if frames]

    def _part(self, low: int, frames: int, halo: int) -> "Window":
        begin, end = max(low - halo, 0), low + frames + halo
        return Window(self.mel[:, begin:end], self.start + begin, low - begin, frames)


class Windows:
    """Cuts one mel, of any length and in pieces as they come, into windows.

    The first window wants `first` frames, later ones twice as many each time up to `chunk`. What it holds is
    one piece, one chunk and two halos.

    >>> windows = Windows(halo=2, chunk=8, first=4)
    >>> [(window.start, window.skip, window.frames) for window in windows.push(torch.zeros(80, 20))]
    [(0, 0, 4), (2, 2, 8)]
    >>> [(window.start, window.skip, window.frames) for window in windows.end()]
    [(10, 2, 8)]
    """

    def __init__(self, *, halo: int, chunk: int, first: int = FIRST) -> None:
        self._halo, self._chunk, self._size = halo, chunk, min(first, chunk)
        self._held, self._start, self._done = torch.empty(0), 0, 0  # frames `start …`; `done` are in windows

    def push(self, piece: Tensor) -> Iterator[Window]:
        """The windows whose halo has come with the piece `[M, L]`; to be taken before the next piece."""
        self._held = torch.cat([self._held, piece], 1) if self._held.numel() else piece
        while self._start + self._held.shape[-1] >= self._done + self._size + self._halo:
            yield self._take(self._size)

    def end(self) -> Iterator[Window]:
        """The windows of what is left, the mel having ended."""
        while (left := self._start + self._held.shape[-1] - self._done) > 0:
            yield self._take(min(self._size, left))

    def _take(self, frames: int) -> Window:
        low = self._done - self._start
        window = Window(self._held, self._start, 0, 0)._part(low, frames, self._halo)
        self._done, self._size = self._done + frames, min(2 * self._size, self._chunk)
        keep = max(self._done - self._halo, self._start)
        self._held, self._start = self._held[:, keep - self._start :], keep
        return window


def render_in_chunks(
    render: Render, pieces: Iterable[Tensor], *, halo: int, hop: int, chunk: int, first: int = FIRST
) -> Iterator[Tensor]:
    """Audio `[T]` chunk by chunk, from pieces `[M, L]` of one mel, each as soon as its halo is there.

    Memory is that of one piece, one chunk and two halos, however long the mel is.
    """
    windows = Windows(halo=halo, chunk=chunk, first=first)
    for piece in pieces:
        for window in windows.push(piece):
            yield window.cut(render(window.mel, window.start), hop)
    for window in windows.end():
        yield window.cut(render(window.mel, window.start), hop)
