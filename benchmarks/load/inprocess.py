"""The model without a service: `python -m benchmarks.load.inprocess VOICE DEVICE THREADS`.

In come the size of a `.npy` file in a line, the file, and then an empty line for every call, which is
answered with its seconds.
"""

from __future__ import annotations

import io
import sys
import time

import numpy as np
import torch

from vocoder import Vocoder

__all__ = ["main"]


def main() -> None:
    """Load, and call as often as it is asked."""
    name, device, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    voice = Vocoder.load(name, device=device)
    size = int(sys.stdin.buffer.readline())
    mel = np.load(io.BytesIO(sys.stdin.buffer.read(size)), allow_pickle=False)
    print("ready", flush=True)
    for _ in sys.stdin.buffer:
        began = time.perf_counter()
        voice(mel, seed=0).cpu()
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
