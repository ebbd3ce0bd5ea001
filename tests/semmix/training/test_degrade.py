from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import tolerances
from scipy.stats import chisquare

from semmix.training.degrade import draw_gains_db, muddy

LIMIT = 10.0 ** (-0.5 / 20.0)
SILENT = -np.inf
DRAWS = 3_000


def draws(*loudness_lufs: float, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.array([draw_gains_db(np.array(loudness_lufs), rng) for _ in range(DRAWS)])


def assert_even(values: np.ndarray, expected: set[float]) -> None:
    """Every value is one of the expected, and each comes as often as the others."""
    counts = Counter(values.tolist())
    assert set(counts) == expected
    assert chisquare(list(counts.values())).pvalue > 1e-4


@pytest.mark.parametrize("loudest", [0, 1, 2])
def test_the_loudest_sinks_one_other_rises_and_the_rest_sinks(loudest: int) -> None:
    loudness = [-30.0, -25.0, -28.0]
    loudness[loudest] = -20.0
    gains = draws(*loudness)
    assert_even(gains[:, loudest], {-6.0, -9.0, -12.0})
    others = np.delete(gains, loudest, axis=1)
    assert np.all((others > 0).sum(1) == 1)
    assert_even((others[:, 0] > 0).astype(float), {0.0, 1.0})
    assert_even(others[others > 0], {6.0, 9.0, 12.0})
    assert_even(others[others < 0], {-6.0, -9.0, -12.0})


def test_the_three_gains_are_drawn_apart() -> None:
    gains = np.abs(draws(-20.0, -25.0, -28.0))
    triples = Counter(map(tuple, gains.tolist()))
    assert len(triples) == 27
    assert chisquare(list(triples.values())).pvalue > 1e-4


def test_more_stems_than_three_follow_the_same_recipe() -> None:
    gains = draws(-30.0, -31.0, -20.0, -40.0, -22.0)
    assert np.all(gains[:, 2] < 0)
    assert np.all((gains > 0).sum(1) == 1)
    assert_even(np.argmax(gains, axis=1).astype(float), {0.0, 1.0, 3.0, 4.0})


def test_silent_stems_keep_their_gain() -> None:
    gains = draws(-20.0, SILENT, -28.0)
    assert np.all(gains[:, 1] == 0.0)
    assert_even(gains[:, 0], {-6.0, -9.0, -12.0})
    assert_even(gains[:, 2], {6.0, 9.0, 12.0})


def test_a_stem_alone_sinks_and_silence_stays() -> None:
    gains = draws(SILENT, -28.0, SILENT)
    assert_even(gains[:, 1], {-6.0, -9.0, -12.0})
    assert np.all(gains[:, [0, 2]] == 0.0)
    assert np.all(draws(SILENT, SILENT, SILENT) == 0.0)


# --- Clipping -----------------------------------------------------------------------------------


def test_mixes_below_the_limit_keep_their_gains() -> None:
    stems = 0.1 * np.random.default_rng(2).uniform(-1, 1, (3, 500)).astype(np.float32)
    gains_db = np.array([-6.0, 9.0, -12.0])
    np.testing.assert_array_equal(muddy(stems, gains_db).gains_db, gains_db)


@pytest.mark.parametrize(
    ("stems", "gains_db"),
    [
        ([[0.5, 0.0], [0.0, 0.1], [0.1, 0.1]], [12.0, -6.0, -6.0]),  # one stem alone is too loud
        ([[0.5, 0.0], [0.5, 0.1], [0.5, 0.1]], [0.0, 0.0, 0.0]),  # only their sum is
        ([[0.9, 0.0], [-0.9, 0.1], [0.0, 0.0]], [6.0, 6.0, 0.0]),  # they cancel, each is too loud
    ],
)
def test_what_would_clip_is_scaled_down_as_a_whole(
    stems: list[list[float]], gains_db: list[float]
) -> None:
    parts = np.array(stems, np.float32)
    scaled_db = muddy(parts, np.array(gains_db)).gains_db
    change = scaled_db - gains_db
    assert np.ptp(change) < tolerances.LEVEL_DB
    assert change[0] < -0.1
    scaled = parts * 10.0 ** (scaled_db / 20.0)[:, None]
    highest = max(np.abs(scaled).max(), np.abs(scaled.sum(0)).max())
    assert highest == pytest.approx(LIMIT, rel=tolerances.FLOAT32_ROUNDTRIP)


def test_silence_is_not_divided_by() -> None:
    gains_db = np.array([-6.0, 6.0, 0.0])
    scaled = muddy(np.zeros((3, 100), np.float32), gains_db)
    np.testing.assert_array_equal(scaled.gains_db, gains_db)
