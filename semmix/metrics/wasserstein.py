"""W-dis: distance between the distributions of two clips' sample values (VisAH, section 5.1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from semmix.metrics.signals import Float64, as_signal


def wasserstein(reference: ArrayLike, estimate: ArrayLike) -> float:
    """Wasserstein-1 distance between the sample values of two clips.

    It sees loudness and crest, not the order of the samples: any permutation of a clip is at
    distance 0 from it. The clips may differ in length.

    Args:
        reference: target clip `[N]`, full scale 1.
        estimate: clip `[M]` to compare, in the same units.

    Returns:
        the distance in units of full scale. Published tables show it times `PUBLISHED_SCALE`.

    Raises:
        UsageError: a clip is not one channel of finite samples.
    """
    first = np.sort(as_signal(reference, "reference"))
    second = np.sort(as_signal(estimate, "estimate"))
    if first.size == second.size:
        return float(np.mean(np.abs(first - second)))
    return _area_between(first, second)


def _area_between(first: Float64, second: Float64) -> float:
    """Area between the cumulative distributions of two sorted samples."""
    values = np.sort(np.concatenate((first, second)))
    widths = np.diff(values)
    share_of_first = np.searchsorted(first, values[:-1], side="right") / first.size
    share_of_second = np.searchsorted(second, values[:-1], side="right") / second.size
    return float(np.sum(np.abs(share_of_first - share_of_second) * widths))
