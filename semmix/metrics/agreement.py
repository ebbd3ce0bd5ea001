"""How closely two computations of the same thing agree: one engine beside another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semmix.errors import UsageError

Float32 = NDArray[np.float32]

LIMIT_DB = 200.0
"""Ratio of equal arrays: more than float64 could tell."""

_QUANTILE = 0.999


@dataclass(frozen=True, slots=True)
class MaskAgreement:
    """Two masks beside each other, as linear gains; differences are infinite where one is NaN.

    Attributes:
        max_abs: largest difference of a gain.
        p999_abs: difference that one gain in a thousand exceeds.
        snr_db: energy of the reference over that of the difference (`snr_db`).
    """

    max_abs: float
    p999_abs: float
    snr_db: float


def compare_masks(reference: Float32, other: Float32) -> MaskAgreement:
    """Compare two masks of the same shape, of at least one gain.

    Raises:
        UsageError: the shapes differ, or there is nothing to compare.
    """
    _check_shapes(reference, other)
    if not reference.size:
        raise UsageError("masks without a single gain cannot be compared: give longer sound")
    if not _finite(reference, other):
        return MaskAgreement(np.inf, np.inf, -np.inf)
    difference = np.abs(reference.astype(np.float64) - other)
    return MaskAgreement(
        max_abs=float(difference.max()),
        p999_abs=float(np.quantile(difference, _QUANTILE)),
        snr_db=snr_db(reference, other),
    )


def snr_db(reference: Float32, other: Float32) -> float:
    """Signal-to-difference ratio in dB: 200 for equal arrays, -inf where one is not finite.

    Raises:
        UsageError: the shapes differ.
    """
    _check_shapes(reference, other)
    # Comparisons with NaN are false: unchecked, a graph full of NaN would pass any gate.
    if not _finite(reference, other):
        return -np.inf
    signal = float(np.sum(np.square(reference, dtype=np.float64)))
    noise = float(np.sum(np.square(reference.astype(np.float64) - other)))
    if noise == 0.0:
        return LIMIT_DB
    return min(LIMIT_DB, 10.0 * float(np.log10(signal / noise + 1e-30)))


def _check_shapes(reference: Float32, other: Float32) -> None:
    """Shapes that NumPy would stretch to each other are not the same thing twice."""
    if reference.shape != other.shape:
        raise UsageError(
            f"arrays of the shapes {list(reference.shape)} and {list(other.shape)} cannot be "
            "compared: cut them alike first"
        )


def _finite(reference: Float32, other: Float32) -> bool:
    return bool(np.isfinite(reference).all() and np.isfinite(other).all())
