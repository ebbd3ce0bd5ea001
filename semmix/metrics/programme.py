"""What a meter in an edit suite shows: integrated loudness, loudness range, true peak.

ITU-R BS.1770-4 (annex 1 loudness, annex 2 true peak) and EBU Tech 3342, on whole clips in
float64. The stream that users run has its own faster meter; this one is for measuring.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import ArrayLike

from semmix.dsp.loudness import (
    BLOCK_HOPS,
    SHORT_TERM_HOPS,
    gated_loudness_lufs,
    k_weighting,
    loudness_range_lu,
    sliding_mean,
)
from semmix.errors import UsageError
from semmix.metrics.signals import Float64, as_signal

OVERSAMPLING = 4
"""Annex 2 of BS.1770 asks for four times at 48 kHz, which leaves a peak at most 0.7 dB low."""
LOWEST_RATE_HZ = 8_000
"""Below it the shelf of the K-weighting lies at the end of the band."""

_TAIL_S = 0.05
"""Silence before and after: the filters ring there, and whole-clip FFTs would wrap around."""


@dataclass(frozen=True, slots=True)
class ProgrammeLevels:
    """Levels of one clip.

    Attributes:
        integrated_lufs: gated loudness; NaN for silence and for less than 400 ms.
        range_lu: loudness range; NaN for silence and for less than 3 s.
        true_peak_dbtp: largest value between the samples, dB re full scale; NaN for digital
            silence.
    """

    integrated_lufs: float
    range_lu: float
    true_peak_dbtp: float


def programme_levels(
    clip: ArrayLike, rate_hz: int, weights: ArrayLike | None = None
) -> ProgrammeLevels:
    """Measure a clip.

    Args:
        clip: one channel `[N]` or several `[C, N]`, full scale 1.
        rate_hz: its sample rate.
        weights: weight of each channel in the loudness `[C]`: 1 by default, by BS.1770 1.41 for
            surround channels and 0 for low-frequency effects.

    Raises:
        UsageError: the clip holds NaN or infinity or nothing, the weights do not fit it, or the
            rate is below `LOWEST_RATE_HZ`.
    """
    array = np.atleast_2d(np.asarray(clip, dtype=np.float64))
    if array.ndim != 2:
        raise UsageError(f"the clip has the shape {array.shape}: pass one as [N] or [C, N]")
    channels = [as_signal(channel, "clip") for channel in array]
    if not channels:
        raise UsageError("the clip has no channels: pass at least one")
    if rate_hz < LOWEST_RATE_HZ:
        raise UsageError(
            f"levels at {rate_hz} Hz are not defined: bring the clip to {LOWEST_RATE_HZ} Hz or more"
        )
    share = np.ones(len(channels)) if weights is None else np.asarray(weights, dtype=np.float64)
    if share.shape != (len(channels),):
        raise UsageError(f"{share.size} channel weights do not fit {len(channels)} channels")

    power = share @ np.stack([_hop_power(channel, rate_hz) for channel in channels])
    integrated_lufs = gated_loudness_lufs(sliding_mean(power, BLOCK_HOPS))
    range_lu = loudness_range_lu(sliding_mean(power, SHORT_TERM_HOPS))
    peak = max(_true_peak(channel, rate_hz) for channel in channels)
    return ProgrammeLevels(
        integrated_lufs=integrated_lufs if math.isfinite(integrated_lufs) else math.nan,
        range_lu=math.nan if range_lu is None else range_lu,
        true_peak_dbtp=20.0 * math.log10(peak) if peak > 0.0 else math.nan,
    )


def integrated_lufs(clip: ArrayLike, rate_hz: int) -> float:
    """Gated loudness of one channel `[N]`; NaN for silence and for less than 400 ms.

    Raises:
        UsageError: the clip is not one channel of finite samples.
    """
    power = _hop_power(as_signal(clip, "clip"), rate_hz)
    found_lufs = gated_loudness_lufs(sliding_mean(power, BLOCK_HOPS))
    return found_lufs if math.isfinite(found_lufs) else math.nan


def _hop_power(signal: Float64, rate_hz: int) -> Float64:
    """K-weighted mean square of each whole 100 ms hop, `[N] -> [N // hop]`.

    The weighting acts on the spectrum of the whole clip: the standard's magnitude response
    without its phase, which shifts energy by milliseconds inside windows of 400.
    """
    hop = round(rate_hz / 10)
    hops = signal.size // hop
    length = signal.size + round(_TAIL_S * rate_hz)
    length += length % 2
    spectrum = np.fft.rfft(signal, length) * np.sqrt(k_weighting(length, rate_hz))
    weighted = np.fft.irfft(spectrum, length)[: hops * hop]
    return np.asarray(np.mean(weighted.reshape(hops, hop) ** 2, axis=1))


def _true_peak(signal: Float64, rate_hz: int) -> float:
    """Largest magnitude after oversampling, of a clip that starts and ends in silence."""
    padded = np.pad(signal, round(_TAIL_S * rate_hz))
    fine = soxr.resample(padded, rate_hz, OVERSAMPLING * rate_hz, quality="VHQ")
    return max(float(np.abs(fine).max()), float(np.abs(signal).max()))
