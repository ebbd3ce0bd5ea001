"""The latent highlighting transformer: the sound's innermost features read the context (VisAH,
section 4).

It adds to the latent what it finds, by a projection that starts at zero: an untrained network
passes the latent on unchanged.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import torch
from torch import Tensor, nn

from semmix.nn.attention import Attention
from semmix.nn.base.config import BaseConfig
from semmix.nn.base.context import ContextEncoder, sinusoids

NORM_GROUPS = 32
NORM_EPS = 1e-6
FEED_FORWARD_FACTOR = 4
MAX_POSITIONS = 5000
"""Rows of a published table of positions."""

POSITION_ATOL = 2e-3
"""Sines of up to 5000 radians in float32, on other machines."""


class LatentAttention(Attention):
    """Multi-head attention whose output projection has its published name, `to_out.0`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.add_module("to_out", nn.Sequential(self.to_out))

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """`x [B, Q, D]` reads `tokens [B, K, D]`: `[B, Q, D]`."""
        return self.attend(self.to_q(x), self.to_k(tokens), self.to_v(tokens), None)


class Geglu(nn.Module):
    """Linear to twice `hidden`, one half gated by the GELU of the other."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * hidden)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., width]` to `[..., hidden]`."""
        value, gate = self.proj(x).chunk(2, -1)
        y: Tensor = value * nn.functional.gelu(gate)
        return y


class FeedForward(nn.Module):
    """`semmix.nn.attention.GegluFeedForward` under its published names, `net.0.proj` and `net.2`.

    Place 1 of the published sequence is a dropout of zero.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = FEED_FORWARD_FACTOR * width
        self.net = nn.Sequential(Geglu(width, hidden), nn.Identity(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        """`[..., width]` to `[..., width]`."""
        y: Tensor = self.net(x)
        return y


class HighlightingBlock(nn.Module):
    """Self-attention, cross-attention to the context and feed-forward, all pre-norm residual."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn1 = LatentAttention(width, heads)
        self.attn2 = LatentAttention(width, heads)
        self.ff = FeedForward(width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, h: Tensor, tokens: Tensor | None) -> Tensor:
        """`h [B, T, D]` and `tokens [B, K, D]` to `[B, T, D]`.

        Without tokens, the second attention is one more self-attention.
        """
        x = self.norm1(h)
        h = h + self.attn1(x, x)
        x = self.norm2(h)
        h = h + self.attn2(x, x if tokens is None else tokens)
        y: Tensor = h + self.ff(self.norm3(h))
        return y


class LatentTransformer(nn.Module):
    """The transformer at the bottom of the U-Net; frames carry no positions."""

    def __init__(self, config: BaseConfig) -> None:
        super().__init__()
        channels, width = config.latent_channels, config.width
        self.norm = nn.GroupNorm(NORM_GROUPS, channels, eps=NORM_EPS)
        self.proj_in = nn.Conv1d(channels, width, 1)
        self.transformer_blocks = nn.ModuleList(
            HighlightingBlock(width, config.heads) for _ in range(config.depth)
        )
        self.context_dim = config.context_dim
        if self.context_dim is not None:
            self.context_proj = nn.Linear(self.context_dim, width)
            self.context_transformer_encoder = ContextEncoder(
                width, config.heads, config.context_layers, config.context_attention
            )
        self.proj_out = nn.Conv1d(width, channels, 1)
        nn.init.zeros_(self.proj_out.weight)
        assert self.proj_out.bias is not None
        nn.init.zeros_(self.proj_out.bias)
        self.register_load_state_dict_pre_hook(_take_out_positions)  # type: ignore[no-untyped-call]

    def encode_context(self, context: Tensor | None) -> Tensor | None:
        """Context vectors `[B, K, D]` to tokens `[B, K, 512]`; None where the model takes none.

        Raises:
            ValueError: no context for a model with one, or the other way round, or its width.
        """
        if context is None and self.context_dim is None:
            return None
        if self.context_dim is None:
            raise ValueError("this network takes no context: build it with context text or vision")
        if context is None or context.dim() != 3 or context.shape[2] != self.context_dim:
            found = "none" if context is None else list(context.shape)
            raise ValueError(f"this network takes context [B, K, {self.context_dim}], not {found}")
        tokens: Tensor = self.context_transformer_encoder(self.context_proj(context))
        return tokens

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        """Highlight the latent.

        Args:
            x: `[B, 768, T']`.
            context: `[B, K, D]`, or None for a network without context.

        Returns:
            `[B, 768, T']`.

        Raises:
            ValueError: see `encode_context`.
        """
        return self.attend(x, self.encode_context(context))

    def attend(self, x: Tensor, tokens: Tensor | None) -> Tensor:
        """Highlight the latent `[B, 768, T']` by tokens `[B, K, 512]` of `encode_context`."""
        h = self.proj_in(self.norm(x)).transpose(1, 2)
        for block in self.transformer_blocks:
            h = block(h, tokens)
        y: Tensor = x + self.proj_out(h.transpose(1, 2))
        return y


def _take_out_positions(
    module: nn.Module,
    state: MutableMapping[str, Any],
    prefix: str,
    _metadata: dict[str, Any],
    _strict: bool,
    _missing: list[str],
    _unexpected: list[str],
    errors: list[str],
) -> None:
    """Accept the position tables in a published checkpoint, which here are computed.

    The table for the frames is never read. Tables that are not sinusoids are refused: the network
    would not do what their owner trained.
    """
    assert isinstance(module, LatentTransformer)
    channels, width = module.proj_in.in_channels, module.proj_in.out_channels
    for name, size in (("pe.pe", channels), ("pe_context.pe", width)):
        table = state.pop(prefix + name, None)
        if table is not None and not _are_sinusoids(table, size):
            errors.append(f"{prefix}{name} is not the table of sinusoids this network computes")


def _are_sinusoids(table: object, width: int) -> bool:
    """Whether this is `[1, up to 5000, width]` and holds what its shape says it does.

    The shape is a stranger's word, and a table is made of it: a longer one is refused unread.
    """
    if not isinstance(table, Tensor) or table.dim() != 3:
        return False
    batch, rows, columns = table.shape
    if batch != 1 or not 0 < rows <= MAX_POSITIONS or columns != width:
        return False
    known = sinusoids(rows, width, device=table.device)
    return torch.allclose(table[0].float(), known, rtol=0.0, atol=POSITION_ATOL)
