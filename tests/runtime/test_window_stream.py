"""Whole windows laid over a stream: tiles, fades, channels, ends, and what the context is asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tolerances
from numpy.typing import NDArray
from semmix_rt.window_context import Held, HeldVectors
from semmix_rt.window_stream import WindowStream
from support_signal import CUTS, noise, pieces
from support_window import TINY_WINDOW, TinyWindowEngine, with_context

from semmix.errors import EngineError
from semmix.specs import WindowSpec

SPEC = TINY_WINDOW
WINDOW, STRIDE, EDGE = SPEC.window_samples, SPEC.stride_samples, SPEC.edge_samples
RATE_HZ = SPEC.audio.sample_rate_hz
LENGTHS = [
    *(1, 2, 63, WINDOW - 1, WINDOW, WINDOW + 1, WINDOW + STRIDE - 1, WINDOW + STRIDE),
    *(WINDOW + STRIDE + 1, WINDOW + 3 * STRIDE, WINDOW + 3 * STRIDE + 317),
]


class Asked:
    """Vectors that say when they were asked for."""

    def __init__(self) -> None:
        self.times_s: list[NDArray[np.float64]] = []

    def at(self, times_s: NDArray[np.float64]) -> NDArray[np.float32]:
        self.times_s.append(times_s)
        return np.repeat(times_s[:, None], SPEC.context_dim, 1).astype(np.float32)


def open_stream(
    spec: WindowSpec = SPEC, rate_hz: int = RATE_HZ, channels: int = 2, **settings: float
) -> WindowStream:
    context = Asked() if spec.context != "none" else None
    return WindowStream(TinyWindowEngine(spec), context, rate_hz, channels, **settings)


def play(stream: WindowStream, x: NDArray, cut: int | str = "whole") -> NDArray:
    parts = [stream.push(x[:, piece]) for piece in pieces(x.shape[1], cut)]
    return np.concatenate([*parts, stream.finish()], axis=1)


def reference(x: NDArray, engine: TinyWindowEngine, amount: float = 1.0) -> NDArray[np.float64]:
    """The method channel by channel over the whole signal at the model's rate, by its words.

    Every window's result is weighted: 1 on its inner part, a straight fade where inner parts
    overlap, nothing on its edges but for those of the signal. Written with `numpy.fft` alone.
    """
    length = x.shape[1]
    starts = [0]
    while starts[-1] + WINDOW < length:
        starts.append(starts[-1] + STRIDE)
    if len(starts) > 1:
        starts[-1] = length - WINDOW
    fade = WINDOW - 2 * EDGE - STRIDE
    out = np.zeros(x.shape)
    for channel, sound in zip(out, x.astype(np.float64), strict=True):
        weight = np.zeros((len(starts), length))
        for i in range(len(starts)):
            weight[i] = 1.0
            if i:
                # The regular place of this window's inner part, even if the window was moved.
                begin = i * STRIDE + EDGE
                ramp = np.clip((np.arange(length) - begin + 0.5) / fade, 0.0, 1.0)
                weight[i] = ramp
                weight[i - 1] *= 1.0 - ramp
        np.testing.assert_allclose(weight.sum(0), 1.0)
        for i, start in enumerate(starts):
            part = np.resize(np.concatenate((sound, sound[::-1])), WINDOW)
            if length >= WINDOW:
                part = sound[start : start + WINDOW]
            wet = window_by_hand(part, start, engine)
            inside = slice(start, min(length, start + WINDOW))
            channel[inside] += weight[i, inside] * wet[: inside.stop - inside.start]
    return x + amount * (out - x)


def window_by_hand(part: NDArray, start: int, engine: TinyWindowEngine) -> NDArray:
    spec = engine.spec
    n_fft, hop = spec.n_fft, spec.hop_samples
    frames = -(-WINDOW // hop)
    margin = 3 * hop // 2
    mirrored = np.pad(part, (margin, margin + frames * hop - WINDOW), "reflect")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    spectrum = np.stack(
        [np.fft.rfft(hann * mirrored[m * hop : m * hop + n_fft])[:-1] for m in range(frames)], 1
    )
    std = part.std(ddof=1)
    waveform = (part - part.mean()) / (1e-5 + std)
    tokens = None
    if spec.context != "none":
        times_s = start / RATE_HZ + np.arange(spec.context_vectors) * (WINDOW / RATE_HZ / 5)
        vectors = np.repeat(times_s[:, None], spec.context_dim, 1).astype(np.float32)
        tokens = engine.encode_context(vectors)[None]
    mask, wave = engine.run(np.abs(spectrum)[None], waveform[None], tokens)
    total = np.zeros((frames - 1) * hop + n_fft)
    for m in range(frames):
        half = np.append(mask[0][:, m] * spectrum[:, m], 0.0)
        total[m * hop : m * hop + n_fft] += hann * np.fft.irfft(half, n_fft)
    return total[margin : margin + WINDOW] / 1.5 + wave[0] * std + part.mean()


@pytest.mark.parametrize("samples", [n for n in LENGTHS if n > 1])
def test_windows_tile_the_sound(samples: int) -> None:
    x = noise(2, samples)
    expected = reference(x, TinyWindowEngine())
    assert np.abs(expected - x).max() > 0.05
    found = play(open_stream(), x)
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=tolerances.REMIX_FLOAT32)


def test_without_context_and_in_part() -> None:
    spec = with_context("none")
    x = noise(3, 3 * WINDOW)
    found = play(open_stream(spec, channels=3, amount=0.25), x)
    expected = reference(x, TinyWindowEngine(spec), 0.25)
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=tolerances.REMIX_FLOAT32)


@pytest.mark.parametrize("rate_hz", [RATE_HZ, 22_050, 48_000])
def test_the_size_of_blocks_does_not_matter(rate_hz: int) -> None:
    x = noise(2, 4 * rate_hz * WINDOW // RATE_HZ)
    whole = play(open_stream(rate_hz=rate_hz), x)
    assert not np.array_equal(whole, x)
    for cut in CUTS:
        if cut == 1:
            continue  # 12 000 single samples through soxr; 17 tells as much
        assert np.array_equal(play(open_stream(rate_hz=rate_hz), x, cut), whole)


def test_channels_do_not_touch_each_other() -> None:
    x = noise(6, 2 * WINDOW + 100)
    x[3] = 0.0
    together = play(open_stream(channels=6), x)
    for channel in range(6):
        alone = play(open_stream(channels=1), x[channel : channel + 1])
        assert np.array_equal(alone[0], together[channel])
    assert not together[3].any()


@pytest.mark.parametrize("rate_hz", [8_000, RATE_HZ, 44_100, 48_000])
@pytest.mark.parametrize("samples", [0, *LENGTHS])
def test_as_many_samples_leave_as_came(rate_hz: int, samples: int) -> None:
    x = noise(2, samples)
    out = play(open_stream(rate_hz=rate_hz), x, 509)
    assert out.shape == x.shape
    assert np.isfinite(out).all()


def test_the_latency_at_the_models_rate_is_reached_and_kept() -> None:
    stream = open_stream(channels=1)
    assert stream.latency_samples == SPEC.latency_samples == WINDOW + 1
    ahead = [0]
    one = np.zeros((1, 1), np.float32)
    for _ in range(4 * WINDOW):
        ahead.append(ahead[-1] + 1 - stream.push(one).shape[1])
    assert max(ahead) == stream.latency_samples - 1
    assert min(ahead) == 0


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 96_000])
def test_no_more_than_the_latency_is_held_back_at_any_rate(rate_hz: int) -> None:
    stream = open_stream(rate_hz=rate_hz, channels=1)
    block = np.zeros((1, rate_hz // 400), np.float32)
    ahead = 0
    for _ in range(400):
        ahead += block.shape[1] - stream.push(block).shape[1]
        assert 0 <= ahead <= stream.latency_samples
    assert stream.finish().shape == (1, ahead)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cut", CUTS)
def test_amount_0_gives_every_bit_back_at_once(dtype: type, cut: int | str) -> None:
    x = np.random.default_rng(0).standard_normal((2, 2_500)).astype(dtype)
    x[0, :3] = -0.0, np.finfo(dtype).tiny / 8, 40.0
    stream = open_stream(rate_hz=44_100, amount=0.0)
    for piece in pieces(2_500, cut):
        assert stream.push(x[:, piece]).tobytes() == x[:, piece].tobytes()
    assert stream.finish().shape == (2, 0)


def test_a_host_may_use_its_buffer_again() -> None:
    x = noise(2, 4_000)
    stream = open_stream()
    buffer = np.empty((2, 100), np.float32)
    outs = []
    for begin in range(0, 4_000, 100):
        buffer[:] = x[:, begin : begin + 100]
        outs.append(stream.push(buffer))
        buffer[:] = 9.0
    out = np.concatenate([*outs, stream.finish()], axis=1)
    assert np.array_equal(out, play(open_stream(), x))


@pytest.mark.parametrize("start_s", [0.0, -0.25, 3_600.0])
def test_context_is_asked_for_the_seconds_of_each_window(start_s: float) -> None:
    asked = Asked()
    stream = WindowStream(TinyWindowEngine(), asked, RATE_HZ, 1, start_s=start_s)
    samples = WINDOW + STRIDE + 100
    play(stream, noise(1, samples), 77)
    starts = [0, STRIDE, samples - WINDOW]
    steps_s = np.arange(5) * WINDOW / RATE_HZ / 5
    expected = [start_s + start / RATE_HZ + steps_s for start in starts]
    np.testing.assert_allclose(asked.times_s, expected, rtol=0.0, atol=1e-9)


@pytest.mark.parametrize("part", ["mask", "wave"])
def test_what_is_no_number_is_an_engines_error(part: str) -> None:
    class Broken(TinyWindowEngine):
        def run(self, magnitude, waveform, tokens):  # type: ignore[no-untyped-def]
            mask, wave = super().run(magnitude, waveform, tokens)
            (mask if part == "mask" else wave)[0, -1] = np.nan
            return mask, wave

    stream = WindowStream(Broken(), Asked(), RATE_HZ, 1, start_s=2.0)
    with pytest.raises(EngineError, match=r"the rule engine .* no number in the window at 2\.00 s"):
        play(stream, noise(1, 3 * WINDOW))


# --- Vectors that hold over time ----------------------------------------------------------------


def row(value: float) -> NDArray[np.float32]:
    return np.full(2, value, np.float32)


def test_a_vector_holds_until_its_end_or_the_next() -> None:
    vectors = HeldVectors(
        iter([Held(1.0, 3.0, row(1)), Held(2.0, 4.0, row(2)), Held(6.0, 9.0, row(3))]), 2
    )
    times_s = np.array([0.0, 0.99, 1.0, 1.99, 2.0, 3.99, 4.0, 5.9, 6.0, 8.9, 9.0])
    expected = [0, 0, 1, 1, 2, 2, 0, 0, 3, 3, 0]
    np.testing.assert_array_equal(vectors.at(times_s)[:, 0], expected)


def test_windows_that_overlap_get_the_same_answers() -> None:
    rows = [Held(float(i), i + 1.0, row(i)) for i in range(20)]
    vectors = HeldVectors(iter(rows), 2)
    for start in (0.0, 7.48, 14.96):
        times_s = start + np.arange(5.0)
        np.testing.assert_array_equal(vectors.at(times_s)[:, 0], np.floor(times_s))


def test_no_more_is_pulled_than_a_window_needs() -> None:
    pulled = []

    def source():  # type: ignore[no-untyped-def]
        for i in range(100):
            pulled.append(i)
            yield Held(float(i), i + 1.0, row(i))

    vectors = HeldVectors(source(), 2)
    assert pulled == []
    vectors.at(np.array([0.0, 3.5]))
    assert pulled == [0, 1, 2, 3, 4]
    vectors.at(np.array([50.0, 51.0]))
    assert len(vectors._held) <= 4


def test_nothing_known_is_zeros() -> None:
    np.testing.assert_array_equal(HeldVectors((), 3).at(np.arange(4.0)), np.zeros((4, 3)))


def test_fades_of_the_published_layout_are_half_a_second() -> None:
    from semmix.nn.base.config import BaseConfig
    from semmix.nn.base.engine import window_spec

    spec = window_spec(BaseConfig())
    spec.check()
    assert 0.5 < spec.fade_samples / 44_100 < 0.55
    assert replace(spec, edge_samples=0).fade_samples == spec.fade_samples + 2 * 44_100
