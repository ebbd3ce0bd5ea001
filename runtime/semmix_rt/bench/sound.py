"""The sound that all engines hear in a benchmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semmix.errors import MediaError

Float32 = NDArray[np.float32]

MAX_DECODED_S = 120.0


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


def decoded_sound(path: Path, rate_hz: int) -> Float32:
    """The first two minutes of a file's sound as one channel `[N]` at `rate_hz`.

    Raises:
        MediaError: it cannot be read, or has no sound.
    """
    import av

    parts: list[NDArray[np.float32]] = []
    received = 0
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise MediaError(f"{path} has no sound: name a file that has some")
            resampler = av.AudioResampler(format="flt", layout="mono", rate=rate_hz)
            for frame in container.decode(audio=0):
                for piece in resampler.resample(frame):
                    parts.append(piece.to_ndarray()[0])
                    received += piece.samples
                if received >= MAX_DECODED_S * rate_hz:
                    break
    except (av.error.FFmpegError, OSError) as exc:
        raise MediaError(
            f"{path} cannot be read ({exc.strerror or exc}): name another file"
        ) from exc
    if not received:
        raise MediaError(f"{path} holds no sound: name a file that has some")
    return np.concatenate(parts)
