"""Streams of soxr against soxr at once and against tones that are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
import tolerances
from numpy.typing import NDArray
from scipy.signal import correlate, correlation_lags
from support_signal import CUTS, fade_in_and_out, noise, pieces

from semmix.dsp.resample import ResampleStream

RATES = [
    (8_000, 16_000),
    (22_050, 16_000),
    (44_100, 48_000),
    (48_000, 44_100),
    (96_000, 48_000),
    (16_000, 96_000),
]
CHANNELS = [1, 2, 6]


def resample(
    x: NDArray[np.float32], in_hz: int, out_hz: int, cut: int | str = "whole"
) -> NDArray[np.float32]:
    channels, samples = x.shape
    stream = ResampleStream(in_hz, out_hz, channels)
    parts = [stream.push(x[:, piece]) for piece in pieces(samples, cut)]
    return np.concatenate([*parts, stream.finish(channels)], axis=1)


def tone(frequency_hz: float, rate_hz: int, seconds: float) -> NDArray[np.float64]:
    """A tone that fades in and out, `[1, N]`."""
    samples = round(seconds * rate_hz)
    time_s = np.arange(samples) / rate_hz
    return (fade_in_and_out(samples) * np.sin(2.0 * np.pi * frequency_hz * time_s + 0.4))[None]


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize(("in_hz", "out_hz"), RATES)
def test_a_stream_is_soxr_at_once_for_every_block_size(
    in_hz: int, out_hz: int, cut: int | str, channels: int
) -> None:
    for samples in (1, 2, 1_023) if cut in (1, 17) else (1, 1_023, 50_001):
        x = noise(channels, samples, seed=samples)
        expected = soxr.resample(x.T, in_hz, out_hz, quality="HQ").T
        assert np.array_equal(resample(x, in_hz, out_hz, cut), expected)


@pytest.mark.parametrize(("in_hz", "out_hz"), RATES)
@pytest.mark.parametrize("samples", [0, 1, 2, 3, 100, 997, 44_101])
def test_the_length_is_the_ratios_to_the_nearest_sample(
    in_hz: int, out_hz: int, samples: int
) -> None:
    out = resample(noise(2, samples), in_hz, out_hz, 509)
    assert out.dtype == np.float32
    assert out.shape[0] == 2
    assert abs(out.shape[1] - samples * out_hz / in_hz) <= 0.5


@pytest.mark.parametrize("cut", CUTS)
def test_equal_rates_pass_every_bit_at_once(cut: int | str) -> None:
    x = noise(2, 3_000)
    x[0, 0], x[1, 7] = -0.0, np.float32(1e-42)
    stream = ResampleStream(48_000, 48_000, 2)
    for piece in pieces(3_000, cut):
        out = stream.push(x[:, piece])
        assert out.view(np.uint32).tolist() == x[:, piece].view(np.uint32).tolist()
    assert stream.finish(2).shape == (2, 0)


@pytest.mark.parametrize(("in_hz", "out_hz"), RATES)
def test_a_tone_is_the_same_tone_at_the_other_rate(in_hz: int, out_hz: int) -> None:
    frequency_hz = 0.31 * min(in_hz, out_hz)
    out = resample(tone(frequency_hz, in_hz, 0.5).astype(np.float32), in_hz, out_hz, 509)
    expected = tone(frequency_hz, out_hz, 0.5)
    np.testing.assert_allclose(out, expected, atol=tolerances.TONE_RESAMPLED, rtol=0)


@pytest.mark.parametrize(("in_hz", "out_hz"), RATES)
def test_there_and_back_has_no_delay(in_hz: int, out_hz: int) -> None:
    # 0.24 s is a whole number of samples at every rate.
    x = np.zeros((1, in_hz * 6 // 25), np.float32)
    for frequency_hz in (0.07, 0.13, 0.29):
        x += tone(frequency_hz * min(in_hz, out_hz), in_hz, 0.24).astype(np.float32) / 3
    back = resample(resample(x, in_hz, out_hz, 1_024), out_hz, in_hz, 17)
    assert back.shape == x.shape
    lags = correlation_lags(x.shape[1], back.shape[1])
    assert lags[np.argmax(correlate(back[0], x[0]))] == 0
    np.testing.assert_allclose(back, x, atol=2 * tolerances.TONE_RESAMPLED, rtol=0)


def test_channels_stay_where_they_were() -> None:
    x = noise(6, 5_000)
    x[[0, 1, 2, 4, 5]] = 0.0
    out = resample(x, 44_100, 48_000, 509)
    assert not out[[0, 1, 2, 4, 5]].any()
    assert np.array_equal(out[3:4], resample(x[3:4], 44_100, 48_000, 17))
