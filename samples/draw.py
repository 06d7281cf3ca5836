"""Draw mels.png: the mel hello.npy, and the mel of what the default voice makes of it.

python samples/draw.py
"""

from pathlib import Path

import numpy as np
import torch

import vocoder
from vocoder.training.report import mel_figure

HERE = Path(__file__).parent

if __name__ == "__main__":
    voice, asked = vocoder.load(device="cpu"), torch.from_numpy(np.load(HERE / "hello.npy"))
    rendered = vocoder.LogMel(voice.spec)(voice(asked)[None])[0, :, : asked.shape[1]]
    mel_figure(torch.stack([asked, rendered])).savefig(HERE / "mels.png", dpi=90)
