"""Multi-head attention, written out so that every exporter sees plain matrix products."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention; q, k, v without bias, output with bias (as VisAH's)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of {heads} heads")
        self.heads = heads
        self.head_dim = width // heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(width, width, bias=False)
        self.to_v = nn.Linear(width, width, bias=False)
        self.to_out = nn.Linear(width, width)

    def split(self, x: Tensor) -> Tensor:
        """`[B, T, D]` to heads `[B, H, T, D / H]`."""
        batch, length, _ = x.shape
        return x.reshape(batch, length, self.heads, self.head_dim).transpose(1, 2)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        """Attention of projected `q [B, Q, D]` over `k, v [B, K, D]`.

        Args:
            q, k, v: projected, unsplit.
            bias: added to the scores, broadcastable to `[B, H, Q, K]`.

        Returns:
            `[B, Q, D]` after the output projection.
        """
        scores = self.split(q) @ self.split(k).transpose(2, 3) * self.head_dim**-0.5
        if bias is not None:
            scores = scores + bias
        mixed = torch.softmax(scores, -1) @ self.split(v)
        batch, _, length, _ = mixed.shape
        return self.to_out(mixed.transpose(1, 2).reshape(batch, length, -1))  # type: ignore[no-any-return]


class GegluFeedForward(nn.Module):
    """Linear to `2 hidden`, gate by GELU, linear back (VisAH's feed-forward)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, 2 * hidden)
        self.out = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Position-wise feed-forward on `[..., width]`."""
        value, gate = self.project(x).chunk(2, -1)
        return self.out(value * nn.functional.gelu(gate))  # type: ignore[no-any-return]
