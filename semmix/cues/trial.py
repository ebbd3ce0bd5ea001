"""Context for trials: what a model is told while it is compared, calibrated or timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from semmix.cues.text import TextEncoder, embed_segment
from semmix.cues.types import Cue, CueSegment, CueType
from semmix.specs import ModelSpec, Spec

Float32 = NDArray[np.float32]
Sentences = Mapping[CueType, str]


def trial_context(spec: Spec, shots: Sequence[Sentences]) -> Float32 | None:
    """The context of some shots, as a model takes it.

    Sentences are encoded where the model was trained with the text encoder that comes along. In
    place of those of other encoders stand seeded directions; an unknown cue is zero with either.

    Args:
        spec: of the model.
        shots: S shots, for each the sentences that are known.

    Returns:
        float32 `[S, K, E]`, or `[S, D]` for models with one vector a moment; None for a model
        without context.
    """
    if not isinstance(spec, ModelSpec):
        return None if spec.context == "none" else unit_vectors(len(shots), spec.context_dim)
    encoder = TextEncoder.default()
    if encoder.identifier == spec.text_encoder:
        known = [{kind: Cue(text, 1.0) for kind, text in shot.items()} for shot in shots]
        segments = [CueSegment(0.0, 1.0, 0.0, cues) for cues in known]
        return np.stack([embed_segment(s, encoder, spec.cue_types) for s in segments])
    kinds = len(spec.cue_types)
    vectors = unit_vectors(len(shots) * kinds, spec.embedding_dim)
    vectors = vectors.reshape(len(shots), kinds, spec.embedding_dim)
    for shot, rows in zip(shots, vectors, strict=True):
        rows[[CueType(kind) not in shot for kind in spec.cue_types]] = 0.0
    return vectors


def unit_vectors(count: int, width: int) -> Float32:
    """Seeded vectors `[count, width]` of length 1, as CLIP's and text encoders' are."""
    vectors: Float32 = np.random.default_rng(2).standard_normal((count, width), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors
