"""Integrated loudness, loudness range and true peak against FFmpeg's meter and closed forms."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import soundfile
import tolerances

from semmix.errors import UsageError
from semmix.metrics import programme_levels

needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="compares with ffmpeg's ebur128"
)


def ffmpeg_levels(path: Path) -> tuple[float, float, float]:
    """Integrated loudness, loudness range and true peak as FFmpeg prints them."""
    meter = ["-nostats", "-af", "ebur128=peak=true:framelog=verbose", "-f", "null", "-"]
    done = subprocess.run(
        ["ffmpeg", "-nostdin", "-i", path, *meter],
        capture_output=True,
        text=True,
        check=True,
    )
    summary = done.stderr[done.stderr.rindex("Summary:") :]
    found = [
        re.search(pattern, summary)
        for pattern in (r"I:\s+(-?[\d.]+) LUFS", r"LRA:\s+(-?[\d.]+) LU", r"Peak:\s+(-?[\d.]+) dB")
    ]
    values = [float(match[1]) for match in found if match]
    return (values[0], values[1], values[2])


def pink(rate_hz: int, seconds: int, channels: int) -> np.ndarray:
    """Pink noise whose level steps every two seconds."""
    rng = np.random.default_rng(31)
    spectrum = np.fft.rfft(rng.standard_normal((channels, rate_hz * seconds)))
    frequency_hz = np.maximum(np.fft.rfftfreq(rate_hz * seconds, 1 / rate_hz), 20.0)
    noise = np.fft.irfft(spectrum / np.sqrt(frequency_hz))
    level = 10.0 ** (rng.uniform(-25.0, 0.0, seconds // 2) / 20.0)
    noise *= np.repeat(level, 2 * rate_hz)
    return 0.7 * noise / np.abs(noise).max()


def bursts(rate_hz: int, seconds: int, channels: int) -> np.ndarray:
    """Tones near a quarter of the rate, whose samples all miss the crest, with pauses."""
    count = np.arange(rate_hz * seconds)
    tone = 0.6 * np.sin(0.5 * np.pi * count + 0.25 * np.pi)
    gate = np.sin(2.0 * np.pi * 0.13 * count / rate_hz) ** 2
    return np.stack([tone * gate * (1.0 - 0.3 * c) for c in range(channels)])


def clicks(rate_hz: int, seconds: int, channels: int) -> np.ndarray:
    """Single samples over a quiet hum: nothing has more energy between the samples."""
    count = np.arange(rate_hz * seconds)
    hum = 0.02 * np.sin(2.0 * np.pi * 180.0 * count / rate_hz)
    signal = np.stack([hum] * channels)
    signal[:, rate_hz // 3 :: rate_hz // 5] += 0.5
    return signal


@needs_ffmpeg
@pytest.mark.parametrize("make", [pink, bursts, clicks])
@pytest.mark.parametrize(("rate_hz", "channels"), [(48_000, 1), (44_100, 2), (32_000, 2)])
def test_levels_are_those_of_ffmpeg(tmp_path, make, rate_hz, channels):
    signal = make(rate_hz, 20, channels)
    path = tmp_path / "signal.wav"
    soundfile.write(path, signal.T, rate_hz, subtype="FLOAT")
    integrated_lufs, range_lu, peak_dbtp = ffmpeg_levels(path)
    levels = programme_levels(signal, rate_hz)
    # FFmpeg prints one decimal.
    assert levels.integrated_lufs == pytest.approx(
        integrated_lufs, abs=tolerances.LOUDNESS_LU + 0.05
    )
    assert levels.range_lu == pytest.approx(range_lu, abs=tolerances.LOUDNESS_RANGE_LU + 0.05)
    assert levels.true_peak_dbtp == pytest.approx(peak_dbtp, abs=tolerances.TRUE_PEAK_DB + 0.05)


@pytest.mark.parametrize("rate_hz", [32_000, 44_100, 48_000])
def test_loudness_is_that_of_pyloudnorm(rate_hz):
    signal = pink(rate_hz, 10, 2)
    expected = pyloudnorm.Meter(rate_hz).integrated_loudness(signal.T)
    found = programme_levels(signal, rate_hz).integrated_lufs
    assert found == pytest.approx(expected, abs=tolerances.LOUDNESS_LU)


def test_the_peak_between_the_samples_is_found():
    """At a quarter of the rate and 45 degrees every sample misses the crest by 3 dB."""
    count = np.arange(48_000)
    fade = np.minimum(1.0, np.minimum(count, count[::-1]) / 4_800)
    signal = fade * np.sin(0.5 * np.pi * count + 0.25 * np.pi)
    assert 20.0 * math.log10(np.abs(signal).max()) == pytest.approx(-3.01, abs=0.01)
    found = programme_levels(signal, 48_000).true_peak_dbtp
    assert found == pytest.approx(0.0, abs=tolerances.TRUE_PEAK_DB)


def test_a_clip_that_starts_at_full_scale_overshoots():
    """A player hears silence before the first sample: the band-limited step rings above it."""
    signal = np.full(48_000, 0.5)
    assert programme_levels(signal, 48_000).true_peak_dbtp > 20.0 * math.log10(0.5) + 0.5


def test_two_levels_fifteen_lu_apart_are_a_range_of_fifteen():
    tone = np.sin(2.0 * np.pi * 997.0 * np.arange(30 * 48_000) / 48_000)
    loud_then_soft = np.concatenate([0.5 * tone, 10.0 ** (-15.0 / 20.0) * 0.5 * tone])
    levels = programme_levels(loud_then_soft, 48_000)
    assert levels.range_lu == pytest.approx(15.0, abs=tolerances.LOUDNESS_RANGE_LU)


def test_gain_moves_loudness_and_peak_and_leaves_the_range():
    signal = pink(48_000, 10, 1)
    whole, half = programme_levels(signal, 48_000), programme_levels(0.5 * signal, 48_000)
    step_db = 20.0 * math.log10(2.0)
    assert whole.integrated_lufs - half.integrated_lufs == pytest.approx(step_db, abs=1e-6)
    assert whole.true_peak_dbtp - half.true_peak_dbtp == pytest.approx(step_db, abs=1e-6)
    assert whole.range_lu == pytest.approx(half.range_lu, abs=1e-6)


def test_channels_count_by_their_weights():
    signal = pink(48_000, 4, 2)
    left = programme_levels(signal[0], 48_000)
    assert programme_levels(signal, 48_000, [1.0, 0.0]).integrated_lufs == left.integrated_lufs
    heavier = programme_levels(signal[:1], 48_000, [1.41]).integrated_lufs
    assert heavier - left.integrated_lufs == pytest.approx(10.0 * math.log10(1.41), abs=1e-9)


def test_silence_and_scraps_have_no_levels():
    silent = programme_levels(np.zeros(48_000 * 4), 48_000)
    assert np.isnan([silent.integrated_lufs, silent.range_lu, silent.true_peak_dbtp]).all()
    scrap = programme_levels(np.full(4_000, 0.5), 48_000)
    assert math.isnan(scrap.integrated_lufs)
    assert not math.isnan(scrap.true_peak_dbtp)
    assert math.isnan(programme_levels(pink(48_000, 2, 1), 48_000).range_lu)


def test_refusals():
    with pytest.raises(UsageError, match="NaN or infinity"):
        programme_levels(np.array([0.0, np.nan]), 48_000)
    with pytest.raises(UsageError, match="3 channel weights do not fit 2"):
        programme_levels(np.zeros((2, 4_800)), 48_000, [1.0, 1.0, 1.0])
    with pytest.raises(UsageError, match="at 4000 Hz are not defined"):
        programme_levels(np.zeros(4_800), 4_000)
    with pytest.raises(UsageError, match="no channels"):
        programme_levels(np.zeros((0, 4_800)), 48_000)
    with pytest.raises(UsageError, match=r"\(1, 2, 3\)"):
        programme_levels(np.zeros((1, 2, 3)), 48_000)
