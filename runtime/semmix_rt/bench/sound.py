"""The sound that all engines hear in a benchmark, where no file is given."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


def seeded_sound(samples: int, rate_hz: int, seed: int = 0) -> Float32:
    """Noise with the spectrum of speech and its pauses, `[N]`, about -20 dBFS.

    No digital silence: numbers too small to be normal would slow some kernels and not others.
    """
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    bins_hz = np.fft.rfftfreq(samples, 1.0 / rate_hz)
    noise = np.fft.irfft(spectrum / np.sqrt(1.0 + (bins_hz / 500.0) ** 2), samples)
    syllables = 0.55 + 0.45 * np.sin(2.0 * np.pi * 4.0 * np.arange(samples) / rate_hz)
    shaped = noise * syllables
    return np.asarray(0.1 * shaped / max(1e-9, float(shaped.std())), dtype=np.float32)
