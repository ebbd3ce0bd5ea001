"""ENV: difference of two clips' Hilbert envelopes (VisAH, section 5.1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from semmix.metrics.signals import Float64, as_pair, as_signal


def hilbert_envelope(signal: ArrayLike) -> Float64:
    """Magnitude of the analytic signal of a whole clip, `[N]` in, `[N]` out.

    The analytic signal keeps the non-negative half of the clip's spectrum, doubled but for
    DC and Nyquist, as `scipy.signal.hilbert` does.

    Raises:
        UsageError: `signal` is not one channel of finite samples.
    """
    array = as_signal(signal, "clip")
    count = array.size
    spectrum = np.zeros(count, dtype=np.complex128)
    half = np.fft.rfft(array)
    # Bins 1 .. ceil(N/2)-1 have a mirror image; DC and, for even N, Nyquist have none.
    half[1 : (count + 1) // 2] *= 2.0
    spectrum[: half.size] = half
    return np.abs(np.fft.ifft(spectrum))


def env(reference: ArrayLike, estimate: ArrayLike) -> float:
    """Root-mean-square error of the Hilbert envelopes of two clips; 0 where they are equal.

    Args:
        reference: target clip `[N]`, full scale 1.
        estimate: clip `[N]` to compare, same rate and units.

    Returns:
        the error in units of full scale. Published tables show it times `PUBLISHED_SCALE`.

    Raises:
        UsageError: the clips differ in length or are not finite.
    """
    first, second = as_pair(reference, estimate)
    difference = hilbert_envelope(first) - hilbert_envelope(second)
    return float(np.sqrt(np.mean(difference**2)))
