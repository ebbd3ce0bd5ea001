"""Streaming STFT and inverse: bit-equal to the whole signal at once, and never late."""

from __future__ import annotations

import numpy as np
import pytest
from support_signal import CUTS, noise, pieces

from semmix.dsp.stft import istft, stft
from semmix.dsp.streaming import IstftStream, StftStream
from semmix.specs import StftSpec

SPECS = [StftSpec(64, 32), StftSpec(2048, 1024), StftSpec(512, 128), StftSpec(65, 16)]
LENGTHS = [0, 1, 31, 32, 33, 2_047, 2_048, 2_049, 5_003, 100_003]
CHANNELS = [1, 2, 6]


def name_of(spec: StftSpec) -> str:
    return f"{spec.n_fft}/{spec.hop_samples}"


def affordable(length: int, cut: int | str) -> bool:
    """Single samples of long signals would take seconds and show nothing new."""
    return not isinstance(cut, int) or length <= 4_000 * cut


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("spec", SPECS, ids=name_of)
def test_frames_do_not_depend_on_the_blocks(spec: StftSpec, cut: int | str, channels: int) -> None:
    for samples in filter(lambda n: affordable(n, cut), LENGTHS):
        x = noise(channels, samples, seed=samples)
        stream = StftStream(spec, channels)
        parts = [stream.push(x[:, piece]) for piece in pieces(samples, cut, seed=samples)]
        whole = stft(x, spec)
        assert whole.shape[1] == spec.frames(samples)
        assert np.array_equal(np.concatenate([*parts, stream.finish()], axis=1), whole)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("cut", [1, 2, 7, 100, "whole", "random"])
@pytest.mark.parametrize("spec", SPECS, ids=name_of)
def test_samples_do_not_depend_on_how_frames_arrive(
    spec: StftSpec, cut: int | str, channels: int
) -> None:
    for samples in LENGTHS[:-1]:
        spectrum = stft(noise(channels, samples, seed=samples), spec)
        rng = np.random.default_rng(samples)
        spectrum *= rng.uniform(0.0, 2.0, spectrum.shape[1:]).astype(np.float32)
        stream = IstftStream(spec, channels)
        cuts = pieces(spectrum.shape[1], cut, seed=samples)
        parts = [stream.push(spectrum[:, piece]) for piece in cuts]
        streamed = np.concatenate([*parts, stream.finish()], axis=1)
        assert streamed.shape[1] >= samples
        assert np.array_equal(streamed[:, :samples], istft(spectrum, spec, samples))


@pytest.mark.parametrize("spec", SPECS, ids=name_of)
def test_a_frame_leaves_with_its_last_sample(spec: StftSpec) -> None:
    stream = StftStream(spec, 1)
    frames = 0
    for received in range(1, 3 * spec.n_fft):
        frames += stream.push(np.ones((1, 1), np.float32)).shape[1]
        # Frame m ends with sample m * hop + (n_fft - n_fft // 2) - 1.
        rest = received - (spec.n_fft - spec.n_fft // 2)
        assert frames == (0 if rest < 0 else 1 + rest // spec.hop_samples)


@pytest.mark.parametrize("spec", SPECS, ids=name_of)
def test_a_sample_leaves_with_the_last_frame_over_it(spec: StftSpec) -> None:
    stream = IstftStream(spec, 2)
    samples = 0
    for received in range(1, 40):
        samples += stream.push(np.ones((2, 1, spec.bins), np.complex64)).shape[1]
        # The next frame begins here and changes what follows.
        assert samples == max(0, received * spec.hop_samples - spec.n_fft // 2)
    end = 39 * spec.hop_samples - spec.hop_samples + spec.n_fft - spec.n_fft // 2
    assert samples + stream.finish().shape[1] == end


def test_callers_may_use_their_buffers_again() -> None:
    spec = StftSpec(64, 32)
    x = noise(2, 1_000)
    buffer = np.empty((2, 50), np.float32)
    stream = StftStream(spec, 2)
    parts = []
    for begin in range(0, 1_000, 50):
        buffer[:] = x[:, begin : begin + 50]
        parts.append(stream.push(buffer))
        buffer[:] = np.nan
    spectrum = np.concatenate([*parts, stream.finish()], axis=1)
    assert np.array_equal(spectrum, stft(x, spec))

    inverse = IstftStream(spec, 2)
    frame = np.empty((2, 1, spec.bins), np.complex64)
    samples = []
    for m in range(spectrum.shape[1]):
        frame[:] = spectrum[:, m : m + 1]
        samples.append(inverse.push(frame))
        frame[:] = np.nan
    back = np.concatenate([*samples, inverse.finish()], axis=1)
    assert np.array_equal(back[:, :1_000], istft(spectrum, spec, 1_000))


def test_two_streams_do_not_touch_each_other() -> None:
    spec = StftSpec(64, 32)
    first, second = noise(1, 640, seed=1), noise(1, 640, seed=2)
    one, two = StftStream(spec, 1), StftStream(spec, 1)
    got: list[list[np.ndarray]] = [[], []]
    for begin in range(0, 640, 40):
        got[0].append(one.push(first[:, begin : begin + 40]))
        got[1].append(two.push(second[:, begin : begin + 40]))
    got[0].append(one.finish())
    got[1].append(two.finish())
    assert np.array_equal(np.concatenate(got[0], axis=1), stft(first, spec))
    assert np.array_equal(np.concatenate(got[1], axis=1), stft(second, spec))
