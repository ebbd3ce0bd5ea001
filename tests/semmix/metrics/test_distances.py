"""MAG, ENV and W-dis against torch, scipy and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import tolerances
import torch
from scipy.signal import hilbert
from scipy.stats import wasserstein_distance

from semmix.errors import UsageError
from semmix.metrics import at_44100, env, hilbert_envelope, mag, wasserstein


def _noise(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.8, 0.8, count)


def _torch_mag(reference: np.ndarray, estimate: np.ndarray) -> float:
    def magnitude(signal: np.ndarray) -> torch.Tensor:
        spectrum = torch.stft(
            torch.from_numpy(signal),
            n_fft=2048,
            hop_length=441,
            win_length=1764,
            window=torch.hann_window(1764, dtype=torch.float64),
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )
        return torch.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-8)

    return float((magnitude(reference) - magnitude(estimate)).abs().mean())


@pytest.mark.parametrize("count", [1025, 2047, 44_100, 44_101, 400_001])
def test_mag_is_torch_stft(count: int) -> None:
    first, second = _noise(count, 1), _noise(count, 2) * np.linspace(0, 1, count)
    expected = _torch_mag(first, second)
    assert mag(first, second) == pytest.approx(expected, rel=tolerances.METRIC_REL)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 1000, 1001, 44_100])
def test_envelope_is_scipy_hilbert(count: int) -> None:
    signal = _noise(count, 3)
    np.testing.assert_allclose(
        hilbert_envelope(signal), np.abs(hilbert(signal)), atol=tolerances.METRIC_ABS
    )


def test_envelope_of_a_modulated_tone_is_its_modulation() -> None:
    time_s = np.arange(44_100) / 44_100
    modulation = 0.5 + 0.3 * np.cos(2 * np.pi * 7 * time_s)
    envelope = hilbert_envelope(modulation * np.cos(2 * np.pi * 1000 * time_s))
    np.testing.assert_allclose(envelope, modulation, atol=tolerances.METRIC_ABS)


def test_env_of_two_tones_is_the_difference_of_their_amplitudes() -> None:
    tone = np.cos(2 * np.pi * 100 * np.arange(8000) / 8000)
    assert env(0.7 * tone, 0.2 * tone) == pytest.approx(0.5, rel=tolerances.METRIC_REL)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (500, 500), (500, 501), (1, 77), (3000, 1000)])
def test_wasserstein_is_scipy(n: int, m: int) -> None:
    first, second = _noise(n, 4), 0.5 * _noise(m, 5) + 0.1
    expected = wasserstein_distance(first, second)
    assert wasserstein(first, second) == pytest.approx(expected, rel=tolerances.METRIC_REL)


def test_wasserstein_of_shifted_ties_is_the_shift() -> None:
    signal = np.repeat([0.0, 0.25, 0.5], 10)
    assert wasserstein(signal, signal + 0.125) == pytest.approx(0.125)
    assert wasserstein(signal, np.append(signal, signal) + 0.125) == pytest.approx(0.125)


@pytest.mark.parametrize("metric", [mag, env, wasserstein])
class TestProperties:
    def test_zero_for_equal_and_positive_otherwise(self, metric) -> None:
        signal = _noise(4000, 6)
        assert metric(signal, signal) == 0.0
        assert metric(signal, 0.9 * signal) > 0.0

    def test_symmetric(self, metric) -> None:
        first, second = _noise(4000, 7), 0.3 * _noise(4000, 8)
        assert metric(first, second) == pytest.approx(metric(second, first))

    def test_scales_with_the_signals(self, metric) -> None:
        first, second = _noise(4000, 9), 0.3 * _noise(4000, 10)
        # MAG only nearly so: its floor of 1e-8 in power does not scale.
        assert metric(0.5 * first, 0.5 * second) == pytest.approx(
            0.5 * metric(first, second), rel=1e-4
        )

    def test_float32_input_is_accepted(self, metric) -> None:
        first = _noise(4000, 11).astype(np.float32)
        assert isinstance(metric(first, 0.5 * first), float)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_refuses_non_finite(self, metric, bad: float) -> None:
        signal = _noise(4000, 12)
        broken = signal.copy()
        broken[17] = bad
        with pytest.raises(UsageError, match="estimate holds NaN or infinity"):
            metric(signal, broken)

    def test_refuses_channels(self, metric) -> None:
        with pytest.raises(UsageError, match=r"\(2, 4000\)"):
            metric(np.zeros((2, 4000)), np.zeros((2, 4000)))

    def test_refuses_nothing(self, metric) -> None:
        with pytest.raises(UsageError, match="at least one sample"):
            metric(np.zeros(0), np.zeros(0))


def test_only_wasserstein_is_blind_to_order() -> None:
    signal = _noise(4000, 13) * np.linspace(0, 1, 4000)
    shuffled = np.random.default_rng(14).permutation(signal)
    assert wasserstein(signal, shuffled) == 0.0
    assert mag(signal, shuffled) > 0.0
    assert env(signal, shuffled) > 0.0


@pytest.mark.parametrize("metric", [mag, env])
def test_lengths_must_agree(metric) -> None:
    with pytest.raises(UsageError, match="4000 samples and the estimate 4001"):
        metric(_noise(4000, 15), _noise(4001, 15))


def test_mag_refuses_a_clip_too_short_to_reflect() -> None:
    with pytest.raises(UsageError, match="more than 1024"):
        mag(np.zeros(1024), np.zeros(1024))


def test_at_44100_keeps_a_tone_and_its_length() -> None:
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(48_000) / 48_000)
    moved = at_44100(tone, 48_000)
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(44_100) / 44_100)
    assert moved.shape == expected.shape
    # The ends ring, where the tone starts and stops.
    np.testing.assert_allclose(moved[2000:-2000], expected[2000:-2000], atol=1e-5)
    assert at_44100(tone, 44_100) is tone
    with pytest.raises(UsageError, match="0 Hz"):
        at_44100(tone, 0)
