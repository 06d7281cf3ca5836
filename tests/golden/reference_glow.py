"""One step of Glow and one factoring out, as a straight line of equations: NumPy only, nothing of ours.

Kingma & Dhariwal 2018, arXiv:1807.03039, section 3, with the details of the code that they published: images
stand with their channels last; ``(x + b) · exp(3 logs)``; a matrix that acts on rows; a convolution pads with
a channel more, 1 where it pads; shift and scale in turn along the channels; ``sigmoid(h + 2)``; a gain
``exp(3 logs)`` behind the last convolution; the mean and the log-deviation of what leaves, in turn likewise.

Weights are a dict of arrays: `actnorm.b|logs`, `W`, `l_1|l_2.W|b|logs`, `l_last.W|b|logs`, `pool.W|b|logs`.

Letters: B batch, H height, W width, C channels.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = Mapping[str, Array]


def squeeze(x: Array) -> Array:
    """`[B, H, W, C]` → `[B, H/2, W/2, 4C]`: channel 4c + 2i + j is channel c of a block's pixel (i, j)."""
    batch, height, width, channels = x.shape
    out = np.empty((batch, height // 2, width // 2, 4 * channels))
    for c in range(channels):
        for i in range(2):
            for j in range(2):
                out[..., 4 * c + 2 * i + j] = x[:, i::2, j::2, c]
    return out


def actnorm(x: Array, b: Array, logs: Array) -> tuple[Array, float]:
    """The layer, and its log-determinant per image."""
    pixels = x.shape[1] * x.shape[2]
    return (x + b) * np.exp(3.0 * logs), pixels * float(np.sum(3.0 * logs))


def convolve(x: Array, weight: Array) -> Array:
    """`weight [3, 3, in + 1, out]`: the input that is one channel too many is the border's."""
    batch, height, width, _ = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    border = np.ones((batch, height + 2, width + 2, 1))
    border[:, 1:-1, 1:-1] = 0.0
    padded = np.concatenate([padded, border], 3)
    out = np.zeros((batch, height, width, weight.shape[3]))
    for i in range(3):
        for j in range(3):
            out += padded[:, i : i + height, j : j + width] @ weight[i, j]
    return out


def zeros(x: Array, weights: Weights, name: str) -> Array:
    """The convolution that starts at zero, and its gain."""
    out = convolve(x, weights[f"{name}.W"]) + weights[f"{name}.b"]
    return out * np.exp(3.0 * weights[f"{name}.logs"])


def network(x: Array, weights: Weights) -> Array:
    """Three convolutions, the first two normalised and rectified."""
    hidden, _ = actnorm(convolve(x, weights["l_1.W"]), weights["l_1.b"], weights["l_1.logs"])
    hidden = np.maximum(hidden, 0.0) @ weights["l_2.W"]
    hidden, _ = actnorm(hidden, weights["l_2.b"], weights["l_2.logs"])
    return zeros(np.maximum(hidden, 0.0), weights, "l_last")


def step(x: Array, weights: Weights) -> tuple[Array, Array]:
    """ActNorm, 1×1 convolution, affine coupling: z and the log-determinant `[B]`."""
    x, log_det = actnorm(x, weights["actnorm.b"], weights["actnorm.logs"])
    x = x @ weights["W"]
    log_det += x.shape[1] * x.shape[2] * np.log(np.abs(np.linalg.det(weights["W"])))
    kept, changed = np.split(x, 2, axis=3)
    h = network(kept, weights)
    shift, scale = h[..., 0::2], 1.0 / (1.0 + np.exp(-(h[..., 1::2] + 2.0)))
    changed = (changed + shift) * scale
    return np.concatenate([kept, changed], 3), log_det + np.log(scale).sum((1, 2, 3))


def split(x: Array, weights: Weights) -> tuple[Array, Array, Array]:
    """The half that stays, what leaves as standard normal noise, and the log-determinant `[B]` of that."""
    kept, left = np.split(x, 2, axis=3)
    h = zeros(kept, weights, "pool")
    mean, log_std = h[..., 0::2], h[..., 1::2]
    return kept, (left - mean) / np.exp(log_std), -log_std.sum((1, 2, 3))
