"""Loudness of a stream after ITU-R BS.1770-4 and EBU Tech 3342, for next to no time.

The biquads of the standard run sample by sample, which NumPy cannot do fast. Only their power
response matters for loudness, and above a few kHz that is a constant: so the power of each
100 ms hop is taken in the time domain, and what the K-curve takes away below is subtracted from
the spectrum of a decimated copy, a quarter of the work of a full-rate FFT.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semmix.dsp.loudness import (
    BLOCK_HOPS,
    SHORT_TERM_HOPS,
    gated_loudness_lufs,
    k_weighting,
    loudness_range_lu,
    sliding_mean,
)

_SURROUND = frozenset({"BL", "BR", "BC", "SL", "SR", "SDL", "SDR", "TBL", "TBC", "TBR"})
_LOW_FREQUENCY = frozenset({"LFE", "LFE2"})
_SURROUND_WEIGHT = 1.41

# Decimation stops where the rest of the K-curve is flat to 0.05 dB.
_LOWEST_RATE_HZ = 10_000
# Seven-tap half-band filter, [-1 0 9 16 9 0 -1] / 32.
_NEAR, _FAR, _REACH = 9.0 / 32.0, -1.0 / 32.0, 3
# Samples measured at once, over all channels: temporaries stay below the 128 KiB from which
# the C library fetches, and the kernel clears, fresh pages for each of them.
_BATCH_VALUES = 50_000
# Decimated samples averaged to find where a hop starts and ends.
_ENDS = 32


@dataclass(frozen=True, slots=True)
class Loudness:
    """Levels of one finished stream.

    Attributes:
        integrated_lufs: gated programme loudness, None for silence and for less than 400 ms.
        range_lu: loudness range (EBU Tech 3342), None for silence and for less than 3 s.
        sample_peak_dbfs: largest sample, None for digital silence.
    """

    integrated_lufs: float | None
    range_lu: float | None
    sample_peak_dbfs: float | None


def channel_weights(names: Sequence[str]) -> NDArray[np.float64]:
    """Weight of each channel in BS.1770-4's sum, by FFmpeg's channel names.

    Low-frequency effects do not count, surround channels count 1.41, all others 1.
    """
    return np.array(
        [
            0.0 if name in _LOW_FREQUENCY else _SURROUND_WEIGHT if name in _SURROUND else 1.0
            for name in names
        ]
    )


def layout_weights(layout: str, channels: int) -> NDArray[np.float64] | None:
    """Weight of each channel of a named layout, None (all 1) where it names no channels."""
    import av

    try:
        names = [channel.name for channel in av.AudioLayout(layout).channels]
    except ValueError:
        return None
    return channel_weights(names) if len(names) == channels else None


class LoudnessMeter:
    """Measures a stream fed in blocks of any size.

    The result does not depend on how the stream was cut into blocks. A constant offset (DC)
    hides what lies more than 60 dB below it, the price of single precision.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        channels: int,
        weights: Sequence[float] | NDArray[np.float64] | None = None,
    ) -> None:
        """Prepare a meter.

        Args:
            sample_rate_hz: rate of the stream.
            channels: number of channels `C`.
            weights: weight of each channel `[C]`, 1 for all by default.
        """
        self._weights = np.ones(channels) if weights is None else np.asarray(weights, np.float64)
        if self._weights.shape != (channels,):
            raise ValueError(f"{self._weights.size} weights for {channels} channels")
        self._stages = 0
        while sample_rate_hz / 2 ** (self._stages + 1) >= _LOWEST_RATE_HZ:
            self._stages += 1
        factor = 2**self._stages
        self._hop_samples = max(1, round(sample_rate_hz / 10 / factor)) * factor
        self._margin_samples = _REACH * (factor - 1)
        self._n_fft = _next_smooth(self._hop_samples // factor)
        low_samples = self._hop_samples // factor
        ends = min(_ENDS, low_samples)
        self._ramp = (
            (np.arange(low_samples) - 0.5 * (ends - 1)) / max(1, low_samples - ends)
        ).astype(np.float32)
        self._constant, self._deficit = _split_curve(sample_rate_hz, self._stages, self._n_fft)

        self._batch_hops = max(1, _BATCH_VALUES // (channels * self._hop_samples))
        capacity = self._batch_hops * self._hop_samples + 2 * self._margin_samples
        # The stream starts after a margin of silence.
        self._buffer = np.zeros((channels, capacity), np.float32)
        self._filled = self._margin_samples
        # Eight bytes for each 100 ms: two hours take half a megabyte.
        self._power = array("d")
        self._peak = 0.0

    def push(self, block: NDArray[np.float32] | NDArray[np.float64]) -> None:
        """Take in the next samples `[C, n]`, full scale 1.0."""
        offset, samples = 0, block.shape[1]
        while offset < samples:
            take = min(samples - offset, self._buffer.shape[1] - self._filled)
            self._buffer[:, self._filled : self._filled + take] = block[:, offset : offset + take]
            self._filled += take
            offset += take
            if self._filled == self._buffer.shape[1]:
                self._measure(self._batch_hops)

    def finish(self) -> Loudness:
        """Levels of everything pushed so far; the meter is spent afterwards."""
        left_samples = self._filled - self._margin_samples
        self._peak = max(self._peak, _peak(self._buffer[:, self._margin_samples : self._filled]))
        self._buffer[:, self._filled :] = 0.0
        hops = left_samples // self._hop_samples
        while hops > 0:
            self._measure(min(hops, self._batch_hops))
            hops -= self._batch_hops
        power = np.array(self._power)
        integrated_lufs = gated_loudness_lufs(sliding_mean(power, BLOCK_HOPS))
        return Loudness(
            integrated_lufs=integrated_lufs if math.isfinite(integrated_lufs) else None,
            range_lu=loudness_range_lu(sliding_mean(power, SHORT_TERM_HOPS)),
            sample_peak_dbfs=20.0 * math.log10(self._peak) if self._peak > 0.0 else None,
        )

    def _measure(self, hops: int) -> None:
        """Measure the first `hops` of the buffer and move what follows to its start."""
        margin, used = self._margin_samples, hops * self._hop_samples
        span = self._buffer[:, : used + 2 * margin]
        body = span[:, margin : margin + used].reshape(-1, self._hop_samples)
        self._peak = max(self._peak, _peak(body))

        low = span
        for _ in range(self._stages):
            low = _halve(low)
        low = low.reshape(len(body), -1)
        level = _detrend(low, self._ramp)
        parts = np.fft.rfft(level, n=self._n_fft).view(np.float32)
        np.square(parts, out=parts)
        energy = np.einsum("ij,ij->i", body, body)
        trend_energy = np.einsum("ij,ij->i", low, low) - np.einsum("ij,ij->i", level, level)
        energy -= trend_energy * np.float32(2**self._stages)
        power = (self._constant * energy - parts @ self._deficit) / self._hop_samples
        by_hop = self._weights @ np.maximum(power, 0.0).reshape(-1, hops)
        self._power.frombytes(by_hop.tobytes())

        rest = self._filled - used
        # Overlapping copy: NumPy buffers it.
        self._buffer[:, :rest] = self._buffer[:, used : self._filled].copy()
        self._filled = rest


def _split_curve(sample_rate_hz: int, stages: int, n_fft: int) -> tuple[float, NDArray[np.float32]]:
    """The K-curve as a constant minus a deficit on the bins of the decimated spectrum.

    Returns:
        the constant power weight, and the weight of each squared real and imaginary part of
        a one-sided spectrum of `n_fft` points, `[2 * (n_fft // 2 + 1)]`, scaled so that its
        product with them is a sum of squares over full-rate samples.
    """
    factor = 2**stages
    # Bins of a full-rate FFT of the same spacing; the decimated one holds the first of them.
    curve = _k_curve(n_fft * factor, sample_rate_hz)
    bins = n_fft // 2 + 1
    above = curve[bins:]
    constant = float(above.mean()) if stages else float(curve.max())
    deficit = constant - curve[:bins]
    frequency_hz = np.arange(bins) * (sample_rate_hz / factor / n_fft)
    for stage in range(stages):
        angle = 2.0 * np.pi * frequency_hz / (sample_rate_hz / 2**stage)
        response = 0.5 + 2.0 * _NEAR * np.cos(angle) + 2.0 * _FAR * np.cos(3.0 * angle)
        deficit /= response**2
    scale = np.full(bins, 2.0)
    scale[0] = 1.0
    if n_fft % 2 == 0:
        scale[-1] = 1.0
    deficit *= scale * factor / n_fft
    return constant, np.repeat(deficit, 2).astype(np.float32)


def _k_curve(n_fft: int, sample_rate_hz: int) -> NDArray[np.float64]:
    """The K-curve, brought to the gain at 997 Hz that the standard has at 48 kHz."""
    points = 1 << 14
    probe = [
        float(np.interp(997.0, np.linspace(0.0, rate / 2, points // 2 + 1), weight))
        for rate in (48_000, sample_rate_hz)
        for weight in (k_weighting(points, rate),)
    ]
    return np.asarray(k_weighting(n_fft, sample_rate_hz) * (probe[0] / probe[1]))


def _halve(signal: NDArray[np.float32]) -> NDArray[np.float32]:
    """Half-band filter and decimate `[C, n]` by two; `2 * (n - 3) / 4` samples `[C, m]` remain."""
    count = (signal.shape[1] - 2 * _REACH + 1) // 2
    # Copied first: arithmetic on every other sample is several times slower.
    even = np.ascontiguousarray(signal[:, 0::2])
    out = np.ascontiguousarray(signal[:, 3 : 3 + 2 * count : 2])
    out *= np.float32(0.5)
    pair = even[:, 1 : 1 + count] + even[:, 2 : 2 + count]
    pair *= np.float32(_NEAR)
    out += pair
    np.add(even[:, :count], even[:, 3 : 3 + count], out=pair)
    pair *= np.float32(_FAR)
    out += pair
    return out


def _detrend(rows: NDArray[np.float32], ramp: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take off each row `[R, m]` the line from its start to its end.

    Rumble below the row's first bin would leak from its open ends all over the spectrum; the
    K-curve leaves nothing of it, so it goes before the FFT.
    """
    ends = min(_ENDS, rows.shape[1])
    start = rows[:, :ends].mean(axis=1, keepdims=True)
    end = rows[:, -ends:].mean(axis=1, keepdims=True)
    line = start + (end - start) * ramp
    level: NDArray[np.float32] = np.subtract(rows, line, out=line)
    return level


def _peak(samples: NDArray[np.float32]) -> float:
    return float(max(samples.max(), -samples.min())) if samples.size else 0.0


def _next_smooth(size: int) -> int:
    """The next size with no prime factor above 5, fast to transform."""
    while True:
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 1
