"""What flows when: lengths, latency, ends, buffers, the questions to the timeline, failures."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from semmix_rt.engines import open_engine
from semmix_rt.engines.base import Engine
from semmix_rt.streaming import RemixStream
from support_engine import TINY_SPEC
from support_signal import CUTS, noise, pieces
from support_stream import RuleEngine, by_level, constant, open_stream, play

from semmix.bundle import Bundle
from semmix.errors import EngineError

RATES = [1_000, 8_000, 16_000, 22_050, 44_100, 48_000, 96_000]
CHUNKS = list(itertools.product([1, 4, 7], [0, 1, 3, 4, 5, 30]))


@pytest.fixture(scope="module")
def engine(tiny_bundle: Bundle) -> Engine:
    return open_engine(tiny_bundle)


@pytest.mark.parametrize(("kept", "lookahead"), CHUNKS)
def test_as_many_samples_leave_as_came(kept: int, lookahead: int) -> None:
    engine = RuleEngine(by_level, kept, lookahead)
    hop, window = TINY_SPEC.stft.hop_samples, TINY_SPEC.stft.n_fft
    chunk = kept * hop
    for samples in {1, 2, hop - 1, hop, hop + 1, window, chunk - 1, chunk, chunk + 1, 997}:
        x = noise(2, samples)
        out = play(open_stream(engine), x, 100)
        assert out.shape == x.shape
        # The last samples went through the network as well.
        assert np.abs(out - x)[:, -1].max() > 1e-4


@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.parametrize("samples", [1, 2, 3, 50, 1_001])
def test_as_many_samples_leave_as_came_at_every_rate(rate_hz: int, samples: int) -> None:
    x = noise(2, samples)
    out = play(open_stream(RuleEngine(by_level), rate_hz), x, 100)
    assert out.shape == x.shape
    assert np.isfinite(out).all()


@pytest.mark.parametrize(("kept", "lookahead"), CHUNKS)
def test_the_latency_at_the_models_rate_is_reached_and_kept(kept: int, lookahead: int) -> None:
    stream = open_stream(RuleEngine(by_level, kept, lookahead), channels=1)
    ahead = []
    one = np.zeros((1, 1), np.float32)
    for _ in range(2 * stream.latency_samples + 10):
        ahead.append((ahead[-1] if ahead else 0) + 1 - stream.push(one).shape[1])
    # One sample later the next chunk is complete.
    assert max(ahead) == stream.latency_samples - 1
    assert min(ahead) >= 0


@pytest.mark.parametrize("kept", [4, 96])
@pytest.mark.parametrize("rate_hz", [r for r in RATES if r != 16_000])
def test_no_more_than_the_latency_is_held_back_at_any_rate(rate_hz: int, kept: int) -> None:
    stream = open_stream(RuleEngine(constant(1.0), kept, 5), rate_hz, 1)
    block = np.zeros((1, max(1, rate_hz // 2_000)), np.float32)
    ahead = 0
    for _ in range(4_000):
        ahead += block.shape[1] - stream.push(block).shape[1]
        assert 0 <= ahead <= stream.latency_samples
    assert stream.finish().shape == (1, ahead)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cut", CUTS)
def test_amount_0_gives_every_bit_back_at_once(engine: Engine, dtype: type, cut: int | str) -> None:
    x = np.random.default_rng(0).standard_normal((2, 2_000)).astype(dtype)
    x[0, :3] = -0.0, np.finfo(dtype).tiny / 8, 40.0
    stream = open_stream(engine, 44_100, amount=0.0)
    for piece in pieces(2_000, cut):
        assert stream.push(x[:, piece]).tobytes() == x[:, piece].tobytes()
    assert stream.finish().shape == (2, 0)


@pytest.mark.parametrize("amount", [0.0, 1.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_blocks_keep_their_dtype_to_the_end(engine: Engine, dtype: type, amount: float) -> None:
    stream = open_stream(engine, 48_000, amount=amount)
    x = noise(2, 9_000).astype(dtype)
    for piece in (slice(0, 0), slice(0, 10), slice(10, 9_000), slice(0, 0)):
        assert stream.push(x[:, piece]).dtype == dtype
    assert stream.finish().dtype == dtype


@pytest.mark.parametrize("amount", [0.0, 0.5])
@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_a_host_may_use_its_buffer_again(engine: Engine, rate_hz: int, amount: float) -> None:
    x = noise(2, 4_000)
    stream = open_stream(engine, rate_hz, amount=amount)
    buffer = np.empty((2, 100), np.float32)
    outs = []
    for begin in range(0, 4_000, 100):
        buffer[:] = x[:, begin : begin + 100]
        outs.append(stream.push(buffer))
        assert np.array_equal(buffer, x[:, begin : begin + 100])
        buffer[:] = 9.0
    out = np.concatenate([*outs, stream.finish()], axis=1)
    assert np.array_equal(out, play(open_stream(engine, rate_hz, amount=amount), x))


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_an_empty_stream_is_empty(engine: Engine, rate_hz: int, channels: int) -> None:
    assert open_stream(engine, rate_hz, channels).finish().shape == (channels, 0)
    stream = open_stream(engine, rate_hz, channels)
    for _ in range(3):
        assert stream.push(np.zeros((channels, 0), np.float32)).shape == (channels, 0)
    assert stream.finish().shape == (channels, 0)


def test_a_single_sample_takes_its_gain() -> None:
    x = np.array([[0.5], [-0.25]], np.float32)
    for kept, lookahead in CHUNKS:
        out = play(open_stream(RuleEngine(constant(2.0), kept, lookahead)), x)
        np.testing.assert_allclose(out, 2.0 * x, rtol=1e-5)


def test_silence_stays_silence(engine: Engine) -> None:
    for rate_hz in (16_000, 44_100):
        assert not play(open_stream(engine, rate_hz), np.zeros((2, 5_000), np.float32), 509).any()


class Questions:
    """A timeline that knows nothing and remembers what it was asked."""

    def __init__(self) -> None:
        self.times_s: list[NDArray[np.float64]] = []

    def window(self, times_s: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
        self.times_s.append(times_s)
        shares = np.zeros((len(times_s), 2), np.float32)
        shares[:, 0] = 1.0
        return np.zeros((2, 6, 4), np.float32), shares


@pytest.mark.parametrize(("kept", "lookahead"), CHUNKS)
@pytest.mark.parametrize("start_s", [0.0, -0.25, 3_600.0])
def test_the_timeline_is_asked_for_every_frame_once_in_order(
    kept: int, lookahead: int, start_s: float
) -> None:
    asked = Questions()
    stream = RemixStream(
        RuleEngine(constant(1.0), kept, lookahead),
        asked,  # type: ignore[arg-type]
        16_000,
        1,
        start_s=start_s,
    )
    play(stream, noise(1, 1_000), 77)
    assert {len(times_s) for times_s in asked.times_s} == {kept}
    # 1000 samples are 33 frames of 2 ms; the first masks come back for frames before the start.
    frames = np.concatenate(asked.times_s)
    expected = start_s + 0.002 * (np.arange(len(frames)) - lookahead)
    np.testing.assert_allclose(frames, expected, rtol=0, atol=1e-9)
    assert 33 + lookahead <= len(frames) < 33 + lookahead + kept


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("amount", [0.5, 1.0])
def test_gains_that_are_no_numbers_are_an_engines_error(value: float, amount: float) -> None:
    def break_down(magnitude: NDArray, shares: NDArray) -> NDArray:
        gains = np.ones(magnitude.shape)
        gains[-1, -1] = value if magnitude.any() else 1.0
        return gains

    stream = open_stream(RuleEngine(break_down), amount=amount, max_gain_db=6.0)
    stream.push(np.zeros((2, 1_000), np.float32))
    with pytest.raises(EngineError, match=r"the rule engine gave gains .* at 0\.0[56]\d? s"):
        stream.push(noise(2, 1_000))


def test_a_last_mask_that_is_no_number_is_noticed_too() -> None:
    stream = open_stream(RuleEngine(constant(np.nan)))
    stream.push(noise(2, 10))
    with pytest.raises(EngineError, match="no numbers"):
        stream.finish()


def test_a_model_that_needs_context_frames_is_refused() -> None:
    engine = RuleEngine(constant(1.0))
    chunk = replace(engine.spec.chunk, context_frames=2)
    engine.spec = replace(engine.spec, chunk=chunk)
    with pytest.raises(EngineError, match="2 context frames"):
        open_stream(engine)
