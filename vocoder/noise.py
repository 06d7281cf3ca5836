"""Standard normal noise that is a function of where it stands: `noise(seed, start, samples)`.

```
position   0              1024             2048             3072
           │ block 0        │ block 1        │ block 2        │ …    block k: Philox, key seed, counter k·2¹²⁸
                        └── noise(seed, 900, 1500) ─┘                a slice of the whole, whoever asks
```

A clip that is synthesised whole, in pieces, or in a batch with strangers therefore starts from the same
latent. It is drawn on the CPU, so that it is the same on every device.
"""

import operator

import numpy as np
import torch
from torch import Tensor

from vocoder.errors import InvalidInput

__all__ = ["noise"]

BLOCK = 1024  # samples drawn together; part of what a seed means
LIMIT = 2**63


def noise(seed: int, start: int, samples: int) -> Tensor:
    """N(0, 1) noise `[samples]`, float32 on the CPU, for the positions `start … start + samples - 1`.

    A pure function of (seed, position). Philox enciphers a counter (Salmon et al., 2011, "Parallel random
    numbers: as easy as 1, 2, 3"): seeds are keys, blocks are stretches of the counter that cannot overlap.
    Raises `InvalidInput` where `seed`, `start`, `samples` or the end is not an integer in [0, 2⁶³).

    >>> torch.equal(noise(7, 0, 5000)[900:2400], noise(7, 900, 1500))
    True
    """
    seed, start, samples = whole("seed", seed), whole("start", start), whole("samples", samples)
    whole("start + samples", start + samples)
    first, last = start // BLOCK, -(-(start + samples) // BLOCK)
    blocks = [_block(seed, index) for index in range(first, last)]
    drawn = np.concatenate(blocks) if blocks else np.empty(0, np.float32)
    offset = start - first * BLOCK
    return torch.from_numpy(drawn[offset : offset + samples].copy())


def _block(seed: int, index: int) -> np.ndarray:
    bits = np.random.Philox(counter=[0, 0, index, 0], key=[seed, 0])
    return np.random.Generator(bits).standard_normal(BLOCK, dtype=np.float32)


def whole(name: str, value: int) -> int:
    """Any kind of integer in [0, 2⁶³), NumPy's included, as an int; `True` is none. Raises `InvalidInput`."""
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = -1
    if not 0 <= number < LIMIT:
        raise InvalidInput(f"{name} (={value!r}) must be an integer in [0, 2**63)")
    return number
