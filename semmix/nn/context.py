"""The context encoder: cue embeddings to context tokens (SemMix's L layers)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semmix.nn.attention import Attention


class ContextLayer(nn.Module):
    """Pre-norm self-attention over the cue tokens of one segment, then a GELU feed-forward."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, K, D]` to `[N, K, D]`."""
        h = self.norm1(x)
        attention = self.attention
        x = x + attention.attend(attention.to_q(h), attention.to_k(h), attention.to_v(h), None)
        return x + self.linear2(nn.functional.gelu(self.linear1(self.norm2(x))))  # type: ignore[no-any-return]


class ContextEncoder(nn.Module):
    """Encode the cues of each segment into one token a cue type.

    A token knows its cue type by a learned vector, so that a row of zeros (an unknown cue)
    still says which kind of knowledge is missing.

    Args:
        cue_types: number of cue types K.
        embedding_dim: width E of a text embedding.
        width: token width D.
        layers: L, the paper's context-encoder depth.
    """

    def __init__(
        self, cue_types: int, embedding_dim: int, width: int, layers: int, heads: int
    ) -> None:
        super().__init__()
        self.context_proj = nn.Linear(embedding_dim, width)
        self.type_embedding = nn.Parameter(torch.randn(cue_types, width) * 0.3)
        # Unit-length sentence vectors have entries near 1/sqrt(E): bring them to the size of
        # the type vectors, or the types would drown what the sentences say.
        self.gain = float(embedding_dim**0.5)
        self.layers = nn.ModuleList(ContextLayer(width, heads, 2 * width) for _ in range(layers))

    def forward(self, embeddings: Tensor) -> Tensor:
        """`[N, K, E]` to tokens `[N, K, D]`."""
        x = self.context_proj(embeddings * self.gain) + self.type_embedding
        for layer in self.layers:
            x = layer(x)
        return x  # type: ignore[no-any-return]
