"""Levels of known stems inside a mix: how far a remix moved speech, music and effects.

A mix whose stems are known is a weighted sum of them plus whatever the remix added. The
weights that leave the least energy over, under the K-weighting of BS.1770, are the gains in
LU at which the stems stand in the mix: for a true sum they are found exactly, and a mask that
touches a stem unevenly in time and frequency counts by the stem's weighted energy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from semmix.dsp.loudness import k_weighting
from semmix.errors import UsageError
from semmix.metrics.signals import Float64, as_signal

GAIN_FLOOR_DB = -80.0
"""Gain reported for a stem that is gone from the mix, or stands in it inverted."""
SILENCE_DB = -70.0
"""A stem whose K-weighted mean power is under this level (re full scale) is silent."""


@dataclass(frozen=True, slots=True)
class LevelError:
    """How far the stems of a mix stand from the levels they should have.

    Attributes:
        per_stem_db: signed error of each stem `[S]`, found minus wanted; NaN where silent.
        raw_db: mean absolute error over the sounding stems; NaN where there are none.
        balance_db: the same after the mean error was subtracted, which is what remains when
            the whole mix is brought to the right volume: the error of the balance alone.
        offset_db: the mean error that was subtracted.
    """

    per_stem_db: tuple[float, ...]
    raw_db: float
    balance_db: float
    offset_db: float


def stem_gains_db(mix: ArrayLike, stems: ArrayLike, rate_hz: int) -> Float64:
    """Gain at which each stem stands in a mix, by joint least squares.

    Args:
        mix: one channel `[N]`.
        stems: the stems at the gain that counts as 0 dB, `[S, N]`.
        rate_hz: sample rate of both.

    Returns:
        gains in LU `[S]`, exactly `g` for `sum(10 ** (g / 20) * stems)`, never below
        `GAIN_FLOOR_DB`; NaN for a silent stem.

    Raises:
        UsageError: the shapes do not fit, a sample is not finite, or two stems are the same
            signal up to a factor, so that their gains cannot be told apart.
    """
    target = as_signal(mix, "mix")
    parts = np.asarray(stems, dtype=np.float64)
    if parts.ndim != 2 or parts.shape[1] != target.size:
        raise UsageError(
            f"the stems have the shape {parts.shape} and the mix {target.shape}: "
            f"pass stems as [S, {target.size}]"
        )
    if not np.isfinite(parts).all():
        raise UsageError("a stem holds NaN or infinity: repair it first")

    # One zero more where needed: the weighting is given on the bins of an even length.
    length = target.size + target.size % 2
    amplitude = np.sqrt(k_weighting(length, rate_hz))
    spectra = np.fft.rfft(parts, length, axis=1) * amplitude
    wanted = np.fft.rfft(target, length) * amplitude
    # Each bin stands for two but DC, which has no weight, and Nyquist, one of many.
    power = 2.0 * np.sum(np.abs(spectra) ** 2, axis=1) / length**2
    gains = np.full(parts.shape[0], np.nan)
    active = power > 10.0 ** (SILENCE_DB / 10.0)
    if not active.any():
        return gains

    # Unit-energy columns keep the normal equations well scaled whatever the stems' levels.
    norms = np.linalg.norm(spectra[active], axis=1)
    columns = spectra[active] / norms[:, None]
    gram = (columns @ columns.conj().T).real
    if np.linalg.cond(gram) > 1e10:
        raise UsageError(
            "two stems are the same signal up to a factor: their levels in the mix cannot be "
            "told apart, pass stems that differ"
        )
    factors = np.linalg.solve(gram, (columns.conj() @ wanted).real) / norms
    gains[active] = 20.0 * np.log10(np.maximum(factors, 10.0 ** (GAIN_FLOOR_DB / 20.0)))
    return gains


def level_error_db(
    mix: ArrayLike, stems: ArrayLike, target_gains_db: ArrayLike, rate_hz: int
) -> LevelError:
    """Compare the levels of the stems in a mix with the levels they should have.

    Args:
        mix: one channel `[N]`.
        stems: the stems at the gain that counts as 0 dB, `[S, N]`.
        target_gains_db: wanted gain of each stem `[S]`, relative to `stems`.
        rate_hz: sample rate of mix and stems.

    Raises:
        UsageError: as `stem_gains_db`, or the gains do not fit the stems.
    """
    found = stem_gains_db(mix, stems, rate_hz)
    wanted = np.asarray(target_gains_db, dtype=np.float64)
    if wanted.shape != found.shape or not np.isfinite(wanted).all():
        raise UsageError(
            f"the wanted gains {wanted.tolist()} do not fit {found.size} stems: "
            "pass one finite gain in dB for each"
        )
    errors = found - wanted
    sounding = errors[~np.isnan(errors)]
    if sounding.size == 0:
        return LevelError(tuple(errors.tolist()), np.nan, np.nan, np.nan)
    offset = float(sounding.mean())
    return LevelError(
        per_stem_db=tuple(errors.tolist()),
        raw_db=float(np.abs(sounding).mean()),
        balance_db=float(np.abs(sounding - offset).mean()),
        offset_db=offset,
    )
