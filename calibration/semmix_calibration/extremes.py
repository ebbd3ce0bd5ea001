"""Sounds that no recording is sure to hold and a user may well bring: made, seeded, at full scale.

They come in draws. Ranges are chosen on one, choices are made on another, and what is told of the
result was measured on a third; the gate of `semmix-rt verify` has sounds of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

_LOWEST_HZ = 30.0
_OVERDRIVE = 10.0
"""Twenty decibels over full scale, then clipped."""
_FAINT = 1e-3
_TONES_HZ = (
    *((40.0, 200.0), (300.0, 700.0), (700.0, 1_500.0)),
    *((1_500.0, 3_500.0), (3_500.0, 8_000.0), (8_000.0, 20_000.0)),
)
"""Between these lies a tone of each draw: neighbouring octaves differ by 10 dB in FP16."""


def wide(samples: int, rate_hz: int, seed: int) -> Iterator[Float32]:
    """The largest sounds there are, `[N]`, to choose ranges on.

    A sweep through the whole band, so that each band is once alone and at its loudest; noise;
    noise that steps by 60 dB with clicks between; and a click in silence.
    """
    time_s = np.arange(samples) / rate_hz
    duration_s = samples / rate_hz
    octaves = np.log(0.48 * rate_hz / _LOWEST_HZ)
    turns = _LOWEST_HZ * duration_s / octaves * np.expm1(octaves * time_s / duration_s)
    yield np.sin(2.0 * np.pi * turns).astype(np.float32)
    noise = np.random.default_rng(seed).uniform(-1.0, 1.0, samples).astype(np.float32)
    yield noise
    steps = noise * np.where(np.arange(samples) // (rate_hz // 4) % 2, 1.0, 1e-3)
    steps[:: rate_hz // 5] = 1.0
    yield steps.astype(np.float32)
    yield _click(samples, 0.5)


def hard(samples: int, rate_hz: int, seed: int) -> Iterator[tuple[str, Float32]]:
    """A draw of sounds to measure on, with their classes, each `[N]`.

    Steady tones from low to high, a click in silence, a clipped chord, faint noise, and noise
    that stops and starts.
    """
    rng = np.random.default_rng(seed)
    time_s = np.arange(samples) / rate_hz
    for low_hz, high_hz in _TONES_HZ:
        hz = min(float(np.exp(rng.uniform(np.log(low_hz), np.log(high_hz)))), 0.45 * rate_hz)
        yield "tone", np.sin(2.0 * np.pi * hz * time_s).astype(np.float32)
    yield "click", _click(samples, float(rng.uniform(0.2, 0.7)))
    chord = sum(np.sin(2.0 * np.pi * hz * time_s) for hz in rng.uniform(80.0, 900.0, 4))
    loud = _OVERDRIVE * (chord * np.sin(np.pi * 2.0 * time_s) + 0.1 * rng.standard_normal(samples))
    yield "clipped", np.clip(loud, -1.0, 1.0).astype(np.float32)
    noise = rng.standard_normal(samples)
    yield "faint", (0.25 * _FAINT * noise).astype(np.float32)
    level = np.repeat(rng.permutation([0.5, 1e-3, 0.1, 0.0]), -(-samples // 4))[:samples]
    yield "starts and stops", (0.25 * level * noise).astype(np.float32)


def _click(samples: int, place: float) -> Float32:
    sound = np.zeros(samples, np.float32)
    sound[round(place * samples)] = 1.0
    return sound
