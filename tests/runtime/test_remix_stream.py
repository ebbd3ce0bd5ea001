"""The whole stream against the method over the whole signal at once, in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import soxr
import tolerances
from numpy.typing import NDArray
from semmix_rt.engines import open_engine
from semmix_rt.engines.base import Engine
from support_engine import TINY_SPEC, TinyModel, tiny_model
from support_signal import CUTS, fade_in_and_out, noise
from support_stream import (
    RuleEngine,
    by_cue,
    by_level,
    constant,
    open_stream,
    play,
    whole_signal,
)

from semmix.bundle import Bundle
from semmix.specs import StftSpec

Gains = Callable[[NDArray, NDArray], NDArray]

RATES = [8_000, 16_000, 22_050, 44_100, 48_000, 96_000]
CHUNKS = [(1, 0), (1, 1), (4, 0), (4, 1), (4, 4), (7, 5), (3, 11)]
"""Kept and look-ahead frames: none, as long as the chunk, longer than several chunks."""


@pytest.fixture(scope="module")
def engine(tiny_bundle: Bundle) -> Engine:
    return open_engine(tiny_bundle)


def tiny_gains(model: TinyModel, shares: Callable[[NDArray], NDArray], tokens: NDArray) -> Gains:
    """The tiny network over a whole signal: its look-ahead taken off, `shares` `[M, S]` by time."""

    def gains(magnitude: NDArray, times_s: NDArray) -> NDArray:
        # One frame of silence more brings the last mask out.
        spectrum = np.concatenate((magnitude, np.zeros((1, magnitude.shape[1]))))[None]
        # The cues of output frame t are those of input frame t - 1.
        frame_s = TINY_SPEC.stft.hop_samples / TINY_SPEC.audio.sample_rate_hz
        weights = shares(np.concatenate(([-frame_s], times_s)))[None]
        state = tuple(np.zeros((1, *s.shape)) for s in model.spec.state)
        return model.run(spectrum, tokens[None], weights, state)[0][0, 1:]

    return gains


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("samples", [1, 31, 127, 128, 129, 5_003])
def test_the_network_in_chunks_is_the_network_at_once(
    engine: Engine, channels: int, samples: int
) -> None:
    x = noise(channels, samples)
    model = tiny_model()
    values = np.array([1.5, -2.0])
    embeddings = np.broadcast_to(values[:, None, None], (2, 6, 5))

    def shares(times_s: NDArray) -> NDArray:
        later = np.interp(times_s, [0.05, 0.25], [0.0, 1.0])
        return np.stack((1.0 - later, later), axis=1)

    expected = whole_signal(
        x, TINY_SPEC, tiny_gains(model, shares, model.encode_context(embeddings))
    )
    cues = [(-1.0, 0.15, values[0]), (0.15, 9.0, values[1])]
    out = play(open_stream(engine, channels=channels, cues=cues), x, 509)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, expected, atol=tolerances.REMIX_FLOAT32, rtol=0)


@pytest.mark.parametrize(("kept", "lookahead"), CHUNKS)
@pytest.mark.parametrize("samples", [1, 33, 640, 2_001])
def test_each_frame_gets_the_mask_made_for_it(kept: int, lookahead: int, samples: int) -> None:
    x = noise(2, samples)
    x[:, samples // 2 :] *= 0.01
    expected = whole_signal(x, TINY_SPEC, by_level)
    out = play(open_stream(RuleEngine(by_level, kept, lookahead)), x, "random")
    np.testing.assert_allclose(out, expected, atol=tolerances.REMIX_FLOAT32, rtol=0)


@pytest.mark.parametrize("stft", [StftSpec(64, 16), StftSpec(100, 33), StftSpec(65, 20)])
def test_every_window_and_hop_gives_each_frame_its_mask(stft: StftSpec) -> None:
    x = noise(2, 2_001)
    x[:, 1_000:] *= 0.01
    engine = RuleEngine(by_level, 4, 3, replace(TINY_SPEC, stft=stft))
    expected = whole_signal(x, engine.spec, by_level)
    out = play(open_stream(engine), x, "random")
    np.testing.assert_allclose(out, expected, atol=tolerances.REMIX_FLOAT32, rtol=0)


@pytest.mark.parametrize(("kept", "lookahead"), CHUNKS)
@pytest.mark.parametrize("start_s", [0.0, 7.3])
def test_a_step_of_the_cues_arrives_at_its_time_to_the_frame(
    kept: int, lookahead: int, start_s: float
) -> None:
    x = noise(2, 4_000)
    # 0.1001 s at 16 kHz lies between frames 50 and 51.
    cues = [(-5.0, start_s + 0.1001, 0.25), (start_s + 0.1001, 99.0, 1.5)]
    stream = open_stream(
        RuleEngine(by_cue, kept, lookahead), cues=cues, ramp_s=1e-6, start_s=start_s
    )

    def gains(magnitude: NDArray, times_s: NDArray) -> NDArray:
        frames = np.arange(len(magnitude))[:, None]
        return np.where(frames <= 50, 0.25, 1.5)

    np.testing.assert_allclose(
        play(stream, x, 509),
        whole_signal(x, TINY_SPEC, gains),
        atol=tolerances.REMIX_FLOAT32,
        rtol=0,
    )


@pytest.mark.parametrize("rate_hz", RATES)
def test_a_ramp_of_the_cues_lies_at_its_time_at_every_rate(rate_hz: int) -> None:
    time_s = np.arange(rate_hz) / rate_hz
    x = 0.5 * np.sin(2 * np.pi * 1_000.0 * time_s)[None].astype(np.float32)
    cues = [(-1.0, 0.45, 1.0), (0.45, 9.0, 0.2)]
    out = play(open_stream(RuleEngine(by_cue), rate_hz, 1, cues), x, 1_024)
    gain = np.interp(time_s, [0.35, 0.55], [1.0, 0.2])
    # One frame off, 2 ms, would be wrong by 0.004.
    inside = slice(rate_hz // 20, -rate_hz // 20)
    np.testing.assert_allclose(
        out[:, inside], (x * gain)[:, inside], atol=tolerances.REMIX_RAMP, rtol=0
    )


@pytest.mark.parametrize(
    ("rate_hz", "cut"),
    [(r, c) for r in RATES for c in CUTS if c != 44_100] + [(44_100, 44_100), (96_000, 44_100)],
)
def test_blocks_of_every_size_give_the_same_bits(
    engine: Engine, rate_hz: int, cut: int | str
) -> None:
    samples = 1_500 if cut == 1 else 50_001 if cut == 44_100 else 8_001
    x = noise(2, samples, seed=rate_hz)
    cues = [(0.01, 0.05, 1.0), (0.05, 0.3, -2.0), (1.9, 2.5, 3.0)]
    at_once = play(open_stream(engine, rate_hz, cues=cues), x)
    in_blocks = play(open_stream(engine, rate_hz, cues=cues), x, cut, seed=rate_hz)
    assert np.array_equal(in_blocks, at_once)
    assert np.abs(at_once - x).max() > 0.01


@pytest.mark.parametrize("rate_hz", [r for r in RATES if r != 16_000])
def test_at_other_rates_the_change_alone_is_resampled(rate_hz: int) -> None:
    x = noise(2, 9_001)
    heard = soxr.resample(x.T, rate_hz, 16_000, quality="HQ").T
    changed = whole_signal(heard, TINY_SPEC, by_level) - heard
    back = soxr.resample(changed.T.astype(np.float32), 16_000, rate_hz, quality="HQ").T
    # The stream's change goes on for half a window after the end; so does its filter.
    end = min(back.shape[1], 9_001) - 2_000
    out = play(open_stream(RuleEngine(by_level), rate_hz), x, 509)
    np.testing.assert_allclose(
        out[:, :end], x[:, :end] + back[:, :end], atol=tolerances.REMIX_FLOAT32, rtol=0
    )


@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.parametrize("gain", [0.25, 1.0, 2.0])
def test_a_constant_gain_is_that_gain_at_every_rate(rate_hz: int, gain: float) -> None:
    samples = rate_hz // 4
    time_s = np.arange(samples) / rate_hz
    tone = np.stack([np.sin(2 * np.pi * f * time_s) for f in (440.0, 2_500.0)])
    x = (0.5 * fade_in_and_out(samples) * tone).astype(np.float32)
    out = play(open_stream(RuleEngine(constant(gain)), rate_hz), x, 1_024)
    np.testing.assert_allclose(out, gain * x, atol=tolerances.REMIX_TONE, rtol=0)


def test_nothing_above_the_models_band_is_lost() -> None:
    time_s = np.arange(12_000) / 48_000
    envelope = fade_in_and_out(12_000)
    low, high = (0.4 * envelope * np.sin(2 * np.pi * f * time_s) for f in (1_000.0, 15_000.0))
    out = play(
        open_stream(RuleEngine(constant(0.0)), 48_000, 1), (low + high)[None].astype(np.float32)
    )
    np.testing.assert_allclose(out[0], high, atol=tolerances.REMIX_TONE, rtol=0)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_the_change_is_linear_in_the_amount(engine: Engine, rate_hz: int) -> None:
    x = noise(2, 6_001)
    outs = {
        amount: play(open_stream(engine, rate_hz, amount=amount), x, 509)
        for amount in (0.0, 0.25, 0.5, 1.0)
    }
    assert np.array_equal(outs[0.0], x)
    for amount in (0.25, 0.5):
        mean = (1.0 - amount) * outs[0.0].astype(np.float64) + amount * outs[1.0]
        np.testing.assert_allclose(outs[amount], mean, atol=tolerances.MIX_FLOAT32, rtol=0)


@pytest.mark.parametrize("channels", [2, 6])
@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_one_mask_serves_all_channels(engine: Engine, rate_hz: int, channels: int) -> None:
    # Factors that are powers of two lose no bit anywhere.
    factors = 2.0 ** -np.arange(channels, dtype=np.float32)[:, None]
    factors[-1] *= -1.0
    x = noise(1, 5_001) * factors
    out = play(open_stream(engine, rate_hz, channels), x, 509)
    assert np.array_equal(out, out[:1] / factors[0] * factors)
    assert np.abs(out - x).max() > 0.01


def test_a_silent_channel_stays_silent(engine: Engine) -> None:
    x = noise(6, 5_001)
    x[3] = 0.0
    for rate_hz in (16_000, 48_000):
        assert not play(open_stream(engine, rate_hz, 6), x, 509)[3].any()


@pytest.mark.parametrize("max_gain_db", [3.0, 12.0])
def test_the_change_is_bounded_in_decibels_either_way(max_gain_db: float) -> None:
    x = 0.1 * noise(2, 3_001)
    bound = 10.0 ** (max_gain_db / 20.0)
    for asked, given in ((1e-4, 1.0 / bound), (1e3, bound), (1.1, 1.1)):
        stream = open_stream(RuleEngine(constant(asked)), max_gain_db=max_gain_db)
        np.testing.assert_allclose(
            play(stream, x), given * x, atol=tolerances.REMIX_FLOAT32, rtol=0
        )


def test_without_a_bound_the_networks_gain_stands() -> None:
    x = 1e-3 * noise(2, 3_001)
    out = play(open_stream(RuleEngine(constant(100.0))), x)
    np.testing.assert_allclose(out, 100.0 * x, atol=tolerances.REMIX_FLOAT32, rtol=0)


@pytest.mark.parametrize("step_samples", [32 * 4 * 10, 32 * 4 * 10 + 16, 32 * 41])
@pytest.mark.parametrize("down", [True, False])
def test_a_step_of_40_db_leaves_no_seam(step_samples: int, down: bool) -> None:
    # On a chunk's boundary, within its first hop, and one frame after it.
    x = noise(2, 2_600)
    x[:, slice(step_samples, None) if down else slice(step_samples)] *= 0.01
    out = play(open_stream(RuleEngine(constant(1.7))), x)
    np.testing.assert_allclose(out, 1.7 * x, atol=tolerances.REMIX_FLOAT32, rtol=0)
    # A window's length from the loud part, the quiet part has its own, smaller round-off.
    window = TINY_SPEC.stft.n_fft
    far = slice(step_samples + window, None) if down else slice(step_samples - window)
    np.testing.assert_allclose(
        out[:, far], 1.7 * x[:, far], atol=0.01 * tolerances.REMIX_FLOAT32, rtol=0
    )


def test_the_network_hears_the_level_asked_for_and_the_gains_act_on_the_stream() -> None:
    heard: list[float] = []

    def listen(magnitude: NDArray, value: NDArray) -> NDArray:
        heard.append(float(magnitude.max()))
        return np.full(magnitude.shape, 0.5)

    x = 0.05 * np.sin(2 * np.pi * np.arange(3_200) / 8.0)[None].astype(np.float32)
    out = play(open_stream(RuleEngine(listen), channels=1, level_gain_db=20.0), x)
    assert sorted(heard)[len(heard) // 2] == pytest.approx(0.5, rel=1e-5)
    np.testing.assert_allclose(out, 0.5 * x, atol=tolerances.REMIX_FLOAT32, rtol=0)
