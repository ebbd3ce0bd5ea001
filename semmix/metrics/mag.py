"""MAG: mean absolute difference of two clips' STFT magnitudes (VisAH, section 5.1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from semmix.errors import UsageError
from semmix.metrics.signals import Float64, as_pair

N_FFT = 2048
WINDOW_SAMPLES = 1764
"""40 ms at 44.1 kHz."""
HOP_SAMPLES = 441
"""10 ms at 44.1 kHz."""
POWER_FLOOR = 1e-8
"""Added to the power before the root, as the published metric does."""

_BLOCK_FRAMES = 512
"""Frames transformed at a time, so that memory does not grow with the clip: 8 MB."""


def mag(reference: ArrayLike, estimate: ArrayLike) -> float:
    """Mean L1 of the STFT magnitudes of two clips; 0 where they are equal.

    The STFT is that of `torch.stft(center=True, pad_mode="reflect", normalized=False)`:
    2048 points, a periodic Hann window of 1764 samples in the middle of the frame, hop 441,
    magnitude `sqrt(re^2 + im^2 + 1e-8)`. Published tables show it times `PUBLISHED_SCALE`.

    Args:
        reference: target clip `[N]` at 44.1 kHz, full scale 1. Bring other rates to 44.1 kHz
            with `semmix.metrics.at_44100`: window and hop are defined there.
        estimate: clip `[N]` to compare, in the same units.

    Raises:
        UsageError: the clips differ in length, are not finite, or have 1024 samples or less
            (the reflection at the ends needs more).
    """
    first, second = as_pair(reference, estimate)
    if first.size <= N_FFT // 2:
        raise UsageError(
            f"the clips have {first.size} samples: MAG needs more than {N_FFT // 2} (23 ms)"
        )
    frames_of_first, frames_of_second = _frames(first), _frames(second)
    window = _window()
    total = 0.0
    count = frames_of_first.shape[0]
    for start in range(0, count, _BLOCK_FRAMES):
        block = slice(start, start + _BLOCK_FRAMES)
        difference = _magnitude(frames_of_first[block] * window) - _magnitude(
            frames_of_second[block] * window
        )
        total += float(np.abs(difference).sum())
    return float(total / (count * (N_FFT // 2 + 1)))


def _frames(signal: Float64) -> Float64:
    """Centred frames `[M, N_FFT]` of `signal` `[N]`, a view of its padded copy."""
    padded = np.pad(signal, N_FFT // 2, mode="reflect")
    return np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP_SAMPLES]


def _window() -> Float64:
    """The 1764-sample periodic Hann window between zeros, `[N_FFT]`."""
    window = np.zeros(N_FFT)
    left = (N_FFT - WINDOW_SAMPLES) // 2
    phase = 2.0 * np.pi * np.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES
    window[left : left + WINDOW_SAMPLES] = 0.5 - 0.5 * np.cos(phase)
    return window


def _magnitude(frames: Float64) -> Float64:
    """Floored magnitudes `[M, N_FFT // 2 + 1]` of windowed frames `[M, N_FFT]`."""
    spectrum = np.fft.rfft(frames, axis=1)
    magnitude: Float64 = np.sqrt(spectrum.real**2 + spectrum.imag**2 + POWER_FLOOR)
    return magnitude
