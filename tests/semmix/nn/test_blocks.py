from __future__ import annotations

import numpy as np
import pytest
import tolerances
import torch
from torch import Tensor

from semmix.nn.blocks import BandBlock, delayed

BANDS, CHANNELS, HIDDEN, MIXER = 5, 4, 6, 3


def band_block(dilation: int) -> BandBlock:
    torch.manual_seed(dilation)
    block = BandBlock(BANDS, CHANNELS, HIDDEN, MIXER, dilation)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter += 0.3 * torch.randn(parameter.shape)
    return block


def stream(frames: int, batch: int = 2, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(BANDS, batch, frames, CHANNELS, generator=generator)


def start(block: BandBlock, batch: int = 2) -> Tensor:
    return torch.zeros(BANDS, batch, block.state_frames, CHANNELS)


def norm(x: np.ndarray, layer: torch.nn.LayerNorm) -> np.ndarray:
    weight, bias = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
    scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + layer.eps)
    return scaled * weight + bias


@pytest.mark.parametrize("dilation", [1, 3])
@torch.no_grad()
def test_a_block_equals_a_plain_loop_over_bands_and_frames(dilation: int) -> None:
    block = band_block(dilation)
    x = stream(8)
    p = {name: value.detach().double().numpy() for name, value in block.named_parameters()}
    buffer = np.concatenate((np.zeros((BANDS, 2, 2 * dilation, CHANNELS)), x.double().numpy()), 2)
    normed = norm(buffer, block.time_norm)
    y = np.zeros((BANDS, 2, 8, CHANNELS))
    for band in range(BANDS):
        for t in range(8):
            taps = [normed[band, :, t + k * dilation] for k in range(3)]
            hidden = np.concatenate(taps, 1) @ p["time_in"][band] + p["time_in_bias"][band]
            update = np.maximum(hidden, 0.0) @ p["time_out"][band] + p["time_out_bias"][band]
            y[band, :, t] = buffer[band, :, t + dilation] + update
    expected = y.copy()
    for b in range(2):
        for t in range(8):
            for c in range(CHANNELS):
                column = norm(y[:, b, t], block.band_norm)[:, c]
                mixed = np.maximum(p["band_in"] @ column + p["band_in_bias"][:, 0], 0.0)
                expected[:, b, t, c] += p["band_out"] @ mixed
    ours, past = block(x, start(block))
    np.testing.assert_allclose(ours.numpy(), expected, atol=tolerances.LAYER_FLOAT32)
    np.testing.assert_array_equal(past.numpy(), buffer[:, :, 8:].astype(np.float32))


@pytest.mark.parametrize("dilation", [1, 2, 8])
@torch.no_grad()
def test_a_block_without_weights_delays_by_its_dilation(dilation: int) -> None:
    block = band_block(dilation)
    for parameter in (block.time_out, block.time_out_bias, block.band_out):
        parameter.zero_()
    x = stream(12)
    y, _ = block(x, start(block))
    assert torch.equal(y[:, :, dilation:], x[:, :, : 12 - dilation])
    assert torch.all(y[:, :, :dilation] == 0.0)


@pytest.mark.parametrize("dilation", [1, 4])
@pytest.mark.parametrize("chunks", [[1] * 12, [5, 7], [2, 8, 2]])
@torch.no_grad()
def test_chunks_with_state_equal_the_whole(dilation: int, chunks: list[int]) -> None:
    """Chunks shorter than the state included."""
    block = band_block(dilation)
    x = stream(12)
    whole, last = block(x, start(block))
    past, parts, begin = start(block), [], 0
    for size in chunks:
        part, past = block(x[:, :, begin : begin + size], past)
        parts.append(part)
        begin += size
    torch.testing.assert_close(torch.cat(parts, 2), whole, rtol=0.0, atol=tolerances.STREAM_FLOAT32)
    assert torch.equal(past, last)


@pytest.mark.parametrize("dilation", [1, 3])
def test_a_frame_sees_one_dilation_back_and_ahead(dilation: int) -> None:
    block = band_block(dilation)
    x = stream(20, batch=1).requires_grad_()
    y, _ = block(x, start(block, 1))
    t = 12
    (gradient,) = torch.autograd.grad(y[0, 0, t].sum(), x)
    seen = torch.nonzero(gradient.abs().amax((0, 1, 3))).flatten().tolist()
    # What leaves at t is the frame a dilation earlier, with its two neighbours.
    assert seen == [t - 2 * dilation, t - dilation, t]
    assert torch.all(gradient.abs().amax((1, 2, 3)) > 0.0), "bands must reach each other"


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("held", [1, 3, 4, 9])
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 7])
def test_a_delay_joins_and_cuts(frames: int, held: int, dim: int) -> None:
    past, x = torch.randn(2, held, held, 3), torch.randn(2, frames, frames, 3)
    past, x = past.narrow(3 - dim, 0, 1), x.narrow(3 - dim, 0, 1)
    joined = torch.cat((past, x), dim)
    late, following = delayed(x, past, dim)
    assert torch.equal(late, joined.narrow(dim, 0, frames))
    assert torch.equal(following, joined.narrow(dim, frames, held))
