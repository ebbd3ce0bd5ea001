"""Levels of stems against the gains that made the mix."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tolerances
from scipy.signal import lfilter

from semmix.errors import UsageError
from semmix.metrics import level_error_db, stem_gains_db
from semmix.metrics.levels import GAIN_FLOOR_DB

RATE_HZ = 48_000


def _stems(seconds: float = 2.0) -> np.ndarray:
    """A tone with vibrato, a band of noise and clicks: no two alike, all overlapping."""
    rng = np.random.default_rng(21)
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    tone = 0.2 * np.sin(2 * np.pi * 220 * time_s + 3 * np.sin(2 * np.pi * 5 * time_s))
    noise = 0.05 * lfilter([1.0], [1.0, -0.9], rng.standard_normal(time_s.size))
    clicks = np.zeros_like(time_s)
    clicks[:: RATE_HZ // 7] = 0.9
    return np.stack([tone, noise, lfilter([1.0], [1.0, -0.99], clicks)])


@pytest.mark.parametrize("samples", [48_000, 47_999])
@pytest.mark.parametrize("gains_db", list(itertools.product([-12.0, 0.0, 9.0], repeat=3)))
def test_true_gains_are_found(gains_db: tuple[float, ...], samples: int) -> None:
    stems = _stems(1.0)[:, :samples]
    mix = (10 ** (np.array(gains_db) / 20)) @ stems
    np.testing.assert_allclose(
        stem_gains_db(mix, stems, RATE_HZ), gains_db, atol=tolerances.LEVEL_DB
    )


def test_the_order_of_the_stems_does_not_matter() -> None:
    stems = _stems(1.0)
    mix = np.array([0.3, 1.0, 2.0]) @ stems + 0.01 * np.random.default_rng(23).standard_normal(
        stems.shape[1]
    )
    gains = stem_gains_db(mix, stems, RATE_HZ)
    for order in itertools.permutations(range(3)):
        np.testing.assert_allclose(
            stem_gains_db(mix, stems[list(order)], RATE_HZ), gains[list(order)], atol=1e-9
        )


def test_the_level_of_the_stems_does_not_matter() -> None:
    stems = _stems(1.0) * np.array([[1e-2], [1.0], [30.0]])
    gains = stem_gains_db(stems.sum(0), stems, RATE_HZ)
    np.testing.assert_allclose(gains, 0.0, atol=tolerances.LEVEL_DB)


def test_noise_that_the_remix_added_is_not_counted_as_level() -> None:
    stems = _stems()
    noise = 0.02 * np.random.default_rng(24).standard_normal(stems.shape[1])
    gains = stem_gains_db(stems.sum(0) + noise, stems, RATE_HZ)
    np.testing.assert_allclose(gains, 0.0, atol=0.1)


def test_levels_are_weighted_as_the_ear_is() -> None:
    """A stem of rumble and treble whose treble alone was halved has lost most of its level."""
    rumble, treble = (np.sin(2 * np.pi * f * np.arange(RATE_HZ) / RATE_HZ) for f in (20, 3000))
    gain = stem_gains_db(rumble + 0.5 * treble, (rumble + treble)[None], RATE_HZ)
    assert gain[0] == pytest.approx(-6.0, abs=0.3)


def test_gone_inverted_and_silent_stems() -> None:
    stems = _stems(1.0)
    stems[1] = 0.0
    gains = stem_gains_db(-stems[0], stems, RATE_HZ)
    assert gains[0] == GAIN_FLOOR_DB
    assert np.isnan(gains[1])
    assert gains[2] == GAIN_FLOOR_DB
    assert np.isnan(stem_gains_db(stems[0], np.zeros((2, stems.shape[1])), RATE_HZ)).all()


def test_level_error_tells_balance_from_volume() -> None:
    stems = _stems(1.0)
    wanted_db = np.array([0.0, -6.0, 3.0])
    off_db = wanted_db + np.array([5.0, 2.0, 2.0])
    error = level_error_db((10 ** (off_db / 20)) @ stems, stems, wanted_db, RATE_HZ)
    assert error.per_stem_db == pytest.approx((5.0, 2.0, 2.0), abs=tolerances.LEVEL_DB)
    assert error.raw_db == pytest.approx(3.0, abs=tolerances.LEVEL_DB)
    assert error.offset_db == pytest.approx(3.0, abs=tolerances.LEVEL_DB)
    assert error.balance_db == pytest.approx(4 / 3, abs=tolerances.LEVEL_DB)


def test_level_error_leaves_silent_stems_out() -> None:
    stems = _stems(1.0)
    stems[2] = 0.0
    error = level_error_db(2.0 * stems.sum(0), stems, np.zeros(3), RATE_HZ)
    assert error.raw_db == pytest.approx(6.0206, abs=1e-3)
    assert error.balance_db == pytest.approx(0.0, abs=tolerances.LEVEL_DB)
    assert np.isnan(error.per_stem_db[2])
    nothing = level_error_db(np.zeros(RATE_HZ), np.zeros((3, RATE_HZ)), np.zeros(3), RATE_HZ)
    assert np.isnan([nothing.raw_db, nothing.balance_db, nothing.offset_db]).all()


def test_refusals() -> None:
    stems = _stems(1.0)
    mix = stems.sum(0)
    with pytest.raises(UsageError, match=r"pass stems as \[S, 48000\]"):
        stem_gains_db(mix, stems[:, :-1], RATE_HZ)
    with pytest.raises(UsageError, match="told apart"):
        stem_gains_db(mix, np.stack([stems[0], -2 * stems[0]]), RATE_HZ)
    broken = stems.copy()
    broken[0, 0] = np.nan
    with pytest.raises(UsageError, match="NaN"):
        stem_gains_db(mix, broken, RATE_HZ)
    with pytest.raises(UsageError, match="3 stems"):
        level_error_db(mix, stems, [0.0, 0.0], RATE_HZ)
