"""Make tiny_hello.npy: what waveglow-tiny makes of forty frames of samples/hello.npy.

python tests/golden/make_tiny_hello.py
"""

from pathlib import Path

import numpy as np

import vocoder

ROOT = Path(__file__).parents[2]
FRAMES = slice(100, 140)

if __name__ == "__main__":
    mel = np.load(ROOT / "samples" / "hello.npy")[:, FRAMES]
    np.save(
        Path(__file__).with_name("tiny_hello.npy"),
        vocoder.load("waveglow-tiny", device="cpu")(mel, seed=7).numpy(),
    )
