"""The published WaveGlow as a straight line of equations, to hold ours against: torch only, nothing of ours.

Prenger, Valle & Catanzaro 2018, arXiv:1811.00002, section 2, with the details of the code that they
published: no padding in the upsampler and its tail cut, mel-major unfolding of the conditioning, (t, log s)
in that order, plain matrices in the 1×1 convolutions, early outputs before the steps 4 and 8,
z = [early@4 | early@8 | final].

Weights are a dict of tensors: `upsample.weight`, `upsample.bias`, and for the steps k = 0 … 11 `{k}.mix` and
`{k}.start|in.{i}|cond|res_skip.{i}|end.weight|bias`.

Letters: B batch, T samples, M bands, L frames, S groups.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import conv1d, conv_transpose1d

Weights = Mapping[str, Tensor]

FLOWS, GROUP, EARLY_EVERY, EARLY_SIZE = 12, 8, 4, 2


def squeeze(signal: Tensor) -> Tensor:
    """`[B, T]` → `[B, 8, S]`: sample 8s + g is channel g of group s."""
    return signal.unfold(1, GROUP, GROUP).permute(0, 2, 1)


def condition(mel: Tensor, samples: int, weights: Weights, hop: int) -> Tensor:
    """`[B, M, L]` → `[B, 8M, S]`: upsampled, cut, unfolded: channel 8m + g is band m at sample g."""
    upsampled = conv_transpose1d(mel, weights["upsample.weight"], weights["upsample.bias"], stride=hop)
    unfolded = upsampled[:, :, :samples].unfold(2, GROUP, GROUP).permute(0, 2, 1, 3)  # [B, S, M, 8]
    return unfolded.contiguous().view(unfolded.size(0), unfolded.size(1), -1).permute(0, 2, 1)


def wavenet(audio: Tensor, cond: Tensor, k: int, weights: Weights) -> tuple[Tensor, Tensor]:
    """(log s, t) = WN(x_a, mel): layers of dilation 2ⁱ until the weights of step k end."""
    layers = sum(name.startswith(f"{k}.in.") and name.endswith("weight") for name in weights)
    hidden = conv1d(audio, weights[f"{k}.start.weight"], weights[f"{k}.start.bias"])
    channels = hidden.size(1)
    conds = conv1d(cond, weights[f"{k}.cond.weight"], weights[f"{k}.cond.bias"])
    output = torch.zeros_like(hidden)
    for i in range(layers):
        weight, bias = weights[f"{k}.in.{i}.weight"], weights[f"{k}.in.{i}.bias"]
        dilation = 2**i
        acts = conv1d(hidden, weight, bias, dilation=dilation, padding=dilation * (weight.size(2) - 1) // 2)
        acts = acts + conds[:, 2 * channels * i : 2 * channels * (i + 1)]
        gated = torch.tanh(acts[:, :channels]) * torch.sigmoid(acts[:, channels:])
        res_skip = conv1d(gated, weights[f"{k}.res_skip.{i}.weight"], weights[f"{k}.res_skip.{i}.bias"])
        if i < layers - 1:
            hidden = hidden + res_skip[:, :channels]
            output = output + res_skip[:, channels:]
        else:
            output = output + res_skip
    end = conv1d(output, weights[f"{k}.end.weight"], weights[f"{k}.end.bias"])
    half = end.size(1) // 2
    return end[:, half:], end[:, :half]


def forward(audio: Tensor, mel: Tensor, weights: Weights, hop: int = 256) -> tuple[Tensor, Tensor]:
    """`audio [B, T]`, `mel [B, M, L]` → `z [B, 8, S]` and log |det ∂z/∂audio| `[B]`."""
    cond = condition(mel, audio.size(1), weights, hop)
    x = squeeze(audio)
    log_det = torch.zeros(audio.size(0), dtype=audio.dtype)
    outputs = []
    for k in range(FLOWS):
        if k % EARLY_EVERY == 0 and k > 0:
            outputs.append(x[:, :EARLY_SIZE])
            x = x[:, EARLY_SIZE:]
        matrix = weights[f"{k}.mix"]
        x = conv1d(x, matrix.unsqueeze(-1))
        log_det = log_det + x.size(2) * torch.linalg.slogdet(matrix).logabsdet
        half = x.size(1) // 2
        x_a, x_b = x[:, :half], x[:, half:]
        log_s, t = wavenet(x_a, cond, k, weights)
        x = torch.cat([x_a, torch.exp(log_s) * x_b + t], 1)
        log_det = log_det + log_s.sum((1, 2))
    outputs.append(x)
    return torch.cat(outputs, 1), log_det


def inverse(z: Tensor, mel: Tensor, weights: Weights, hop: int = 256) -> Tensor:
    """`z [B, 8, S]` in forward's order, `mel [B, M, L]` → `audio [B, T]`."""
    cond = condition(mel, GROUP * z.size(2), weights, hop)
    early = [z[:, start : start + EARLY_SIZE] for start in range(0, GROUP - 4, EARLY_SIZE)]
    x = z[:, GROUP - 4 :]
    for k in reversed(range(FLOWS)):
        half = x.size(1) // 2
        x_a, x_b = x[:, :half], x[:, half:]
        log_s, t = wavenet(x_a, cond, k, weights)
        x = torch.cat([x_a, (x_b - t) / torch.exp(log_s)], 1)
        x = conv1d(x, torch.linalg.inv(weights[f"{k}.mix"]).unsqueeze(-1))
        if k % EARLY_EVERY == 0 and k > 0:
            x = torch.cat([early.pop(), x], 1)
    return x.permute(0, 2, 1).reshape(x.size(0), -1)
