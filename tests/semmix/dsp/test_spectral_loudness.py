"""Loudness from spectra against the standard's own filters (scipy) and pyloudnorm."""

from __future__ import annotations

import math

import numpy as np
import pyloudnorm
import pytest
import tolerances
from numpy.typing import NDArray
from scipy.signal import sosfilt, sosfreqz
from support_signal import noise

from semmix.dsp.loudness import (
    frame_power,
    gated_loudness_lufs,
    integrated_loudness_lufs,
    k_weighting,
)
from semmix.dsp.stft import stft
from semmix.specs import StftSpec

SPEC = StftSpec(2048, 1024)
# BS.1770-4, tables 1 and 2 at 48 kHz, as scipy's second-order sections `[b, a]`.
SHELF = [1.53512485958697, -2.69169618940638, 1.19839281085285]
SHELF += [1.0, -1.69065929318241, 0.73248077421585]
HIGH_PASS = [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621]
STANDARD = np.array([SHELF, HIGH_PASS])


def stepped_noise(rate_hz: int, seconds: int) -> NDArray[np.float32]:
    """Noise `[1, N]` with a new level every two seconds, some of them below the gates."""
    levels_db = np.random.default_rng(5).uniform(-40.0, 0.0, seconds // 2)
    return noise(1, rate_hz * seconds) * np.repeat(10.0 ** (levels_db / 20.0), 2 * rate_hz).astype(
        np.float32
    )


@pytest.mark.parametrize("n_fft", [512, 2048])
def test_weights_are_the_standards_filters_power(n_fft: int) -> None:
    _, response = sosfreqz(STANDARD, np.linspace(0.0, math.pi, n_fft // 2 + 1))
    weights = k_weighting(n_fft, 48_000)
    assert weights[0] == 0.0
    error_db = 10.0 * np.log10(weights[1:]) - 20.0 * np.log10(np.abs(response[1:]))
    assert np.abs(error_db).max() < tolerances.K_WEIGHTING_DB
    with pytest.raises(ValueError, match="read-only"):
        weights[0] = 1.0


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 96_000])
def test_weights_at_other_rates_are_those_of_the_same_frequency(rate_hz: int) -> None:
    # Below a fifth of the rate the bilinear transform bends frequencies by little.
    frequency_hz = np.arange(40.0, 0.2 * min(rate_hz, 48_000), 10.0)
    here = np.interp(frequency_hz, np.linspace(0, rate_hz / 2, 8_193), k_weighting(16_384, rate_hz))
    _, response = sosfreqz(STANDARD, frequency_hz, fs=48_000)
    error_db = 10.0 * np.log10(here) - 20.0 * np.log10(np.abs(response))
    assert np.abs(error_db).max() < tolerances.K_WARP_DB


def test_frame_power_is_the_filtered_signals_mean_square() -> None:
    x = 0.5 * noise(1, 48_000 * 8)
    expected = np.mean(sosfilt(STANDARD, x[0].astype(np.float64)) ** 2)
    power = frame_power(stft(x, SPEC), 48_000)
    assert power.shape == (1, SPEC.frames(x.shape[1]))
    assert power.dtype == np.float64
    # The first and the last frames reach beyond the signal.
    measured = power[0, 2:-2].mean()
    assert 10.0 * math.log10(measured / expected) == pytest.approx(0.0, abs=tolerances.LOUDNESS_LU)


@pytest.mark.parametrize("rate_hz", [44_100, 48_000])
def test_integrated_loudness_is_pyloudnorms(rate_hz: int) -> None:
    x = stepped_noise(rate_hz, 16)
    expected = pyloudnorm.Meter(rate_hz).integrated_loudness(x[0].astype(np.float64))
    lufs = integrated_loudness_lufs(stft(x, SPEC)[0], rate_hz, SPEC.hop_samples)
    assert lufs == pytest.approx(expected, abs=tolerances.LOUDNESS_LU)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
def test_a_full_scale_sine_at_997_hz_reads_as_the_standard_says(rate_hz: int) -> None:
    x = np.sin(2 * np.pi * 997.0 * np.arange(4 * rate_hz) / rate_hz)[None].astype(np.float32)
    lufs = integrated_loudness_lufs(stft(x, SPEC)[0], rate_hz, SPEC.hop_samples)
    assert lufs == pytest.approx(-3.01, abs=0.02)


def test_both_gates_leave_out_what_the_standard_leaves_out() -> None:
    def power(lufs: float) -> float:
        return 10.0 ** ((lufs + 0.691) / 10.0)

    # What passes -70 LUFS has a mean of -24.2 and sets the relative gate at -34.2. With what lies
    # below, the gate would be at -38.4 and let -36 through.
    blocks = np.repeat([power(-20.0), power(-29.0), power(-36.0), power(-70.1)], [10, 10, 10, 50])
    expected = -0.691 + 10.0 * math.log10((power(-20.0) + power(-29.0)) / 2.0)
    assert gated_loudness_lufs(blocks) == pytest.approx(expected, abs=1e-9)
    assert gated_loudness_lufs(np.full(5, power(-69.9))) == pytest.approx(-69.9, abs=1e-9)


def test_silence_and_nothing_have_no_loudness() -> None:
    assert gated_loudness_lufs(np.zeros(10)) == -math.inf
    for samples in (0, 1, 48_000):
        spectrum = stft(np.zeros((1, samples), np.float32), SPEC)[0]
        assert integrated_loudness_lufs(spectrum, 48_000, SPEC.hop_samples) == -math.inf


def test_less_than_a_block_counts_as_one() -> None:
    # 0.2 s inside a longer tone, so that no frame reaches beyond it.
    x = np.sin(2 * np.pi * 997.0 * np.arange(48_000) / 48_000)[None].astype(np.float32)
    few = stft(x, SPEC)[0, 10:20]
    assert integrated_loudness_lufs(few, 48_000, SPEC.hop_samples) == pytest.approx(-3.01, abs=0.02)
