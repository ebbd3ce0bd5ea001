"""How closely two arrays agree, against noise of known energy."""

from __future__ import annotations

import numpy as np
import pytest

from semmix.errors import UsageError
from semmix.metrics import compare_masks, snr_db


def test_the_ratio_is_that_of_energies() -> None:
    signal = np.random.default_rng(1).standard_normal(10_000).astype(np.float32)
    noise = np.random.default_rng(2).standard_normal(10_000).astype(np.float32)
    noise *= np.float32(np.linalg.norm(signal) / np.linalg.norm(noise))
    for level_db in (0.0, 40.0, 80.0):
        other = signal + np.float32(10.0 ** (-level_db / 20.0)) * noise
        assert snr_db(signal, other) == pytest.approx(level_db, abs=0.01)
    assert snr_db(signal, signal) == 200.0
    silence = np.zeros(10, np.float32)
    assert snr_db(silence, silence) == 200.0
    assert snr_db(silence, silence + 1e-3) < 0.0


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_agree_with_nothing(odd: float) -> None:
    good, bad = np.ones((2, 10), np.float32)
    bad[3] = odd
    assert snr_db(good, bad) == -np.inf
    assert snr_db(bad, bad) == -np.inf


def test_masks_are_compared_by_their_largest_differences() -> None:
    rng = np.random.default_rng(5)
    mask = rng.uniform(0.1, 8.0, (100, 50)).astype(np.float32)
    other = mask.copy()
    other[7, 7] += 0.5
    other[8] += 0.0625
    found = compare_masks(mask, other)
    assert found.max_abs == pytest.approx(0.5, rel=1e-6)
    # 51 gains of 5000 are off: one in a thousand is, by what 50 of them are.
    assert found.p999_abs == pytest.approx(0.0625, rel=1e-5)
    assert found.snr_db == snr_db(mask, other)
    assert compare_masks(mask, mask).max_abs == 0.0


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_a_mask_that_is_not_finite_is_infinitely_far(odd: float) -> None:
    good, bad = np.ones((2, 10), np.float32)
    bad[3] = odd
    for found in (compare_masks(good, bad), compare_masks(bad, bad)):
        assert (found.max_abs, found.p999_abs, found.snr_db) == (np.inf, np.inf, -np.inf)


def test_what_cannot_be_compared_is_refused() -> None:
    row = np.ones((1, 10), np.float32)
    for call in (compare_masks, snr_db):
        with pytest.raises(UsageError, match="cut them alike"):
            call(row, np.ones((3, 10), np.float32))
    with pytest.raises(UsageError, match="longer sound"):
        compare_masks(row[:0], row[:0])
