"""The muddy mix: how a good balance is spoiled (VisAH's recipe for the Muddy Mix data set)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GAINS_DB: tuple[float, ...] = (6.0, 9.0, 12.0)
PEAK_LIMIT = 10.0 ** (-0.5 / 20.0)
"""-0.5 dBFS: stems and sums above it are scaled down."""


@dataclass(frozen=True, slots=True)
class Degradation:
    """Gains that turn a target mix into a muddy one.

    Attributes:
        gains_db: gain of each stem relative to its place in the target, `[S]`, the common
            scaling against clipping included.
    """

    gains_db: NDArray[np.float64]


def draw_gains_db(
    loudness_lufs: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw the stem gains: the loudest sinks, one other rises, the rest sinks.

    Args:
        loudness_lufs: integrated loudness of each stem, `[S]`, -inf for silent ones.
        rng: source of chance.

    Returns:
        gains in dB, `[S]`; silent stems keep 0 dB. With one sounding stem only that one sinks.
    """
    gains = np.zeros(len(loudness_lufs))
    active = np.flatnonzero(np.isfinite(loudness_lufs))
    if active.size == 0:
        return gains
    loudest = active[int(np.argmax(loudness_lufs[active]))]
    others = [int(i) for i in active if i != loudest]
    gains[loudest] = -rng.choice(GAINS_DB)
    if others:
        highlight = int(rng.choice(others))
        for i in others:
            gains[i] = rng.choice(GAINS_DB) * (1.0 if i == highlight else -1.0)
    return gains


def muddy(stems: NDArray[np.float32], gains_db: NDArray[np.float64]) -> Degradation:
    """Add the scaling that keeps stems and sum below -0.5 dBFS.

    Args:
        stems: the target's stems `[S, N]`.
        gains_db: from `draw_gains_db`, `[S]`.
    """
    gains = 10.0 ** (gains_db / 20.0)
    peaks = np.abs(stems).max(axis=1) * gains
    scale = min(1.0, PEAK_LIMIT / max(float(peaks.max()), 1e-9))
    mixed_peak = float(np.abs((gains * scale).astype(np.float32) @ stems).max())
    scale *= min(1.0, PEAK_LIMIT / max(mixed_peak, 1e-9))
    return Degradation(gains_db + 20.0 * np.log10(scale))
