"""What every metric asks of its signals, and the rate the published numbers are taken at."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import ArrayLike, NDArray

from semmix.errors import UsageError

Float64 = NDArray[np.float64]

METRIC_RATE_HZ = 44_100
"""Rate the window and hop of MAG are defined at; compare clips of other rates through it."""

PUBLISHED_SCALE = 100.0
"""The tables of the SemMix and VisAH papers print MAG, ENV and W-dis times this factor."""


def as_signal(signal: ArrayLike, label: str) -> Float64:
    """A clip as float64 `[N]`.

    Raises:
        UsageError: `signal` is not one-dimensional, is empty, or holds NaN or infinity.
    """
    array = np.asarray(signal, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise UsageError(
            f"the {label} has the shape {array.shape}: a metric takes one channel of at least "
            "one sample, [N]"
        )
    if not np.isfinite(array).all():
        raise UsageError(f"the {label} holds NaN or infinity: repair the clip first")
    return array


def as_pair(reference: ArrayLike, estimate: ArrayLike) -> tuple[Float64, Float64]:
    """Two clips of the same length, float64 `[N]` each.

    Raises:
        UsageError: one is not a signal (`as_signal`), or their lengths differ.
    """
    first = as_signal(reference, "reference")
    second = as_signal(estimate, "estimate")
    if first.size != second.size:
        raise UsageError(
            f"the reference has {first.size} samples and the estimate {second.size}: "
            "cut them to the same length first"
        )
    return first, second


def at_44100(signal: ArrayLike, rate_hz: int) -> Float64:
    """A clip `[N]` at the rate the metrics are defined at, float64 `[M]`.

    Args:
        signal: one channel `[N]`.
        rate_hz: its sample rate; 44 100 returns the samples as they are.

    Raises:
        UsageError: `signal` is not a signal, or `rate_hz` is not positive.
    """
    array = as_signal(signal, "clip")
    if rate_hz <= 0:
        raise UsageError(f"a sample rate of {rate_hz} Hz is not positive")
    if rate_hz == METRIC_RATE_HZ:
        return array
    resampled: Float64 = soxr.resample(array, rate_hz, METRIC_RATE_HZ, quality="VHQ")
    return resampled
