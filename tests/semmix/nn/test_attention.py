"""Attention, feed-forward and context layers against PyTorch's own."""

from __future__ import annotations

import numpy as np
import pytest
import tolerances
import torch
from scipy.special import erf
from torch import Tensor, nn

from semmix.nn.attention import Attention, GegluFeedForward
from semmix.nn.context import ContextEncoder, ContextLayer

WIDTH, HEADS = 24, 3


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def attention() -> Attention:
    torch.manual_seed(5)
    return Attention(WIDTH, HEADS)


def torch_attention(ours: Attention) -> nn.MultiheadAttention:
    """PyTorch's attention with our weights."""
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    with torch.no_grad():
        weights = (ours.to_q.weight, ours.to_k.weight, ours.to_v.weight)
        theirs.in_proj_weight.copy_(torch.cat(weights))
        theirs.in_proj_bias.zero_()
        theirs.out_proj.weight.copy_(ours.to_out.weight)
        theirs.out_proj.bias.copy_(ours.to_out.bias)
    return theirs


def attend(ours: Attention, x: Tensor, context: Tensor, bias: Tensor | None = None) -> Tensor:
    return ours.attend(ours.to_q(x), ours.to_k(context), ours.to_v(context), bias)


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0.0, atol=tolerances.LAYER_FLOAT32)


@torch.no_grad()
def test_attention_equals_that_of_pytorch(attention: Attention) -> None:
    x, context = noise(2, 7, WIDTH), noise(2, 11, WIDTH, seed=1)
    expected, _ = torch_attention(attention)(x, context, context, need_weights=False)
    assert_close(attend(attention, x, context), expected)


@torch.no_grad()
def test_a_bias_is_added_to_the_scores_of_each_head_and_query(attention: Attention) -> None:
    x, context = noise(2, 7, WIDTH), noise(2, 11, WIDTH, seed=1)
    bias = 2.0 * noise(2, HEADS, 7, 11, seed=2)
    expected, _ = torch_attention(attention)(
        x, context, context, attn_mask=bias.flatten(0, 1), need_weights=False
    )
    assert_close(attend(attention, x, context, bias), expected)


@pytest.mark.parametrize("shape", [(HEADS, 7, 11), (2, 1, 7, 11), (1, 1, 1, 11)])
@torch.no_grad()
def test_a_bias_is_broadcast(attention: Attention, shape: tuple[int, ...]) -> None:
    x, context = noise(2, 7, WIDTH), noise(2, 11, WIDTH, seed=1)
    bias = 2.0 * noise(*shape, seed=2)
    heads = [
        t.unflatten(-1, (HEADS, -1)).transpose(1, 2)
        for t in (attention.to_q(x), attention.to_k(context), attention.to_v(context))
    ]
    mixed = nn.functional.scaled_dot_product_attention(
        *heads, attn_mask=bias.expand(2, HEADS, 7, 11)
    )
    expected = attention.to_out(mixed.transpose(1, 2).flatten(2))
    assert_close(attend(attention, x, context, bias), expected)


def test_a_width_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="25 is not a multiple of 3"):
        Attention(25, 3)


@torch.no_grad()
def test_the_feed_forward_gates_by_the_exact_gelu() -> None:
    torch.manual_seed(6)
    layer = GegluFeedForward(8, 12)
    x = 2.0 * noise(2, 5, 8)

    def array(tensor: Tensor) -> np.ndarray:
        return tensor.detach().double().numpy()

    projected = array(x) @ array(layer.project.weight).T + array(layer.project.bias)
    value, gate = projected[..., :12], projected[..., 12:]
    hidden = value * gate * 0.5 * (1.0 + erf(gate / np.sqrt(2.0)))
    expected = hidden @ array(layer.out.weight).T + array(layer.out.bias)
    np.testing.assert_allclose(layer(x).numpy(), expected, atol=tolerances.LAYER_FLOAT32)


# --- The context encoder ------------------------------------------------------------------------


@torch.no_grad()
def test_a_context_layer_equals_that_of_pytorch() -> None:
    torch.manual_seed(7)
    ours = ContextLayer(WIDTH, HEADS, 40)
    theirs = nn.TransformerEncoderLayer(
        WIDTH, HEADS, 40, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    ).eval()
    for parameter in ours.parameters():
        parameter += 0.2 * torch.randn(parameter.shape)
    theirs.self_attn = torch_attention(ours.attention)
    for name in ("norm1", "norm2", "linear1", "linear2"):
        getattr(theirs, name).load_state_dict(getattr(ours, name).state_dict())
    x = noise(4, 6, WIDTH)
    assert_close(ours(x), theirs(x))


@torch.no_grad()
def test_segments_are_encoded_each_for_itself() -> None:
    torch.manual_seed(8)
    encoder = ContextEncoder(6, 10, WIDTH, layers=2, heads=HEADS)
    embeddings = noise(3, 6, 10)
    together = encoder(embeddings)
    assert together.shape == (3, 6, WIDTH)
    for n in range(3):
        assert_close(encoder(embeddings[n : n + 1])[0], together[n])


@torch.no_grad()
def test_without_layers_a_token_is_its_sentence_and_its_type() -> None:
    torch.manual_seed(9)
    encoder = ContextEncoder(6, 10, WIDTH, layers=0, heads=HEADS)
    embeddings = noise(2, 6, 10)
    weight, bias = encoder.context_proj.weight, encoder.context_proj.bias
    expected = 10.0**0.5 * embeddings @ weight.T + bias + encoder.type_embedding
    assert_close(encoder(embeddings), expected)
    unknown = encoder(torch.zeros(1, 6, 10))[0]
    assert_close(unknown, bias + encoder.type_embedding)
