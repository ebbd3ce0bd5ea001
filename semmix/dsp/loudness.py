"""Loudness after ITU-R BS.1770-4 and loudness range after EBU Tech 3342, from K-weighted power.

The K-weighting filters act as a weight on the power of each bin, so that whoever has the STFT
already pays almost nothing for loudness.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SILENCE_LUFS = -70.0
"""The absolute gate of BS.1770: what lies below counts as silence."""
BLOCK_HOPS, SHORT_TERM_HOPS = 4, 30
"""Hops of 100 ms in a gating block (400 ms) and in a short-term window (3 s)."""


def _biquad_power(
    b: tuple[float, float, float], a: tuple[float, float, float], omega: NDArray[np.float64]
) -> NDArray[np.float64]:
    z1 = np.exp(-1j * omega)
    h = (b[0] + b[1] * z1 + b[2] * z1**2) / (a[0] + a[1] * z1 + a[2] * z1**2)
    return np.asarray(np.abs(h) ** 2)


@lru_cache(maxsize=8)
def k_weighting(n_fft: int, sample_rate_hz: int) -> NDArray[np.float64]:
    """Power weight of each of the `n_fft // 2 + 1` bins: high shelf, then high pass.

    The biquads are those of BS.1770-4, section 2, re-derived for any rate from their analogue
    prototypes (shelf of 4 dB at 1682 Hz, Q 0.707; high pass at 38.1 Hz, Q 0.5).
    """
    omega = np.linspace(0.0, math.pi, n_fft // 2 + 1)
    k = math.tan(math.pi * 1681.9744509555319 / sample_rate_hz)
    q = 0.7071752369554193
    vh = 10.0 ** (3.99984385397 / 20.0)
    vb = vh**0.499666774155
    a0 = 1.0 + k / q + k * k
    shelf = _biquad_power(
        ((vh + vb * k / q + k * k) / a0, 2.0 * (k * k - vh) / a0, (vh - vb * k / q + k * k) / a0),
        (1.0, 2.0 * (k * k - 1.0) / a0, (1.0 - k / q + k * k) / a0),
        omega,
    )
    k = math.tan(math.pi * 38.13547087613982 / sample_rate_hz)
    q = 0.5003270373253953
    a0 = 1.0 + k / q + k * k
    high_pass = _biquad_power(
        (1.0, -2.0, 1.0), (1.0, 2.0 * (k * k - 1.0) / a0, (1.0 - k / q + k * k) / a0), omega
    )
    weight = shelf * high_pass
    weight.setflags(write=False)
    return weight


def frame_power(spectrum: NDArray[np.complex64], sample_rate_hz: int) -> NDArray[np.float64]:
    """K-weighted mean power of each STFT frame.

    Args:
        spectrum: unnormalised STFT with a periodic Hann window, `[..., M, F]`.

    Returns:
        mean square of the K-weighted signal under each frame, `[..., M]`.
    """
    n_fft = 2 * (spectrum.shape[-1] - 1)
    weight = k_weighting(n_fft, sample_rate_hz).copy()
    # Parseval for one-sided spectra; the Hann window keeps 3/8 of the power.
    weight[1:-1] *= 2.0
    weight /= 0.375 * n_fft * n_fft
    power = spectrum.real**2 + spectrum.imag**2
    return np.asarray(power @ weight.astype(np.float32), dtype=np.float64)


def gated_loudness_lufs(block_power: NDArray[np.float64]) -> float:
    """Integrated loudness from the power of 400 ms blocks, summed over channels.

    Absolute gate at -70 LUFS, relative gate 10 LU below the mean of what passes it.

    Returns:
        LUFS, or -inf where every block is gated.
    """
    power = np.asarray(block_power, dtype=np.float64)
    loud = power[power > 10.0 ** ((SILENCE_LUFS + 0.691) / 10.0)]
    if loud.size == 0:
        return -math.inf
    passed = loud[loud > loud.mean() * 0.1]
    return -0.691 + 10.0 * math.log10(float(passed.mean()))


def loudness_range_lu(short_term_power: NDArray[np.float64]) -> float | None:
    """Loudness range (EBU Tech 3342): 10th to 95th percentile of gated short-term loudness.

    Args:
        short_term_power: K-weighted power of 3 s windows, summed over channels, `[N]`.

    Returns:
        LU, or None where every window lies below the absolute gate of -70 LUFS.
    """
    loud = short_term_power[short_term_power > 10.0 ** ((SILENCE_LUFS + 0.691) / 10.0)]
    if loud.size == 0:
        return None
    # The relative gate of the range lies 20 LU below the mean, not 10.
    passed = loud[loud > loud.mean() * 0.01]
    low, high = np.percentile(10.0 * np.log10(passed), [10.0, 95.0])
    return float(high - low)


def sliding_mean(power: NDArray[np.float64], hops: int) -> NDArray[np.float64]:
    """Mean over `hops` neighbours at every hop, `[N] -> [max(0, N - hops + 1)]`."""
    if power.size < hops:
        return np.zeros(0)
    total = np.concatenate(([0.0], np.cumsum(power)))
    return (total[hops:] - total[:-hops]) / hops


def integrated_loudness_lufs(
    spectrum: NDArray[np.complex64], sample_rate_hz: int, hop_samples: int
) -> float:
    """Integrated loudness of one channel from its STFT `[M, F]`, in LUFS.

    Blocks of 400 ms are means over frames, every 100 ms as near as the hop allows.
    """
    power = frame_power(spectrum, sample_rate_hz)
    length = max(1, round(0.4 * sample_rate_hz / hop_samples))
    step = max(1, round(0.1 * sample_rate_hz / hop_samples))
    if power.size < length:
        return gated_loudness_lufs(power.mean(keepdims=True) if power.size else power)
    return gated_loudness_lufs(sliding_mean(power, length)[::step])
