"""STFT and inverse block by block, bit-equal to themselves for every block size.

A frame's FFT sees only its own samples, and every output sample is the sum of the same frames
in the same order, however the stream was cut: that is all bit-equality needs.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from semmix.specs import StftSpec


@lru_cache(maxsize=8)
def hann(n_fft: int) -> NDArray[np.float32]:
    """Periodic Hann window; the symmetric one (`np.hanning(n)`) would not add up exactly."""
    window = (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n_fft) / n_fft)).astype(np.float32)
    window.setflags(write=False)
    return window


@lru_cache(maxsize=8)
def _analysis_window(n_fft: int) -> NDArray[np.float32]:
    """The Hann window times `n_fft`, which the FFT divides by again."""
    window = hann(n_fft) * np.float32(n_fft)
    window.setflags(write=False)
    return window


def windowed_spectra(frames: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Unnormalised spectra `[..., F]` of frames `[..., n]` under a Hann window.

    NumPy's unscaled FFT computes float32 in float64, at four times the cost. Its scaled one does
    not, so the window carries the factor; for powers of two that is exact.
    """
    n_fft = frames.shape[-1]
    spectra = np.fft.rfft(frames * _analysis_window(n_fft), norm="forward")
    return spectra.astype(np.complex64, copy=False)


class StftStream:
    """Blocks `[C, n]` in, frames `[C, m, F]` out.

    Args:
        spec: window and hop.
        channels: number of channels C.
    """

    def __init__(self, spec: StftSpec, channels: int) -> None:
        self.spec = spec
        # Frame 0 is centred on sample 0: half a window of zeros comes first.
        self._held = np.zeros((channels, spec.n_fft // 2), np.float32)
        self._received = 0
        self._frames = 0

    def push(self, block: NDArray[np.float32]) -> NDArray[np.complex64]:
        """Take in `[C, n]` and return the frames that are complete."""
        self._received += block.shape[1]
        return self._transform(block)

    def finish(self) -> NDArray[np.complex64]:
        """End the signal with zeros and return the last frames, `spec.frames(N)` in all."""
        missing = self.spec.frames(self._received) - self._frames
        if missing <= 0:
            return self._transform(self._held[:, :0])
        needed = (missing - 1) * self.spec.hop_samples + self.spec.n_fft
        pad = np.zeros((self._held.shape[0], needed - self._held.shape[1]), np.float32)
        return self._transform(pad)

    def _transform(self, block: NDArray[np.float32]) -> NDArray[np.complex64]:
        n_fft, hop = self.spec.n_fft, self.spec.hop_samples
        signal = np.concatenate((self._held, block.astype(np.float32, copy=False)), axis=1)
        count = max(0, (signal.shape[1] - n_fft) // hop + 1)
        self._held = signal[:, count * hop :].copy()
        self._frames += count
        if not count:
            return np.zeros((signal.shape[0], 0, self.spec.bins), np.complex64)
        view = np.lib.stride_tricks.sliding_window_view(signal, n_fft, axis=1)
        return windowed_spectra(view[:, : (count - 1) * hop + 1 : hop])


class IstftStream:
    """Frames `[C, m, F]` in, samples `[C, n]` out, starting at the signal's sample 0.

    Args:
        spec: window and hop.
        channels: number of channels C.
    """

    def __init__(self, spec: StftSpec, channels: int) -> None:
        self.spec = spec
        self._overlap = np.zeros((channels, spec.n_fft), np.float32)
        self._frames = 0
        self._skip = spec.n_fft // 2

    def push(self, spectrum: NDArray[np.complex64]) -> NDArray[np.float32]:
        """Take in frames `[C, m, F]` and return the samples that no later frame touches."""
        channels, count, _ = spectrum.shape
        n_fft, hop = self.spec.n_fft, self.spec.hop_samples
        if not count:
            return np.zeros((channels, 0), np.float32)
        frames = np.fft.irfft(spectrum, n=n_fft).astype(np.float32, copy=False)
        frames *= hann(n_fft)
        total = _overlap_add(self._overlap, frames, hop)
        done = count * hop
        self._overlap = total[:, done : done + n_fft].copy()
        table = _normalisers(n_fft, hop)
        under = np.minimum(self._frames + np.arange(count), len(table) - 1)
        # The hops of a running stream are all alike, and need no table of their own.
        factors = table[-1] if under[0] == len(table) - 1 else table[under]
        self._frames += count
        hops = total[:, :done].reshape(channels, count, hop)
        return self._signal((hops * factors).reshape(channels, done))

    def finish(self) -> NDArray[np.float32]:
        """Return the rest: half a window after the last frame's centre."""
        n_fft, hop = self.spec.n_fft, self.spec.hop_samples
        sums = _window_sums(n_fft, hop)
        last = np.arange(len(sums) - 1)
        under = np.minimum(last + self._frames, len(sums) - 1)
        factors = _normaliser(sums[under] - sums[last]).flatten()
        end = n_fft - hop
        return self._signal(self._overlap[:, :end] * factors[:end])

    def _signal(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Leave out what lies before the signal's first sample."""
        drop = min(self._skip, samples.shape[1])
        self._skip -= drop
        return samples[:, drop:]


@lru_cache(maxsize=8)
def _window_sums(n_fft: int, hop: int) -> NDArray[np.float64]:
    """Sum of squared windows over a hop `[parts, hop]`; row `k`: over its newest `k + 1` frames."""
    parts = -(-n_fft // hop)
    squared = np.zeros(parts * hop)
    squared[:n_fft] = np.square(hann(n_fft), dtype=np.float64)
    sums = np.cumsum(squared.reshape(parts, hop), axis=0)
    sums.setflags(write=False)
    return sums


@lru_cache(maxsize=8)
def _normalisers(n_fft: int, hop: int) -> NDArray[np.float32]:
    """What brings a hop under `_window_sums` back to the signal's size `[parts, hop]`."""
    factors = _normaliser(_window_sums(n_fft, hop))
    factors.setflags(write=False)
    return factors


def _normaliser(sums: NDArray[np.float64]) -> NDArray[np.float32]:
    # Only samples outside the signal lie under windows that sum to nearly nothing.
    return np.asarray(1.0 / np.maximum(sums, 1e-3), np.float32)


def _overlap_add(
    held: NDArray[np.float32], frames: NDArray[np.float32], hop: int
) -> NDArray[np.float32]:
    """Add frames `[C, m, n]`, a hop apart, to what is held of earlier ones `[C, n]`.

    One addition for each hop of a frame, the last hop first: every sample then sums its frames in
    the order of time, and is the same to the bit however many frames come at once.
    """
    channels, count, n_fft = frames.shape
    parts = -(-n_fft // hop)
    total = np.zeros((channels, count + parts, hop), np.float32)
    flat = total.reshape(channels, -1)
    flat[:, :n_fft] = held
    for part in reversed(range(parts)):
        piece = frames[..., part * hop : (part + 1) * hop]
        total[:, part : part + count, : piece.shape[2]] += piece
    return flat
