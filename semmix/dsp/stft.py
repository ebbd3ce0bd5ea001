"""STFT and its inverse over whole signals (periodic Hann, centred frames, zeros outside).

Unnormalised, as `torch.stft(center=True, pad_mode="constant", normalized=False)` on the signal
padded to a whole number of hops. Synthesis divides by the sum of squared windows, so that an
unchanged spectrum gives the signal back.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semmix.dsp.streaming import IstftStream, StftStream
from semmix.specs import StftSpec


def stft(x: NDArray[np.float32], spec: StftSpec) -> NDArray[np.complex64]:
    """Spectrum of a signal.

    Args:
        x: float32 `[C, N]`.
        spec: window and hop.

    Returns:
        complex64 `[C, M, F]`, `M = spec.frames(N)`.
    """
    stream = StftStream(spec, x.shape[0])
    return np.concatenate((stream.push(x), stream.finish()), axis=1)


def istft(spectrum: NDArray[np.complex64], spec: StftSpec, samples: int) -> NDArray[np.float32]:
    """Signal of a spectrum.

    Args:
        spectrum: complex64 `[C, M, F]`, `M = spec.frames(samples)`.
        spec: window and hop.
        samples: length N of the signal.

    Returns:
        float32 `[C, N]`.
    """
    stream = IstftStream(spec, spectrum.shape[0])
    return np.concatenate((stream.push(spectrum), stream.finish()), axis=1)[:, :samples]
