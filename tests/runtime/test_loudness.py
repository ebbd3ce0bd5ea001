import math
import re
import shutil
import subprocess

import numpy as np
import pyloudnorm
import pytest
import soundfile
from semmix_rt.loudness import Loudness, LoudnessMeter, channel_weights
from tolerances import LOUDNESS_LU, LOUDNESS_RANGE_LU


def measure(signal, rate_hz, weights=None, block_samples=24_000) -> Loudness:
    meter = LoudnessMeter(rate_hz, signal.shape[0], weights)
    for start in range(0, signal.shape[1], block_samples):
        meter.push(signal[:, start : start + block_samples])
    return meter.finish()


def coloured_noise(rate_hz, seconds, channels, exponent, seed=1):
    """Noise with power falling as `1 / f ** exponent`, its level stepping every two seconds."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal((channels, rate_hz * seconds)))
    frequency_hz = np.maximum(np.fft.rfftfreq(rate_hz * seconds, 1 / rate_hz), 20.0)
    noise = np.fft.irfft(spectrum / frequency_hz ** (exponent / 2))
    level = 10.0 ** (rng.uniform(-30.0, 0.0, seconds // 2 + 1) / 20.0)
    noise *= np.repeat(level, 2 * rate_hz)[: noise.shape[1]]
    return (0.5 * noise / np.abs(noise).max()).astype(np.float32)


def ffmpeg_ebur128(path):
    """Integrated loudness and loudness range as FFmpeg's meter prints them."""
    done = subprocess.run(
        ["ffmpeg", "-i", path, *["-nostats", "-af", "ebur128=framelog=verbose", "-f", "null", "-"]],
        capture_output=True,
        text=True,
        check=True,
    )
    summary = done.stderr[done.stderr.rindex("Summary:") :]
    return (
        float(re.search(r"I:\s+(-?[\d.]+) LUFS", summary)[1]),
        float(re.search(r"LRA:\s+(-?[\d.]+) LU", summary)[1]),
    )


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_a_full_scale_sine_at_997_hz_reads_as_the_standard_says(rate_hz):
    time_s = np.arange(5 * rate_hz) / rate_hz
    sine = np.sin(2 * np.pi * 997.0 * time_s).astype(np.float32)[None]
    assert measure(sine, rate_hz).integrated_lufs == pytest.approx(-3.01, abs=0.02)


@pytest.mark.parametrize("rate_hz", [32_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_coloured_noise_agrees_with_pyloudnorm(rate_hz, exponent):
    noise = coloured_noise(rate_hz, 16, 2, exponent)
    reference_lufs = pyloudnorm.Meter(rate_hz).integrated_loudness(noise.T.astype(np.float64))
    assert measure(noise, rate_hz).integrated_lufs == pytest.approx(reference_lufs, abs=LOUDNESS_LU)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="compares with ffmpeg's ebur128")
@pytest.mark.parametrize(
    ("rate_hz", "names"),
    [(48_000, ["FC"]), (44_100, ["FL", "FR"]), (48_000, ["FL", "FR", "FC", "LFE", "BL", "BR"])],
)
def test_noise_agrees_with_ffmpeg(tmp_path, rate_hz, names):
    noise = coloured_noise(rate_hz, 30, len(names), 1.0, seed=4)
    path = tmp_path / "noise.wav"
    soundfile.write(path, noise.T, rate_hz, subtype="FLOAT")
    integrated_lufs, range_lu = ffmpeg_ebur128(path)
    loudness = measure(noise, rate_hz, channel_weights(names))
    # FFmpeg prints one decimal.
    assert loudness.integrated_lufs == pytest.approx(integrated_lufs, abs=LOUDNESS_LU + 0.05)
    assert loudness.range_lu == pytest.approx(range_lu, abs=LOUDNESS_RANGE_LU + 0.05)


def test_low_frequency_effects_do_not_count_and_surrounds_count_more():
    weights = channel_weights(["FL", "FR", "FC", "LFE", "SL", "SR"])
    assert weights.tolist() == [1.0, 1.0, 1.0, 0.0, 1.41, 1.41]
    noise = coloured_noise(48_000, 4, 6, 1.0)
    only_lfe = np.zeros_like(noise)
    only_lfe[3] = noise[3]
    assert measure(only_lfe, 48_000, weights).integrated_lufs is None
    front, back = np.zeros_like(noise), np.zeros_like(noise)
    front[0] = back[4] = noise[0]
    difference_lu = (
        measure(back, 48_000, weights).integrated_lufs
        - measure(front, 48_000, weights).integrated_lufs
    )
    assert difference_lu == pytest.approx(10 * math.log10(1.41), abs=1e-4)


@pytest.mark.parametrize("block_samples", [1, 37, 1_024, 44_100, 1_000_000])
def test_block_size_does_not_matter(block_samples):
    noise = coloured_noise(44_100, 4, 2, 1.0)[:, : 3 * 44_100 + 17]
    if block_samples < 100:
        noise = noise[:, :44_100]
    assert measure(noise, 44_100, block_samples=block_samples) == measure(noise, 44_100)


def test_quiet_passages_are_gated():
    loud = coloured_noise(48_000, 4, 1, 1.0)
    whole = np.concatenate([loud, loud * 1e-5, np.zeros_like(loud)], axis=1)
    reference = measure(loud, 48_000).integrated_lufs
    # The blocks that straddle the edges add a little to both sides.
    assert measure(whole, 48_000).integrated_lufs == pytest.approx(reference, abs=0.3)


def test_rumble_below_hearing_barely_counts():
    noise = coloured_noise(48_000, 6, 1, 1.0)
    drift = 0.5 * np.sin(2 * np.pi * 1.7 * np.arange(noise.shape[1]) / 48_000)
    with_drift = (noise + drift).astype(np.float32)
    assert measure(with_drift, 48_000).integrated_lufs == pytest.approx(
        measure(noise, 48_000).integrated_lufs, abs=LOUDNESS_LU
    )


def test_sample_peak_is_exact_wherever_it_lies():
    for position in (0, 23_999, 70_001, 95_999):
        signal = np.full((2, 96_000), 1e-3, np.float32)
        signal[1, position] = -0.25
        peak_dbfs = measure(signal, 48_000).sample_peak_dbfs
        assert peak_dbfs == pytest.approx(20 * math.log10(0.25), abs=1e-6)


def test_silence_and_scraps_have_no_loudness():
    silent = Loudness(None, None, None)
    assert measure(np.zeros((2, 96_000), np.float32), 48_000) == silent
    assert measure(np.zeros((1, 0), np.float32), 48_000) == silent
    scrap = measure(np.full((1, 1), 0.5, np.float32), 8_000)
    assert scrap.integrated_lufs is None
    assert scrap.sample_peak_dbfs == pytest.approx(-6.02, abs=0.01)


def test_weights_must_fit_the_channels():
    with pytest.raises(ValueError, match="2 weights for 6 channels"):
        LoudnessMeter(48_000, 6, [1.0, 1.0])
