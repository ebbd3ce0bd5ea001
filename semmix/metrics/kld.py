"""KLD: how differently a tagger hears two clips (VisAH, section 5.1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from semmix.errors import UsageError
from semmix.metrics.signals import Float64, as_pair

PROBABILITY_FLOOR = 1e-6
"""Added to the estimate's probabilities before the logarithm, as the published metric does."""


def kld(reference: ArrayLike, estimate: ArrayLike) -> float:
    """Kullback-Leibler divergence of an estimate's class distribution from the reference's.

    `sum(p * ln(p / (q + 1e-6)))`; 0 where they are equal, but for the floor.

    Args:
        reference: class probabilities of the target `[K]`, p.
        estimate: class probabilities of the clip to compare `[K]`, q.

    Returns:
        nats. Published tables show it times `PUBLISHED_SCALE`.

    Raises:
        UsageError: the two are not distributions over the same classes.
    """
    wanted, found = as_pair(reference, estimate)
    for values, label in ((wanted, "reference"), (found, "estimate")):
        if values.min() < 0.0 or abs(values.sum() - 1.0) > 1e-3:
            raise UsageError(
                f"the {label} sums to {values.sum():.4g}: give class probabilities of 0 or more "
                "that sum to 1"
            )
    known = wanted > 0.0
    ratio = np.log(wanted[known]) - np.log(found[known] + PROBABILITY_FLOOR)
    return float(np.sum(wanted[known] * ratio))


def softmax(logits: ArrayLike) -> Float64:
    """Probabilities of logits along the last axis, `[..., K] -> [..., K]`."""
    values = np.asarray(logits, dtype=np.float64)
    weights = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))
