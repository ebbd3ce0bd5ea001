"""Clips heard at once, as training does it: whole and from silence on.

`remix` hears the same piece by piece (`semmix_rt.streaming`), and finds the same.
"""

from __future__ import annotations

import torch
from torch import Tensor

from semmix.nn import EdgeSemMix
from semmix.nn.edge import Masking


def heard(network: EdgeSemMix, mixture: Tensor, embeddings: Tensor, weights: Tensor) -> Masking:
    """What a network finds in clips, on the clips' own frames.

    Frames are padded so that every mask comes out, a look-ahead after its frame went in.

    Args:
        network: in training or not.
        mixture: scaled magnitudes `[B, M, F]`.
        embeddings: cue embeddings of each shot `[B, S, K, E]`.
        weights: share of each shot in each frame `[B, M, S]`.

    Returns:
        mask `[B, M, F]`, shares `[B, sources, M, F]`, gains of each frame
        `[B, M, sources]`; no state.
    """
    config = network.config
    size, frames, bins = mixture.shape
    lookahead = config.lookahead_frames
    total = -(-(frames + lookahead) // config.stride) * config.stride
    spectrum = mixture.new_zeros(size, total, bins)
    spectrum[:, :frames] = mixture
    # Weights belong to the frames that leave; those of the ends hold beyond them.
    place = (torch.arange(total, device=mixture.device) - lookahead).clamp(0, frames - 1)
    tokens = network.context_encoder(embeddings.flatten(0, 1))
    tokens = tokens.reshape(size, -1, *tokens.shape[1:])
    found = network.masking(spectrum, tokens, weights[:, place], *network.initial_state(size))
    kept = slice(lookahead, lookahead + frames)
    gains = found.gains.repeat_interleave(config.stride, 1)
    return Masking(found.mask[:, kept], found.shares[:, :, kept], gains[:, kept], ())
