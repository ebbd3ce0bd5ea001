"""The interval that says how much a measured change is worth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from semmix.training.evaluate import CONDITIONS, ClipResult, EvaluationResult
from semmix.training.measures import DISTANCES


def result(before: np.ndarray, after: np.ndarray) -> EvaluationResult:
    clips = []
    for index, (b, a) in enumerate(zip(before, after, strict=True)):
        values = {c: dict.fromkeys(DISTANCES, float(a)) for c in CONDITIONS}
        values["input"] = dict.fromkeys(DISTANCES, float(b))
        good = dict.fromkeys(DISTANCES, 0.0)
        clips.append(ClipResult(index, str(index), ("dialogue",), 0, values, good, {}))
    return EvaluationResult(tuple(clips), seed=1, duration_s=10.0, sample_rate_hz=48_000)


def test_clips_that_all_change_alike_leave_no_doubt():
    before = np.linspace(1.0, 3.0, 20)
    found = result(before, 0.6 * before)
    assert found.interval_percent("right", "mag") == pytest.approx((-40.0, -40.0))


def test_conditions_are_compared_clip_by_clip():
    """Clips differ by far more than the two conditions, which differ alike on each."""
    before = np.random.default_rng(4).uniform(1.0, 9.0, 30)
    found = result(before, 0.5 * before)
    for clip, value in zip(found.clips, before, strict=True):
        clip.measures["none"]["mag"] = 0.55 * value
    low, high = found.interval_percent("none", "mag", "right")
    assert (low, high) == pytest.approx((10.0, 10.0))


def test_its_width_is_the_standard_error_of_a_ratio_of_means():
    rng = np.random.default_rng(2)
    before = rng.uniform(2.0, 4.0, 400)
    after = before * rng.uniform(0.2, 1.2, 400)
    found = result(before, after)
    ratio = after.mean() / before.mean()
    # Delta method: the linearised residuals of a ratio of means.
    error = np.std(after - ratio * before, ddof=1) / before.mean() / np.sqrt(400)
    low, high = found.interval_percent("right", "mag")
    assert high - low == pytest.approx(2 * 1.96 * 100 * error, rel=0.1)
    assert 0.5 * (low + high) == pytest.approx(100 * (ratio - 1), abs=100 * error / 2)


def test_more_clips_narrow_it_and_it_repeats():
    rng = np.random.default_rng(3)
    before = rng.uniform(2.0, 4.0, 800)
    after = before * rng.uniform(0.2, 1.2, 800)
    few, many = result(before[:50], after[:50]), result(before, after)
    widths = [np.ptp(r.interval_percent("right", "env")) for r in (few, many)]
    assert widths[0] == pytest.approx(4 * widths[1], rel=0.4)
    assert few.interval_percent("right", "env") == few.interval_percent("right", "env")


def test_one_clip_or_nothing_to_compare_with_has_none():
    assert all(map(math.isnan, result(np.ones(1), np.ones(1)).interval_percent("right", "mag")))
    assert all(map(math.isnan, result(np.zeros(9), np.ones(9)).interval_percent("right", "mag")))
