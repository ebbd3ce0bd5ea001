"""SI-SDR against an independent formula and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tolerances

from semmix.errors import UsageError
from semmix.metrics import si_sdr_db
from semmix.metrics.si_sdr import LIMIT_DB


def pair(seed: int, leak: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    reference = rng.standard_normal(8_000)
    return reference, 0.3 * reference + leak * rng.standard_normal(8_000)


@pytest.mark.parametrize("leak", [0.01, 0.3, 5.0])
def test_it_is_a_function_of_the_angle_between_the_signals(leak: float) -> None:
    """SI-SDR = 10 log10(r^2 / (1 - r^2)), r the cosine similarity: no projection is formed."""
    reference, estimate = pair(41, leak)
    r2 = np.dot(reference, estimate) ** 2 / (
        np.dot(reference, reference) * np.dot(estimate, estimate)
    )
    expected = 10.0 * math.log10(r2 / (1.0 - r2))
    assert si_sdr_db(reference, estimate) == pytest.approx(expected, abs=tolerances.SI_SDR_DB)


def test_noise_at_right_angles_is_the_plain_ratio() -> None:
    time = np.arange(4_800) / 4_800
    tone, other = np.sin(2 * np.pi * 50 * time), np.sin(2 * np.pi * 70 * time)
    assert si_sdr_db(tone, tone + 0.1 * other) == pytest.approx(20.0, abs=tolerances.SI_SDR_DB)


@pytest.mark.parametrize("gain", [1e-9, 0.25, -3.0, 1e6])
def test_gain_and_sign_do_not_matter(gain: float) -> None:
    reference, estimate = pair(42, 0.5)
    expected = si_sdr_db(reference, estimate)
    assert si_sdr_db(reference, gain * estimate) == pytest.approx(
        expected, abs=tolerances.SI_SDR_DB
    )
    assert si_sdr_db(gain * reference, estimate) == pytest.approx(
        expected, abs=tolerances.SI_SDR_DB
    )


def test_limits_and_silence() -> None:
    reference, _ = pair(43, 0.0)
    assert si_sdr_db(reference, reference) == LIMIT_DB
    assert si_sdr_db(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == -LIMIT_DB
    assert math.isnan(si_sdr_db(reference, np.zeros_like(reference)))
    assert math.isnan(si_sdr_db(np.zeros_like(reference), reference))


def test_refusals() -> None:
    with pytest.raises(UsageError, match="cut them to the same length"):
        si_sdr_db(np.ones(4), np.ones(5))
    with pytest.raises(UsageError, match="NaN"):
        si_sdr_db(np.ones(2), np.array([1.0, np.nan]))
