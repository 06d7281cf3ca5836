"""Which frame is heard at which sample."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.vocoder.laws import stirred
from vocoder.nets.upsample import FrameEncoder, TransposedUpsample, at_groups


@pytest.mark.parametrize(("hop", "group"), [(8, 2), (8, 8), (6, 3), (5, 1)])
def test_at_groups_is_linear_interpolation(hop: int, group: int) -> None:
    """NumPy's `interp`: frame k at sample k · hop, group s at its centre, the last value kept to the end."""
    frames = torch.randn(2, 3, 7, dtype=torch.float64)
    groups = 7 * hop // group
    centres = (np.arange(groups) + 0.5) * group
    expected = [[np.interp(centres, np.arange(7) * hop, row) for row in item] for item in frames.numpy()]
    np.testing.assert_allclose(at_groups(frames, groups, hop, group).numpy(), expected, rtol=0, atol=1e-13)


def test_at_groups_keeps_the_dtype() -> None:
    """Positions are counted in integers: half precision does not lose its way in a long clip."""
    frames = torch.zeros(1, 1, 4000, dtype=torch.bfloat16)
    frames[..., 3001] = 1
    read = at_groups(frames, 4 * 4000, hop=8, group=2)
    assert read.dtype == torch.bfloat16
    rise = [0.125, 0.375, 0.625, 0.875]
    assert read[0, 0, 4 * 3000 : 4 * 3002].tolist() == rise + rise[::-1]


@pytest.mark.parametrize(("window", "hop"), [(1024, 256), (800, 200), (12, 12), (10, 4)])
def test_transposed_upsample_sees_the_frames_up_to_now(window: int, hop: int) -> None:
    """Sample t sees the frames with k · hop ≤ t < k · hop + window: with 1024/256, ⌊t/hop⌋ − 3 … ⌊t/hop⌋."""
    net, frames = TransposedUpsample(1, window, hop, group=1), 8
    torch.nn.init.ones_(net.conv.weight)
    seen = net(torch.eye(frames)[:, None], frames * hop)[:, 0] > 0.5  # frame k is all that clip k has
    t = torch.arange(frames * hop)
    for k in range(frames):
        assert torch.equal(seen[k], (k * hop <= t) & (t < k * hop + window))
    oldest = t // hop - seen.int().argmax(0)
    assert oldest.max() == net.reach == (window - 1) // hop


def test_transposed_upsample_is_squeezed_like_the_audio() -> None:
    """Channel m·G + g of group s is band m at sample s·G + g."""
    net, mel = TransposedUpsample(3, 16, 8, group=4).double(), torch.randn(2, 3, 5, dtype=torch.float64)
    features, audio_rate = net(mel, groups=10), net.conv(mel)
    assert features.shape == (2, 12, 10)
    for m, g, s in [(0, 0, 0), (1, 3, 4), (2, 2, 9)]:
        torch.testing.assert_close(features[:, m * 4 + g, s], audio_rate[:, m, s * 4 + g])


def _encoder(layers: int) -> FrameEncoder:
    return stirred(FrameEncoder(4, 6, layers, hop=8, group=2).double())


@pytest.mark.parametrize("layers", [0, 2])
def test_frame_encoder_looks_as_far_as_it_says(layers: int) -> None:
    """A group of frame q hears q − 2 − layers … q + 3 + layers, which is `reach` to the right."""
    net, mel, q = _encoder(layers), torch.randn(1, 4, 30, dtype=torch.float64), 15
    touched = mel + torch.eye(30)[:, None]  # clip k has another frame k
    with torch.no_grad():
        before, after = net(mel, 120), net(touched, 120)
    assert before.shape == (1, 6, 120)
    heard = (before - after)[..., 4 * q : 4 * q + 4].abs().amax((1, 2)) > 1e-9
    assert heard.nonzero().flatten().tolist() == list(range(q - 2 - layers, q + 3 + layers + 1))
    assert net.reach == 3 + layers


def test_frame_encoder_reads_mels_by_their_usual_level() -> None:
    """A mel at the mean is the network's zero: only biases are heard."""
    net = _encoder(1)

    def said(mel: Tensor) -> Tensor:
        with torch.no_grad():
            return net(mel, 20)[0, :, 8]

    mean = torch.full((1, 4, 5), FrameEncoder.MEAN, dtype=torch.float64)
    weightless = _encoder(1)
    weightless.load_state_dict(net.state_dict())
    torch.nn.init.zeros_(weightless.start.weight)
    with torch.no_grad():
        torch.testing.assert_close(said(mean), weightless(mean + 1, 20)[0, :, 8])
    assert not torch.allclose(said(mean), said(mean + FrameEncoder.STD))
