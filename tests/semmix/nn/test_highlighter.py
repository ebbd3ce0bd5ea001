from __future__ import annotations

import pytest
import tolerances
import torch
from torch import Tensor

from semmix.nn.attention import Attention
from semmix.nn.highlighter import HighlighterBlock

WIDTH, HEADS, WINDOW = 12, 2, 5


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def block() -> HighlighterBlock:
    torch.manual_seed(3)
    block = HighlighterBlock(WIDTH, HEADS, hidden=16, window=WINDOW)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter += 0.2 * torch.randn(parameter.shape)
    return block


def empty(batch: int = 1) -> Tensor:
    return torch.zeros(batch, WINDOW, 2 * WIDTH)


def cues(frames: int, batch: int = 1) -> tuple[Tensor, Tensor]:
    """Tokens and the log share of each in each frame."""
    share = torch.softmax(noise(batch, 1, frames, 4, seed=9), -1)
    return noise(batch, 4, WIDTH, seed=8), share.log()


def plain_heads(
    layer: Attention, query: Tensor, keys: Tensor, values: Tensor, bias: Tensor
) -> Tensor:
    """One query `[D]` over `keys, values [K, D]` with a bias `[H, K]`, head by head."""
    size = WIDTH // HEADS
    parts = []
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        scores = keys[:, part] @ query[part] / size**0.5 + bias[head]
        parts.append(torch.softmax(scores, 0) @ values[:, part])
    return layer.to_out(torch.cat(parts))


@torch.no_grad()
def test_a_block_equals_a_plain_loop_over_frames(block: HighlighterBlock) -> None:
    """Each frame sees itself and `window` frames before it; before the start stand zeros."""
    frames = 9
    h = noise(1, frames, WIDTH)
    tokens, token_bias = cues(frames)
    own, cross = block.self_attention, block.cross_attention
    normed = block.norm1(h[0])
    keys = torch.cat((torch.zeros(WINDOW, WIDTH), own.to_k(normed)))
    values = torch.cat((torch.zeros(WINDOW, WIDTH), own.to_v(normed)))
    expected = []
    for t in range(frames):
        seen = slice(t, t + WINDOW + 1)
        # The bias is learned by distance, and the oldest frame comes first.
        bias = block.relative_bias.flip(1)
        x = h[0, t] + plain_heads(own, own.to_q(normed[t]), keys[seen], values[seen], bias)
        bias = token_bias[0, 0, t].expand(HEADS, -1)
        query = cross.to_q(block.norm2(x))
        x = x + plain_heads(cross, query, cross.to_k(tokens[0]), cross.to_v(tokens[0]), bias)
        expected.append(x + block.feed_forward(block.norm3(x)))
    ours, cache = block(h, tokens, token_bias, empty())
    torch.testing.assert_close(
        ours[0], torch.stack(expected), rtol=0.0, atol=tolerances.LAYER_FLOAT32
    )
    expected_cache = torch.cat((keys[-WINDOW:], values[-WINDOW:]), 1)
    torch.testing.assert_close(cache[0], expected_cache, rtol=0, atol=tolerances.LAYER_FLOAT32)


def test_a_frame_sees_itself_and_exactly_the_window_before_it(block: HighlighterBlock) -> None:
    frames = 14
    h = noise(1, frames, WIDTH).requires_grad_()
    output, _ = block(h, *cues(frames), empty())
    for t in range(frames):
        (gradient,) = torch.autograd.grad(output[0, t].sum(), h, retain_graph=True)
        seen = torch.nonzero(gradient[0].abs().amax(1)).flatten().tolist()
        assert seen == list(range(max(0, t - WINDOW), t + 1))


@torch.no_grad()
def test_the_position_bias_is_learned_by_distance(block: HighlighterBlock) -> None:
    frames = 7
    bias = block.position_bias(frames)
    assert bias.shape == (HEADS, frames, WINDOW + frames)
    for i in range(frames):
        for j in range(WINDOW + frames):
            distance = i + WINDOW - j
            if 0 <= distance <= WINDOW:
                assert torch.equal(bias[:, i, j], block.relative_bias[:, distance])
            else:
                assert torch.all(bias[:, i, j] <= -1e4)
    # A closed score must not overflow in FP16.
    assert torch.isfinite(bias.half()).all()


@pytest.mark.parametrize("chunks", [[1] * 12, [3, 9], [8, 2, 2], [12]])
@torch.no_grad()
def test_chunks_with_a_cache_equal_the_whole(block: HighlighterBlock, chunks: list[int]) -> None:
    h = noise(2, 12, WIDTH)
    tokens, token_bias = cues(12, batch=2)
    whole, last = block(h, tokens, token_bias, empty(2))
    cache, parts, start = empty(2), [], 0
    for size in chunks:
        part = slice(start, start + size)
        output, cache = block(h[:, part], tokens, token_bias[:, :, part], cache)
        parts.append(output)
        start += size
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0.0, atol=tolerances.STREAM_FLOAT32)
    torch.testing.assert_close(cache, last, rtol=0.0, atol=tolerances.STREAM_FLOAT32)
