"""Between the sound of a window and a network that hears it whole, in NumPy (VisAH, section 2).

The twin of `semmix.nn.base.frontend`: frame `m` covers the hop from `m * hop` on, with one and a
half hops on either side; magnitudes are as the transform gives them; the waveform is heard less
its mean and over its standard deviation, which is undone on the way back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semmix.dsp.streaming import hann, windowed_spectra
from semmix.specs import WindowSpec

Float32 = NDArray[np.float32]

NORM_FLOOR = np.float32(1e-5)


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the network hears of a window, and what the way back needs.

    Attributes:
        spectrum: complex64 `[F, T]`, without its Nyquist row.
        waveform: float32 `[N]` of mean 0 and standard deviation 1.
        mean, std: of the window.
    """

    spectrum: NDArray[np.complex64]
    waveform: Float32
    mean: np.float32
    std: np.float32

    @property
    def magnitude(self) -> Float32:
        """Magnitudes `[F, T]`: a full-scale sine has a quarter of the transform's length."""
        return np.abs(self.spectrum)


def analyse(sound: Float32, spec: WindowSpec) -> Analysis:
    """Take a window `[N]` apart."""
    mean = sound.mean(dtype=np.float64)
    std = np.float32(sound.std(ddof=1, dtype=np.float64))
    waveform = (sound - np.float32(mean)) / (NORM_FLOOR + std)
    return Analysis(spectrum(sound, spec), waveform, np.float32(mean), std)


def synthesise(analysis: Analysis, mask: Float32, waveform: Float32, spec: WindowSpec) -> Float32:
    """Put a window together: the masked spectrum and the network's waveform, summed.

    Args:
        analysis: of the window.
        mask: real gains `[F, T]`.
        waveform: `[N]`, on the normalised scale.
        spec: gives transform and hop.

    Returns:
        float32 `[N]`.
    """
    masked = signal(analysis.spectrum * mask, spec)
    return masked + waveform * analysis.std + analysis.mean


def spectrum(sound: Float32, spec: WindowSpec) -> NDArray[np.complex64]:
    """Spectrum of a window: float32 `[N]` to complex64 `[F, T]`."""
    n_fft, hop = spec.n_fft, spec.hop_samples
    margin = (n_fft - hop) // 2
    right = margin + spec.frames * hop - spec.window_samples
    padded = np.pad(sound, (margin, right), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    full = windowed_spectra(frames)
    return np.ascontiguousarray(full[:, : spec.bins].T)


def signal(spectrum: NDArray[np.complex64], spec: WindowSpec) -> Float32:
    """Sound `[N]` of a spectrum `[F, T]`: overlap-add, over the squared windows of all frames.

    The squared windows are summed as if frames went on beyond either end; what they would have
    added is missing in the outermost one and a half hops, as it was when the network was trained.
    """
    n_fft, hop = spec.n_fft, spec.hop_samples
    window = hann(n_fft)
    # The row at half the sample rate, left out in `[F, T]`, is zero.
    frames = np.fft.irfft(spectrum.T, n=n_fft).astype(np.float32, copy=False) * window
    total = np.zeros((frames.shape[0] - 1) * hop + n_fft, np.float32)
    for m, frame in enumerate(frames):
        total[m * hop : m * hop + n_fft] += frame
    # Squares of periodic Hann windows a quarter of their length apart sum to a constant.
    total /= np.float32(np.square(window[::hop], dtype=np.float64).sum())
    margin = (n_fft - hop) // 2
    return total[margin : margin + spec.window_samples]
