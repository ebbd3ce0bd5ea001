"""Seeded signals, ways to cut them, and the STFT once more in plain float64 arithmetic."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from semmix.specs import StftSpec

CUTS: tuple[int | str, ...] = (1, 17, 509, 1024, 44_100, "whole", "random")
"""Block sizes that no code path likes: single samples, primes, powers of two, all at once."""


def noise(channels: int, samples: int, seed: int = 0) -> NDArray[np.float32]:
    """White noise `[C, N]` below full scale, each channel its own."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.9, 0.9, (channels, samples)).astype(np.float32)


def pieces(length: int, cut: int | str, seed: int = 0) -> Iterator[slice]:
    """Slices that tile `length`; "random" ones are of every size from 0, "whole" is one."""
    if cut == "random":
        ends = np.sort(np.random.default_rng(seed).integers(0, length + 1, 12))
        # Twice the same end is an empty block.
        bounds = [0, 0, *ends.repeat(2).tolist(), length]
    else:
        size = max(1, length) if cut == "whole" else int(cut)
        bounds = [*range(0, length, size), length]
    for begin, end in itertools.pairwise(bounds):
        yield slice(begin, end)


def fade_in_and_out(samples: int) -> NDArray[np.float64]:
    """A Hann envelope from 0 to 1 to 0, so that nothing happens at the edges."""
    return 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(samples) / samples)


def reference_window(n_fft: int) -> NDArray[np.float64]:
    return np.sin(np.pi * np.arange(n_fft) / n_fft) ** 2


def reference_stft(x: NDArray, spec: StftSpec) -> NDArray[np.complex128]:
    """`[C, N]` to `[C, M, F]`, frame by frame as the definition says, in float64."""
    n_fft, hop = spec.n_fft, spec.hop_samples
    frames = 0 if x.shape[1] == 0 else 1 + int(np.ceil(x.shape[1] / hop))
    padded = np.zeros((x.shape[0], frames * hop + n_fft))
    padded[:, n_fft // 2 : n_fft // 2 + x.shape[1]] = x
    spectrum = np.zeros((x.shape[0], frames, n_fft // 2 + 1), np.complex128)
    for m in range(frames):
        spectrum[:, m] = np.fft.rfft(padded[:, m * hop : m * hop + n_fft] * reference_window(n_fft))
    return spectrum


def reference_istft(spectrum: NDArray, spec: StftSpec, samples: int) -> NDArray[np.float64]:
    """Weighted overlap-add over the whole signal, divided by the squared windows' sum."""
    n_fft, hop = spec.n_fft, spec.hop_samples
    channels, frames, _ = spectrum.shape
    window = reference_window(n_fft)
    total = np.zeros((channels, frames * hop + n_fft))
    weight = np.zeros(frames * hop + n_fft)
    for m in range(frames):
        here = slice(m * hop, m * hop + n_fft)
        total[:, here] += np.fft.irfft(spectrum[:, m], n_fft) * window
        weight[here] += window**2
    inside = slice(n_fft // 2, n_fft // 2 + samples)
    return total[:, inside] / weight[inside]
