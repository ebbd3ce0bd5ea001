"""Random variation of recordings, so that a few hours of stems are not learnt by heart.

Recordings change speed and with it pitch; stem tracks get another colour, band limit and room.
All of it comes before loudness is set, so the right balance stays what the policy says.
"""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

SPEED_SHARE = 0.75
SPEED_OCTAVES = {"speech": 0.15, "music": 0.4, "effects": 0.5}
"""Largest change of speed either way: voices stay voices, notes and noises take more."""
EQ_SHARE = 0.6
EQ_DB = 4.0
"""Standard deviation of the gain in each octave, before neighbours are averaged."""
LOW_PASS_SHARE = 0.2
LOW_PASS_HZ = (4_000.0, 18_000.0)
LOW_PASS_DB_PER_OCTAVE = 48.0
ROOM_SHARE = 0.2
ROOM_T60_S = (0.2, 1.5)
ROOM_WET_DB = (-15.0, -3.0)
"""Energy of the reverberation relative to the direct sound."""

_OCTAVES_HZ = 31.25 * 2.0 ** np.arange(10)


class Variation:
    """Chance for one example.

    Args:
        rng: source of chance.
        sample_rate_hz: rate of all recordings.
    """

    def __init__(self, rng: np.random.Generator, sample_rate_hz: int) -> None:
        self._rng = rng
        self._rate_hz = sample_rate_hz

    def speed(self, audio: NDArray[np.int16], stem: str) -> NDArray[np.int16]:
        """Play a recording `[N]` faster or slower, `[N / factor]`."""
        if self._rng.random() >= SPEED_SHARE or not len(audio):
            return audio
        bound = SPEED_OCTAVES[stem]
        played_hz = self._rate_hz * 2.0 ** self._rng.uniform(-bound, bound)
        changed = soxr.resample(audio.astype(np.float32), played_hz, self._rate_hz)
        return np.asarray(np.rint(np.clip(changed, -32767.0, 32767.0)), np.int16)

    def colour(self, track: NDArray[np.float32]) -> NDArray[np.float32]:
        """Filter a stem track `[N]`: tone, band limit, room. What it decides is drawn anew."""
        rng, samples = self._rng, len(track)
        equalised = rng.random() < EQ_SHARE
        limited = rng.random() < LOW_PASS_SHARE
        in_room = rng.random() < ROOM_SHARE
        if not (equalised or limited or in_room) or not np.any(track):
            return track
        bins_hz = np.fft.rfftfreq(samples, 1.0 / self._rate_hz)
        octaves = np.log2(np.maximum(bins_hz, 1.0))
        gain_db = np.zeros(len(bins_hz))
        if equalised:
            points_db = rng.normal(0.0, EQ_DB, len(_OCTAVES_HZ))
            points_db = np.convolve(np.pad(points_db, 1, mode="edge"), (0.25, 0.5, 0.25), "valid")
            gain_db += np.interp(octaves, np.log2(_OCTAVES_HZ), points_db)
        if limited:
            edge = rng.uniform(*np.log2(LOW_PASS_HZ))
            gain_db -= LOW_PASS_DB_PER_OCTAVE * np.maximum(0.0, octaves - edge)
        filtered = np.fft.rfft(track) * (10.0 ** (gain_db / 20.0)).astype(np.float32)
        if in_room:
            filtered = filtered * np.fft.rfft(self._room(samples))
        # The reverberation of the end wraps round to the start, where it does no harm.
        return np.fft.irfft(filtered, samples).astype(np.float32)

    def _room(self, samples: int) -> NDArray[np.float32]:
        """An impulse response `[N]`: the direct sound, then decaying noise."""
        t60_s = self._rng.uniform(*ROOM_T60_S)
        length = min(samples, round(t60_s * self._rate_hz))
        decay = 10.0 ** (-3.0 * np.arange(length) / max(1, length))
        tail = self._rng.standard_normal(length) * decay
        wet_db = self._rng.uniform(*ROOM_WET_DB)
        response = np.zeros(samples, np.float32)
        response[:length] = tail * 10.0 ** (wet_db / 20.0) / max(1e-9, np.linalg.norm(tail))
        response[0] = 1.0
        return response
