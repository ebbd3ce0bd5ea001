"""One mask for all channels: its input magnitude, its bound, its effect."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semmix.specs import StftSpec


def linked_magnitude(spectrum: NDArray[np.complex64], spec: StftSpec) -> NDArray[np.float32]:
    """Scaled magnitude that stands for all channels: root mean square over them.

    Args:
        spectrum: complex64 `[C, M, F]`.
        spec: gives the scale.

    Returns:
        float32 `[M, F]`; equal channels give the magnitude of each.
    """
    power = np.zeros(spectrum.shape[1:], np.float32)
    for channel in spectrum:
        power += channel.real**2
        power += channel.imag**2
    power *= np.float32(spec.scale**2 / spectrum.shape[0])
    return np.sqrt(power, out=power)


def limit_gain(mask: NDArray[np.float32], max_gain_db: float | None) -> NDArray[np.float32]:
    """Bound a linear gain to `max_gain_db` decibels up and down; None leaves it."""
    if max_gain_db is None:
        return mask
    top = np.float32(10.0 ** (max_gain_db / 20.0))
    return np.clip(mask, np.float32(1.0) / top, top)


def change(spectrum: NDArray[np.complex64], mask: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Spectrum of what a mask adds: `(mask - 1) X`, `[C, M, F]`, in place of `spectrum`."""
    spectrum *= mask - np.float32(1.0)
    return spectrum


def dry_wet(
    dry: NDArray[np.floating], delta: NDArray[np.float32], amount: float
) -> NDArray[np.floating]:
    """`dry + amount * delta` in the dry signal's dtype; amount 0 returns it bit for bit."""
    if amount == 0.0:
        return dry
    return dry + dry.dtype.type(amount) * delta
