"""The latent highlighting transformer: what the picture says meets what the sound is.

It works on latent frames (several STFT frames each). Self-attention looks back over a fixed
window through a cache of keys and values; cross-attention reads the context tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semmix.nn.attention import Attention, GegluFeedForward


class HighlighterBlock(nn.Module):
    """Self-attention, cross-attention to the cues, GEGLU feed-forward, all pre-norm residual.

    Args:
        width, heads: attention size.
        hidden: feed-forward width.
        window: latent frames of the past that self-attention sees besides the present.
    """

    def __init__(self, width: int, heads: int, hidden: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(width)
        self.self_attention = Attention(width, heads)
        self.relative_bias = nn.Parameter(torch.zeros(heads, window + 1))
        self.norm2 = nn.LayerNorm(width)
        self.cross_attention = Attention(width, heads)
        self.norm3 = nn.LayerNorm(width)
        self.feed_forward = GegluFeedForward(width, hidden)

    def position_bias(self, frames: int) -> Tensor:
        """Score bias `[H, frames, window + frames]`: learned by distance, closed outside.

        Query `i` stands at column `window + i` and sees the distances 0 to `window`.
        """
        place = torch.arange(self.window + frames, device=self.relative_bias.device)
        distance = place[self.window :].unsqueeze(1) - place.unsqueeze(0)
        inside = (distance >= 0) & (distance <= self.window)
        bias = self.relative_bias[:, distance.clamp(0, self.window)]
        return torch.where(inside, bias, torch.full_like(bias, -1e4))  # finite in FP16 too

    def forward(
        self, h: Tensor, tokens: Tensor, token_bias: Tensor, cache: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Run one chunk.

        Args:
            h: latent frames `[B, T, D]`.
            tokens: context tokens `[B, S * K, D]`.
            token_bias: log share of each token in each latent frame `[B, 1, T, S * K]`.
            cache: past keys, and values beside them `[B, window, 2 D]`, zeros at the start.

        Returns:
            the latent frames and the next cache.
        """
        x = self.norm1(h)
        own = self.self_attention
        seen = torch.cat((cache, torch.cat((own.to_k(x), own.to_v(x)), 2)), 1)
        keys, values = seen.chunk(2, 2)
        h = h + own.attend(own.to_q(x), keys, values, self.position_bias(h.shape[1]))
        x = self.norm2(h)
        cross = self.cross_attention
        h = h + cross.attend(cross.to_q(x), cross.to_k(tokens), cross.to_v(tokens), token_bias)
        h = h + self.feed_forward(self.norm3(h))
        return h, seen[:, h.shape[1] :]
