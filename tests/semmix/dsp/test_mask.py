"""The mask's arithmetic against float64."""

from __future__ import annotations

import numpy as np
import pytest
import tolerances
from numpy.typing import NDArray

from semmix.dsp.mask import change, dry_wet, limit_gain, linked_magnitude
from semmix.specs import StftSpec

SPEC = StftSpec(64, 32)


def spectrum(channels: int, frames: int = 20, seed: int = 0) -> NDArray[np.complex64]:
    rng = np.random.default_rng(seed)
    real, imaginary = rng.standard_normal((2, channels, frames, SPEC.bins)) * SPEC.n_fft / 4
    return (real + 1j * imaginary).astype(np.complex64)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_linked_magnitude_is_the_root_mean_square_of_the_channels(channels: int) -> None:
    x = spectrum(channels)
    expected = np.sqrt(np.mean(np.abs(x.astype(np.complex128)) ** 2, axis=0)) / 16.0
    magnitude = linked_magnitude(x, SPEC)
    assert magnitude.dtype == np.float32
    np.testing.assert_allclose(magnitude, expected, rtol=tolerances.MASK_FLOAT32)


@pytest.mark.parametrize("channels", [2, 6])
def test_equal_channels_sound_to_the_network_like_one(channels: int) -> None:
    one = spectrum(1)
    np.testing.assert_allclose(
        linked_magnitude(one.repeat(channels, axis=0), SPEC),
        np.abs(one[0]) / 16.0,
        rtol=tolerances.MASK_FLOAT32,
    )


def test_opposite_channels_do_not_cancel() -> None:
    one = spectrum(1)
    np.testing.assert_allclose(
        linked_magnitude(np.concatenate((one, -one)), SPEC),
        np.abs(one[0]) / 16.0,
        rtol=tolerances.MASK_FLOAT32,
    )


def test_linked_magnitude_leaves_the_spectrum_alone() -> None:
    x = spectrum(2)
    before = x.copy()
    linked_magnitude(x, SPEC)
    assert np.array_equal(x, before)
    assert linked_magnitude(x[:, :0], SPEC).shape == (0, SPEC.bins)


@pytest.mark.parametrize("max_gain_db", [0.0, 3.0, 6.0, 18.0, 60.0])
def test_a_bound_in_decibels_holds_both_ways(max_gain_db: float) -> None:
    gain_db = np.linspace(-80.0, 80.0, 1_601)
    mask = (10.0 ** (gain_db / 20.0)).astype(np.float32)
    bounded = limit_gain(mask, max_gain_db)
    assert bounded.dtype == np.float32
    expected_db = np.clip(gain_db, -max_gain_db, max_gain_db)
    np.testing.assert_allclose(
        20.0 * np.log10(bounded.astype(np.float64)), expected_db, atol=tolerances.GAIN_BOUND_DB
    )
    inside = np.abs(gain_db) < max_gain_db - 0.05
    assert np.array_equal(bounded[inside], mask[inside])


def test_silencing_is_bounded_too_and_no_bound_leaves_all() -> None:
    mask = np.array([0.0, 1e-9, 1.0, 1e9], np.float32)
    np.testing.assert_allclose(
        limit_gain(mask, 20.0), [0.1, 0.1, 1.0, 10.0], rtol=tolerances.MASK_FLOAT32
    )
    assert np.array_equal(limit_gain(mask, None), mask)
    assert mask[0] == 0.0


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_change_is_what_a_mask_adds_to_every_channel(channels: int) -> None:
    x = spectrum(channels)
    mask = np.random.default_rng(1).uniform(0.0, 4.0, x.shape[1:]).astype(np.float32)
    expected = mask * x.astype(np.complex128) - x
    added = change(x, mask)
    assert added.dtype == np.complex64
    np.testing.assert_allclose(added, expected, atol=1e2 * tolerances.MASK_FLOAT32)


def test_a_mask_of_one_changes_nothing_at_all() -> None:
    x = spectrum(2)
    assert not change(x, np.ones(x.shape[1:], np.float32)).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.int32])
def test_amount_0_gives_the_same_bits_back(dtype: type) -> None:
    rng = np.random.default_rng(0)
    if np.issubdtype(dtype, np.integer):
        dry = rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, (2, 500)).astype(dtype)
    else:
        dry = rng.standard_normal((2, 500)).astype(dtype)
        dry[0, :4] = -0.0, np.finfo(dtype).tiny / 8, np.nextafter(dtype(1), dtype(2)), np.inf
    before = dry.tobytes()
    out = dry_wet(dry, np.full((2, 500), np.nan, np.float32), 0.0)
    assert out.dtype == dtype
    assert out.tobytes() == before


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("amount", [1e-3, 0.25, 0.5, 1.0])
def test_dry_and_wet_mix_in_the_dry_signals_dtype(dtype: type, amount: float) -> None:
    rng = np.random.default_rng(0)
    dry = rng.standard_normal((2, 500)).astype(dtype)
    delta = rng.standard_normal((2, 500)).astype(np.float32)
    kept = dry.copy()
    out = dry_wet(dry, delta, amount)
    assert out.dtype == dtype
    expected = kept.astype(np.float64) + amount * delta.astype(np.float64)
    np.testing.assert_allclose(out, expected, atol=4 * np.finfo(dtype).eps, rtol=0)
    assert np.array_equal(dry, kept)
