"""A whole sound through an engine: masks and output are what the streams of `remix` make."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tolerances
from semmix_rt.engines import open_engine
from semmix_rt.whole_signal import hear, masks_of
from support_engine import TINY_SPEC, tiny_model
from support_window import TINY_WINDOW, TinyWindowEngine, with_context

from semmix.bundle import Bundle
from semmix.dsp.mask import linked_magnitude
from semmix.dsp.stft import istft, stft
from semmix.errors import EngineError

Float32 = np.ndarray

RATE_HZ = 16_000


def noise(*shape: int, seed: int = 3) -> Float32:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("samples", [1, 31, 700, 16_000])
def test_masks_are_those_of_the_model_run_frame_by_frame(tiny_bundle: Bundle, samples: int) -> None:
    """Without a cue: the tiny model's arithmetic over all frames at once, look-ahead undone."""
    model = tiny_model()
    sound = 0.3 * noise(2, samples)
    spectrum = stft(sound, TINY_SPEC.stft)
    energy = linked_magnitude(spectrum, TINY_SPEC.stft) @ model.projection / TINY_SPEC.stft.bins
    trail, expected = np.zeros(3), []
    for row in energy:
        trail = 0.5 * trail + row
        expected.append(2.0 / (1.0 + np.exp(-(trail @ model.head))))
    found = hear(open_engine(tiny_bundle), sound, None)
    np.testing.assert_allclose(found.mask, np.stack(expected), atol=tolerances.REMIX_FLOAT32)
    whole = istft(spectrum * found.mask, TINY_SPEC.stft, samples)
    np.testing.assert_allclose(found.output, whole, atol=tolerances.REMIX_FLOAT32)


def test_cues_share_the_time_evenly(tiny_bundle: Bundle) -> None:
    engine = open_engine(tiny_bundle)
    sound = 0.3 * noise(1, 2 * RATE_HZ)
    cues = noise(2, 6, 5)
    first, second, both = (masks_of(engine, sound, c) for c in (cues[:1], cues[1:], cues))
    # The cross-fade of 0.2 s is centred on the boundary after one second, 500 frames.
    np.testing.assert_array_equal(both[:440], first[:440])
    assert np.abs(both[560:] - first[560:]).max() > 0.01
    # What is behind the fade still hears the first shot's energy not at all: cues have no memory.
    np.testing.assert_allclose(both[560:], second[560:], atol=tolerances.REMIX_FLOAT32)


class Spoilt:
    """An engine whose third chunk holds a NaN, or that fails there."""

    def __init__(self, bundle: Bundle, fails: bool) -> None:
        self._engine = open_engine(bundle)
        self._fails, self._runs = fails, 0
        self.name, self.provider, self.precision = "spoilt", "none", "fp32"
        self.spec = self._engine.spec
        self.encode_context = self._engine.encode_context
        self.initial_state = self._engine.initial_state

    def run(self, *inputs: object) -> object:
        mask, state = self._engine.run(*inputs)  # type: ignore[arg-type]
        self._runs += 1
        if self._runs == 3 and self._fails:
            raise EngineError("out of memory")
        if self._runs == 3:
            mask[0, 1, 2] = np.nan
        return mask, state


def test_a_number_that_is_none_is_a_result_and_a_failure_is_one(tiny_bundle: Bundle) -> None:
    sound = noise(1, 1_000)
    found = hear(Spoilt(tiny_bundle, fails=False), sound, None)  # type: ignore[arg-type]
    assert np.isnan(found.output).all()
    assert found.output.shape == sound.shape
    assert np.isnan(found.mask).all()
    assert found.mask.shape == (TINY_SPEC.stft.frames(1_000), TINY_SPEC.stft.bins)
    with pytest.raises(EngineError, match="out of memory"):
        hear(Spoilt(tiny_bundle, fails=True), sound, None)  # type: ignore[arg-type]


def test_windows_come_one_after_the_other_without_the_silent_ones() -> None:
    engine = TinyWindowEngine()
    sound = 0.1 * noise(2, 1_640)
    sound[1, 640:] = 0.0
    vectors = noise(2, TINY_WINDOW.context_dim)
    found = hear(engine, sound, vectors)
    # Two windows of two channels; the second channel's second window is silent.
    assert found.mask.shape == (3, TINY_WINDOW.bins, TINY_WINDOW.frames)
    assert found.output.shape == sound.shape
    # The second shot begins at 820 samples: the first window's last vector is its own.
    first, second = engine.heard
    np.testing.assert_array_equal(first, vectors[[0, 0, 0, 0, 0]])
    np.testing.assert_array_equal(second, vectors[[0, 1, 1, 1, 1]])


def test_a_window_model_without_context_hears_sound_alone() -> None:
    spec = with_context("none")
    sound = 0.1 * noise(1, 500)
    found = hear(TinyWindowEngine(spec), sound, None)
    assert found.mask.shape == (1, spec.bins, spec.frames)
    silence = hear(TinyWindowEngine(replace(spec)), np.zeros((1, 500), np.float32), None)
    assert len(silence.mask) == 0
    assert not silence.output.any()
