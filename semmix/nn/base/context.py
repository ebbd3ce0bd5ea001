"""The context encoder: what the picture says, token by token (VisAH, section 4; SemMix's L).

Not `semmix.nn.context`: published weights have queries, keys and values packed in one matrix with
biases, positions instead of cue types, and the choice below.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from semmix.nn.base.config import ContextAttention


def sinusoids(length: int, width: int, *, device: torch.device | None = None) -> Tensor:
    """Positions `[length, width]`: sines in even and cosines in odd columns.

    Wavelengths grow geometrically from 2 pi to 10 000 times 2 pi tokens. `width` is even.
    """
    column = torch.arange(0, width, 2, dtype=torch.float32, device=device)
    position = torch.arange(length, dtype=torch.float32, device=device)
    angle = position[:, None] * torch.exp(column * (-math.log(10_000.0) / width))
    return torch.stack((angle.sin(), angle.cos()), 2).flatten(1)


class PackedAttention(nn.Module):
    """Multi-head self-attention with PyTorch's parameter names, written out for exporters.

    Args:
        width, heads: size.
        mode: `time` attends along K, over the tokens of a clip. `released` attends along B, over
            the clips of a batch, at each token: the published module takes its sequence axis
            first and is fed the batch first. Of one clip alone, a token then sees only itself.
    """

    def __init__(self, width: int, heads: int, mode: ContextAttention) -> None:
        super().__init__()
        self.heads = heads
        self.mode = mode
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """`x [B, K, D]` to `[B, K, D]`; `positions [K, D]` act on queries and keys alone."""
        placed = x + positions
        if self.mode == "released":
            x, placed = x.transpose(0, 1), placed.transpose(0, 1)
        weights = self.in_proj_weight.chunk(3)
        biases = self.in_proj_bias.chunk(3)
        q, k, v = (
            self._split(nn.functional.linear(source, weight, bias))
            for source, weight, bias in zip((placed, placed, x), weights, biases, strict=True)
        )
        scores = q @ k.transpose(2, 3) * q.shape[3] ** -0.5
        mixed = torch.softmax(scores, -1) @ v
        y: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return y.transpose(0, 1) if self.mode == "released" else y

    def _split(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        return x.reshape(batch, length, self.heads, width // self.heads).transpose(1, 2)


class ContextLayer(nn.Module):
    """Pre-norm self-attention with positions, then a GELU feed-forward of twice the width."""

    def __init__(self, width: int, heads: int, mode: ContextAttention) -> None:
        super().__init__()
        self.self_attn = PackedAttention(width, heads, mode)
        self.linear1 = nn.Linear(width, 2 * width)
        self.linear2 = nn.Linear(2 * width, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """`x [B, K, D]`, `positions [K, D]` to `[B, K, D]`."""
        x = x + self.self_attn(self.norm1(x), positions)
        y: Tensor = x + self.linear2(nn.functional.gelu(self.linear1(self.norm2(x))))
        return y


class ContextEncoder(nn.Module):
    """L context layers, without a norm at the end.

    Args:
        layers: L; with 0 of them the tokens pass unchanged.
    """

    def __init__(self, width: int, heads: int, layers: int, mode: ContextAttention) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ContextLayer(width, heads, mode) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """Tokens `[B, K, D]` to tokens `[B, K, D]`."""
        positions = sinusoids(x.shape[1], x.shape[2], device=x.device).to(x.dtype)
        for layer in self.layers:
            x = layer(x, positions)
        return x
