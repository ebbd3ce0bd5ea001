from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import welch

from semmix.training import variation
from semmix.training.variation import SPEED_OCTAVES, Variation

RATE_HZ = 48_000


def drawn(seed: int) -> Variation:
    return Variation(np.random.default_rng(seed), RATE_HZ)


def only(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Of the filters, these always act and the others never."""
    for name in ("EQ_SHARE", "LOW_PASS_SHARE", "ROOM_SHARE"):
        monkeypatch.setattr(variation, name, float(name in names))


def noise(samples: int = RATE_HZ, seed: int = 1) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(samples).astype(np.float32)


@pytest.mark.parametrize("stem", SPEED_OCTAVES)
def test_speed_and_pitch_change_together_and_within_bounds(stem: str) -> None:
    tone = np.rint(20_000 * np.sin(2 * np.pi * 1_000.0 * np.arange(24_000) / RATE_HZ))
    octaves = []
    for seed in range(40):
        changed = drawn(seed).speed(tone.astype(np.int16), stem)
        assert changed.dtype == np.int16
        spectrum = np.abs(np.fft.rfft(changed * np.hanning(len(changed)), 2 * RATE_HZ))
        pitch_hz = np.argmax(spectrum) / 2.0
        assert pitch_hz / 1_000.0 == pytest.approx(24_000 / len(changed), rel=1e-3)
        octaves.append(np.log2(pitch_hz / 1_000.0))
    moved = [o for o in octaves if abs(o) > 1e-3]
    assert 20 < len(moved) < 40
    assert max(np.abs(moved)) <= SPEED_OCTAVES[stem] + 1e-3
    assert min(moved) < -0.3 * SPEED_OCTAVES[stem] < 0.3 * SPEED_OCTAVES[stem] < max(moved)


def test_full_scale_recordings_do_not_wrap() -> None:
    """A resampler overshoots at edges, and 16-bit integers would jump to the other end."""
    square = np.where(np.arange(4_000) % 100 < 50, 32_767, -32_767).astype(np.int16)
    for seed in range(8):
        changed = drawn(seed).speed(square, "effects")
        place = np.arange(len(changed)) * len(square) / len(changed)
        inside = (place % 50 > 5) & (place % 50 < 45) & (place > 100) & (place < 3_900)
        expected = np.where(place % 100 < 50, 1, -1)
        np.testing.assert_array_equal(np.sign(changed[inside]), expected[inside])


def test_empty_recordings_and_silence_stay() -> None:
    for seed in range(8):
        assert len(drawn(seed).speed(np.zeros(0, np.int16), "music")) == 0
        assert not np.any(drawn(seed).colour(np.zeros(1_000, np.float32)))


@pytest.mark.parametrize("samples", [48_000, 47_999])
def test_tracks_keep_their_length_and_stay_finite(samples: int) -> None:
    track = noise(samples)
    changed = 0
    for seed in range(16):
        coloured = drawn(seed).colour(track)
        assert coloured.shape == track.shape
        assert coloured.dtype == np.float32
        assert np.isfinite(coloured).all()
        changed += not np.array_equal(coloured, track)
    assert 6 <= changed < 16


def test_a_band_limit_falls_by_48_db_in_an_octave(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "LOW_PASS_SHARE")
    monkeypatch.setattr(variation, "LOW_PASS_HZ", (4_000.0, 4_000.0))
    track = noise(2 * RATE_HZ)
    hz, before = welch(track, RATE_HZ, nperseg=2_048)
    _, after = welch(drawn(1).colour(track), RATE_HZ, nperseg=2_048)
    gain_db = 10.0 * np.log10(after / before)
    np.testing.assert_allclose(gain_db[(hz > 50) & (hz < 3_900)], 0.0, atol=0.1)
    assert np.interp(8_000.0, hz, gain_db) == pytest.approx(-48.0, abs=1.0)


def test_tone_is_a_smooth_gain_of_a_few_decibels(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "EQ_SHARE")
    track = noise(2 * RATE_HZ)
    hz, before = welch(track, RATE_HZ, nperseg=2_048)
    gains = []
    for seed in range(12):
        _, after = welch(drawn(seed).colour(track), RATE_HZ, nperseg=2_048)
        gain_db = 10.0 * np.log10(after / before)
        # Within a tenth of an octave nothing jumps.
        near = np.interp(hz[50:900] * 2.0**0.1, hz, gain_db)
        assert np.abs(near - gain_db[50:900]).max() < 2.0
        gains.append(np.interp([250.0, 1_000.0, 4_000.0], hz, gain_db))
    assert 1.5 < np.std(gains) < 4.0
    assert abs(np.mean(gains)) < 1.0


def test_a_room_adds_a_decaying_tail_below_the_direct_sound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only(monkeypatch, "ROOM_SHARE")
    click = np.zeros(2 * RATE_HZ, np.float32)
    click[0] = 1.0
    for seed in range(8):
        response = drawn(seed).colour(click).astype(np.float64)
        assert response[0] == pytest.approx(1.0, abs=0.1)
        wet_db = 10.0 * np.log10(np.sum(response[1:] ** 2))
        assert -15.5 < wet_db < -2.5
        quarters = np.array_split(response[1 : round(0.2 * RATE_HZ)], 4)
        energies = [np.sum(q**2) for q in quarters]
        assert energies == sorted(energies, reverse=True)
        tail = response[round(1.55 * RATE_HZ) :]
        assert np.abs(tail).max() < 1e-4
