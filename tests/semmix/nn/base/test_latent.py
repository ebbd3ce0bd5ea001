from __future__ import annotations

import pytest
import tolerances
import torch
from support_base import liven, noise
from torch import Tensor, nn

from semmix.nn.attention import GegluFeedForward
from semmix.nn.base.config import BaseConfig
from semmix.nn.base.latent import (
    FeedForward,
    HighlightingBlock,
    LatentAttention,
    LatentTransformer,
)

WIDTH, HEADS = 24, 3
SMALL = BaseConfig(
    context="vision", context_layers=1, channels=4, width=WIDTH, heads=HEADS, depth=2
)


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0.0, atol=tolerances.LAYER_FLOAT32)


def torch_attention(layer: LatentAttention, x: Tensor, tokens: Tensor) -> Tensor:
    """The layer's projections around PyTorch's attention."""
    q, k, v = (
        t.unflatten(2, (HEADS, -1)).transpose(1, 2)
        for t in (layer.to_q(x), layer.to_k(tokens), layer.to_v(tokens))
    )
    mixed = nn.functional.scaled_dot_product_attention(q, k, v)
    return layer.to_out(mixed.transpose(1, 2).flatten(2))


@torch.no_grad()
def test_cross_attention_equals_that_of_pytorch() -> None:
    layer = liven(LatentAttention(WIDTH, HEADS))
    x, tokens = noise(2, 9, WIDTH), noise(2, 5, WIDTH, seed=1)
    assert_close(layer(x, tokens), torch_attention(layer, x, tokens))
    assert {name for name, _ in layer.named_parameters()} == {
        *("to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight", "to_out.0.bias"),
    }


@torch.no_grad()
def test_the_feed_forward_is_the_edge_networks_under_other_names() -> None:
    ours = liven(FeedForward(WIDTH))
    theirs = GegluFeedForward(WIDTH, 4 * WIDTH)
    names = {"project": "net.0.proj", "out": "net.2"}
    state = ours.state_dict()
    theirs.load_state_dict(
        {
            f"{new}.{kind}": state[f"{old}.{kind}"]
            for new, old in names.items()
            for kind in ("weight", "bias")
        }
    )
    x = noise(2, 5, WIDTH)
    assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("with_context", [True, False])
@torch.no_grad()
def test_a_block_attends_to_the_sound_then_to_the_context(with_context: bool) -> None:
    block = liven(HighlightingBlock(WIDTH, HEADS))
    h = noise(2, 9, WIDTH)
    tokens = noise(2, 5, WIDTH, seed=1) if with_context else None
    x = block.norm1(h)
    expected = h + torch_attention(block.attn1, x, x)
    x = block.norm2(expected)
    expected = expected + torch_attention(block.attn2, x, x if tokens is None else tokens)
    expected = expected + block.ff(block.norm3(expected))
    assert_close(block(h, tokens), expected)


@torch.no_grad()
def test_a_fresh_transformer_passes_the_latent_on_unchanged() -> None:
    torch.manual_seed(0)
    transformer = LatentTransformer(SMALL)
    x = noise(2, 128, 9)
    assert torch.equal(transformer(x, noise(2, 5, 768, seed=1)), x)


@torch.no_grad()
def test_the_transformer_norms_projects_and_adds() -> None:
    transformer = liven(LatentTransformer(SMALL))
    x, context = 3.0 * noise(2, 128, 9) + 1.0, noise(2, 5, 768, seed=1)
    groups = x.reshape(2, 32, -1)
    spread = (groups.var(2, unbiased=False, keepdim=True) + 1e-6).sqrt()
    normed = ((groups - groups.mean(2, keepdim=True)) / spread).reshape(x.shape)
    normed = normed * transformer.norm.weight[:, None] + transformer.norm.bias[:, None]
    h = (transformer.proj_in.weight[..., 0] @ normed).transpose(1, 2) + transformer.proj_in.bias
    tokens = transformer.context_transformer_encoder(transformer.context_proj(context))
    for block in transformer.transformer_blocks:
        h = block(h, tokens)
    out = transformer.proj_out
    expected = x + out.weight[..., 0] @ h.transpose(1, 2) + out.bias[:, None]
    assert_close(transformer(x, context), expected)


@torch.no_grad()
def test_frames_carry_no_positions() -> None:
    """Self-attention treats the sound as a set: turned around, it gives the same turned around."""
    transformer = liven(LatentTransformer(SMALL))
    x, context = noise(1, 128, 9), noise(1, 5, 768, seed=1)
    assert_close(transformer(x.flip(2), context).flip(2), transformer(x, context))


@pytest.mark.parametrize(
    ("kind", "context", "message"),
    [
        ("vision", None, r"takes context \[B, K, 768\], not none"),
        ("vision", torch.zeros(1, 5, 4096), "768"),
        ("text", torch.zeros(1, 5, 768), "4096"),
        ("text", torch.zeros(5, 4096), "4096"),
        ("none", torch.zeros(1, 5, 768), "takes no context"),
    ],
)
def test_context_of_another_kind_is_refused(
    kind: str, context: Tensor | None, message: str
) -> None:
    config = BaseConfig(context=kind, channels=4, width=WIDTH, heads=HEADS, depth=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        LatentTransformer(config)(torch.zeros(1, 128, 3), context)
