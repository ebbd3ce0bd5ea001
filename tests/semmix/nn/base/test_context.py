"""The context encoder against PyTorch's own attention, in both modes."""

from __future__ import annotations

import numpy as np
import pytest
import tolerances
import torch
from support_base import liven, noise
from torch import Tensor, nn

from semmix.nn.base.config import ContextAttention
from semmix.nn.base.context import ContextEncoder, ContextLayer, PackedAttention, sinusoids

WIDTH, HEADS = 24, 3
MODES: tuple[ContextAttention, ...] = ("time", "released")


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0.0, atol=tolerances.LAYER_FLOAT32)


@pytest.mark.parametrize("mode", MODES)
@torch.no_grad()
def test_attention_equals_that_of_pytorch_with_or_without_batch_first(
    mode: ContextAttention,
) -> None:
    ours = liven(PackedAttention(WIDTH, HEADS, mode))
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=mode == "time").eval()
    theirs.load_state_dict(ours.state_dict())
    x, positions = noise(4, 6, WIDTH), sinusoids(6, WIDTH)
    expected, _ = theirs(x + positions, x + positions, x, need_weights=False)
    assert_close(ours(x, positions), expected)


@pytest.mark.parametrize("mode", MODES)
@torch.no_grad()
def test_a_layer_equals_that_of_pytorch(mode: ContextAttention) -> None:
    ours = liven(ContextLayer(WIDTH, HEADS, mode))
    theirs = nn.TransformerEncoderLayer(
        *(WIDTH, HEADS, 2 * WIDTH),
        dropout=0.0,
        activation="gelu",
        batch_first=mode == "time",
        norm_first=True,
    ).eval()
    theirs.load_state_dict(ours.state_dict())
    x = noise(4, 6, WIDTH)
    assert_close(ours(x, torch.zeros(6, WIDTH)), theirs(x))


@torch.no_grad()
def test_released_attention_of_one_clip_sees_each_token_alone() -> None:
    layer = liven(PackedAttention(WIDTH, HEADS, "released"))
    x = noise(1, 6, WIDTH)
    weight, bias = layer.in_proj_weight[2 * WIDTH :], layer.in_proj_bias[2 * WIDTH :]
    expected = layer.out_proj(nn.functional.linear(x, weight, bias))
    # Positions act on queries and keys, and of a single key the weight is one.
    assert_close(layer(x, sinusoids(6, WIDTH)), expected)
    assert_close(layer(x, torch.zeros(6, WIDTH)), expected)


@torch.no_grad()
def test_released_attention_mixes_the_clips_of_a_batch() -> None:
    encoder = liven(ContextEncoder(WIDTH, HEADS, 2, "released"))
    x = noise(3, 6, WIDTH)
    together = encoder(x)
    changed = x.clone()
    changed[2, 4] = noise(WIDTH, seed=1)
    after = encoder(changed)
    moved = (after - together).abs().amax(2) > tolerances.LAYER_FLOAT32
    # The same token of every clip, and no other.
    assert moved[:, 4].all()
    assert moved.sum() == 3


@torch.no_grad()
def test_attention_over_time_keeps_clips_apart_and_knows_the_order_of_tokens() -> None:
    encoder = liven(ContextEncoder(WIDTH, HEADS, 2, "time"))
    x = noise(3, 6, WIDTH)
    together = encoder(x)
    for n in range(3):
        assert_close(encoder(x[n : n + 1])[0], together[n])
    changed = x.clone()
    changed[1, 4] = noise(WIDTH, seed=1)
    moved = (encoder(changed) - together).abs().amax(2) > tolerances.LAYER_FLOAT32
    assert moved.tolist() == [[False] * 6, [True] * 6, [False] * 6]
    backwards = encoder(x.flip(1)).flip(1)
    assert (backwards - together).abs().max() > 1e-2


@torch.no_grad()
def test_without_layers_tokens_pass_unchanged() -> None:
    x = noise(2, 6, WIDTH)
    assert torch.equal(ContextEncoder(WIDTH, HEADS, 0, "time")(x), x)


def test_positions_are_sines_and_cosines_of_growing_wavelength() -> None:
    length, width = 60, 512
    expected = np.empty((length, width))
    for position in range(length):
        for pair in range(width // 2):
            angle = position / 10_000.0 ** (2 * pair / width)
            expected[position, 2 * pair] = np.sin(angle)
            expected[position, 2 * pair + 1] = np.cos(angle)
    np.testing.assert_allclose(
        sinusoids(length, width).numpy(), expected, rtol=0.0, atol=tolerances.SINE_FLOAT32
    )
