"""SI-SDR: how much of a signal is the reference, whatever its level.

Le Roux, Wisdom, Erdogan, Hershey, "SDR - half-baked or well done?", ICASSP 2019, equation 3.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from semmix.metrics.signals import as_pair

LIMIT_DB = 100.0
"""Values are kept within this distance of 0: what lies beyond is round-off."""


def si_sdr_db(reference: ArrayLike, estimate: ArrayLike) -> float:
    """Scale-invariant signal-to-distortion ratio in dB; higher is better.

    The estimate is split into its projection on the reference and the rest; the ratio is that of
    their energies. Means are not removed.

    Args:
        reference: the signal that is wanted `[N]`.
        estimate: the signal that was made `[N]`, at any gain.

    Returns:
        dB within +-`LIMIT_DB`; NaN where reference or estimate is digital silence.

    Raises:
        UsageError: the clips differ in length or are not finite.
    """
    wanted, found = as_pair(reference, estimate)
    wanted_norm, found_norm = np.linalg.norm(wanted), np.linalg.norm(found)
    if wanted_norm == 0.0 or found_norm == 0.0:
        return math.nan
    # Unit vectors keep very quiet signals away from the smallest numbers.
    wanted, found = wanted / wanted_norm, found / found_norm
    projected = float(wanted @ found) * wanted
    signal, rest = np.linalg.norm(projected), np.linalg.norm(found - projected)
    floor = 10.0 ** (-LIMIT_DB / 20.0)
    return float(20.0 * math.log10(max(float(signal), floor) / max(float(rest), floor)))
