"""Measures, on the finished file, whether the sound kept its place on the timeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semmix_rt.media.decoding import audio_blocks
from semmix_rt.media.probe import probe

_PROBE_S = 1.0
_SEARCH_S = 0.2
# Only the first minute is looked at, so that a long film costs no more than a short one.
_LATEST_S = 60.0
# -40 dBFS: quieter sound may drown in what a lossy codec adds.
_LOUD = 0.01


class SyncProbe:
    """Keeps a second of what is written, and finds it again in the file.

    The first stretch that is loud enough serves, mixed down to one channel.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        """Prepare for a stream of this rate."""
        self._rate = sample_rate_hz
        self._length = round(_PROBE_S * sample_rate_hz)
        self._position = 0
        self._start: int | None = None
        self._kept: list[NDArray[np.float32]] = []
        self._missing = self._length

    def push(self, block: NDArray[np.float32] | NDArray[np.float64]) -> None:
        """Look at the next samples written, `[C, n]`."""
        samples = block.shape[1]
        if self._missing and self._position < _LATEST_S * self._rate:
            mono = block.sum(axis=0, dtype=np.float32)
            if self._start is None:
                loud = np.flatnonzero(np.abs(mono) > _LOUD * block.shape[0])
                if loud.size:
                    self._start = self._position + int(loud[0])
                    mono = mono[loud[0] :]
            if self._start is not None:
                self._kept.append(mono[: self._missing])
                self._missing -= self._kept[-1].size
        self._position += samples

    def offset_samples(self, output: Path, index: int, start_sample: int) -> int | None:
        """By how many samples the sound in `output` is late.

        Args:
            output: finished file.
            index: of the stream in it.
            start_sample: where the sound should start on the file's timeline.

        Returns:
            None where nothing loud was written, or the file has another sample rate.

        Raises:
            MediaError: the file cannot be read.
        """
        if self._start is None:
            return None
        audio_streams = probe(output).audio_streams
        kept = np.concatenate(self._kept)
        margin = round(_SEARCH_S * self._rate)
        first = start_sample + self._start - margin
        if all(s.index != index or s.sample_rate_hz != self._rate for s in audio_streams):
            return None
        heard = self._decode(output, index, first, kept.size + 2 * margin)
        return closest_shift(heard, kept) - margin

    def _decode(self, output: Path, index: int, first: int, count: int) -> NDArray[np.float32]:
        """Mono samples `first` to `first + count` of the file's timeline, silence outside."""
        heard = np.zeros(count, np.float32)
        for position, block in audio_blocks(output, index, self._rate):
            at = position - first
            mono = block.sum(axis=0, dtype=np.float32)
            low, high = max(at, 0), min(at + mono.size, count)
            if low < high:
                heard[low:high] = mono[low - at : high - at]
            if at + mono.size >= count:
                break
        return heard


def closest_shift(long: NDArray[np.float32], short: NDArray[np.float32]) -> int:
    """Where in `long` the signal `short` lies: the shift of least squared difference.

    Unlike the peak of the correlation alone, it is not drawn to louder neighbours.
    """
    size = 1 << (short.size + long.size).bit_length()
    spectrum = np.fft.rfft(long, size) * np.conj(np.fft.rfft(short, size))
    match = np.fft.irfft(spectrum, size)[: long.size - short.size + 1]
    energy = np.concatenate(([0.0], np.cumsum(np.square(long, dtype=np.float64))))
    return int(np.argmin(energy[short.size :] - energy[: -short.size] - 2.0 * match))
