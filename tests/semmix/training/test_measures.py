"""Readings of a clip: speech among the rest, and the meters, shot by shot."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tolerances

from semmix.metrics import programme_levels, si_sdr_db
from semmix.training.clips import Clip
from semmix.training.measures import LEVELS, READINGS, Yardstick, readings, speech_si_sdr_db
from semmix.training.scenes import Shot

RATE_HZ = 16_000
HALF = RATE_HZ


def clip(speech_db: tuple[float, float], known: bool = True) -> Clip:
    """Two shots of a second: noise as speech at two levels, tones as music and effects."""
    rng = np.random.default_rng(51)
    time_s = np.arange(2 * HALF) / RATE_HZ
    level = np.repeat(10.0 ** (np.array(speech_db) / 20.0), HALF)
    speech = 0.1 * level * rng.standard_normal(2 * HALF)
    music, effects = (0.05 * np.sin(2 * np.pi * f * time_s) for f in (500.0, 900.0))
    stems = np.stack([speech, music, effects]).astype(np.float32)
    shots = (Shot(0.0, 1.0, "dialogue", {}), Shot(1.0, 2.0, "action", {}))
    target = stems.sum(axis=0, dtype=np.float32)
    return Clip("0", target, target, stems if known else None, shots)


def test_speech_is_measured_where_it_leads() -> None:
    given = clip((0.0, -40.0))
    assert given.target_stems is not None
    first = slice(0, HALF)
    expected = si_sdr_db(given.target_stems[0, first], given.target[first])
    assert speech_si_sdr_db(given.target, given, RATE_HZ) == expected
    # Noise of 0.1 RMS against two tones of 0.05 peak.
    assert expected == pytest.approx(20.0 * math.log10(0.1 / 0.05), abs=0.5)


def test_shots_that_speech_leads_count_by_length() -> None:
    given = clip((0.0, 6.0))
    assert given.target_stems is not None
    parts = [
        si_sdr_db(given.target_stems[0, part], given.target[part])
        for part in (slice(0, HALF), slice(HALF, 2 * HALF))
    ]
    found = speech_si_sdr_db(given.target, given, RATE_HZ)
    assert found == pytest.approx(np.mean(parts), abs=tolerances.SI_SDR_DB)


def test_raising_the_speech_raises_it_and_gain_does_not() -> None:
    given = clip((0.0, 0.0))
    assert given.target_stems is not None
    before = speech_si_sdr_db(given.target, given, RATE_HZ)
    louder = given.target + given.target_stems[0]
    assert speech_si_sdr_db(louder, given, RATE_HZ) == pytest.approx(before + 6.02, abs=0.1)
    assert speech_si_sdr_db(np.float32(0.5) * given.target, given, RATE_HZ) == pytest.approx(
        before, abs=tolerances.SI_SDR_DB
    )


def test_without_leading_speech_or_known_stems_there_is_none() -> None:
    assert math.isnan(speech_si_sdr_db(clip((-40.0, -40.0)).target, clip((-40.0, -40.0)), RATE_HZ))
    unknown = clip((0.0, 0.0), known=False)
    assert math.isnan(speech_si_sdr_db(unknown.target, unknown, RATE_HZ))
    found = Yardstick(RATE_HZ).measure({"input": unknown.mix}, unknown)["input"]
    assert all(math.isnan(found[name]) for name in LEVELS)
    assert found["mag"] == 0.0


def test_the_meters_are_those_of_the_metrics() -> None:
    given = clip((0.0, 0.0))
    found = readings(given.target, given, RATE_HZ)
    levels = programme_levels(given.target, RATE_HZ)
    assert tuple(found) == READINGS
    assert found["integrated_lufs"] == levels.integrated_lufs
    assert found["true_peak_dbtp"] == levels.true_peak_dbtp
    assert math.isnan(found["range_lu"])
