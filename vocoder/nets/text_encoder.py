"""The network that reads symbols: convolutions for what is near, attention for the whole utterance.

Shape letters: B batch, N symbols, D width, H heads.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vocoder.padding import cleared

__all__ = ["Convolutions", "TextEncoder"]


class TextEncoder(nn.Module):
    """Symbols to features: an embedding, three convolutions, then layers of attention and of convolution.

    The prenet and the order of things are Glow-TTS's (Kim et al. 2020, arXiv:2005.11129, appendix A.1);
    layers are normalised on their way in, which trains without a warm-up, and the position of one symbol
    relative to another enters as a learned bias of the attention, one for each head and each distance up to
    ``reach``, a farther one counting as ``reach`` (Raffel et al. 2020, arXiv:1910.10683, section 2.1).

    Args:
        symbols: how many there are.
        width: D, a multiple of ``heads``.
        layers: of attention and convolution.
        heads: H.
        hidden: width inside the convolutions of a layer.
        reach: largest distance that is told from a larger one.
        dropout: in training, of what every part adds.

    Shapes: ``ids [B, N]`` → ``[B, D, N]``; with ``lengths [B]`` an item is what it is alone, and 0 behind its
    end.
    """

    def __init__(
        self, symbols: int, width: int, *, layers: int, heads: int, hidden: int, reach: int, dropout: float
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        self.scale = width**0.5
        self.prenet = Convolutions(width, width, width, layers=3, kernel=5, dropout=dropout)
        self.layers = nn.ModuleList(_Layer(width, heads, hidden, reach, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
        x = cleared(self.scale * self.embedding(ids).mT, lengths)
        x = (x + self.prenet(x, lengths)).mT
        for layer in self.layers:
            x = layer(x, lengths)
        return cleared(self.norm(x).mT, lengths)


class Convolutions(nn.Module):
    """``h ← dropout(norm(gelu(W ∗ h)))``, so many times, and a 1×1 convolution that starts at zero.

    Shapes: ``[B, in, N]`` → ``[B, out, N]``, 0 behind the end of an item.
    """

    def __init__(
        self, inputs: int, outputs: int, hidden: int, *, layers: int, kernel: int, dropout: float
    ) -> None:
        super().__init__()
        widths = [inputs, *[hidden] * layers]
        self.layers = nn.ModuleList(
            nn.Conv1d(*pair, kernel, padding=kernel // 2) for pair in pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        self.end = nn.Conv1d(hidden, outputs, 1)
        nn.init.zeros_(self.end.weight)
        nn.init.zeros_(self.end.bias)  # type: ignore[arg-type]  # nn.Conv1d types its bias as optional

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = cleared(self.dropout(norm(F.gelu(layer(x)).mT)).mT, lengths)
        return cleared(self.end(x), lengths)


class _Layer(nn.Module):
    """``x + attention(norm x)``, then ``x + W₂ gelu(W₁ ∗ norm x)``; ``[B, N, D]``."""

    def __init__(self, width: int, heads: int, hidden: int, reach: int, dropout: float) -> None:
        super().__init__()
        self.attention = _Attention(width, heads, reach)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.wide = nn.Conv1d(width, hidden, 3, padding=1)
        self.narrow = nn.Conv1d(hidden, width, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        x = x + self.dropout(self.attention(self.norms[0](x), lengths))
        inner = F.gelu(self.wide(cleared(self.norms[1](x).mT, lengths)))
        return x + self.dropout(self.narrow(self.dropout(inner)).mT)


class _Attention(nn.Module):
    """Softmax attention with a bias by relative position."""

    def __init__(self, width: int, heads: int, reach: int) -> None:
        super().__init__()
        self.heads, self.reach = heads, reach
        self.into = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros(heads, 2 * reach + 1))

    def forward(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        query, key, value = self.into(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mask = self._mask(x.shape[1], lengths)
        answer = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.out(answer.transpose(1, 2).flatten(2))

    def _mask(self, symbols: int, lengths: Tensor | None) -> Tensor:
        """What is added to the logits, ``[1 or B, H, N, N]``; −∞ for keys behind an item's end."""
        place = torch.arange(symbols, device=self.bias.device)
        distance = (place - place[:, None]).clamp(-self.reach, self.reach) + self.reach
        bias = self.bias[:, distance][None]
        if lengths is None:
            return bias
        return bias.masked_fill((place >= lengths[:, None])[:, None, None], -torch.inf)
