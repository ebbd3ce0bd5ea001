"""The sound of a window, apart and together again, against the PyTorch front end and `scipy`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tolerances
import torch
from scipy.signal import get_window
from support_base import noise
from support_checkpoint import small_base
from support_window import TINY_WINDOW

from semmix.dsp import windows
from semmix.nn.base import frontend, highlight
from semmix.nn.base.config import BaseConfig
from semmix.nn.base.engine import TorchWindowEngine, window_spec

SPEC = window_spec(BaseConfig())


def cut(samples: int) -> windows.WindowSpec:
    return replace(SPEC, window_samples=samples)


@pytest.mark.parametrize("samples", [4_096, 5_000, 44_100])
def test_it_hears_what_the_network_was_trained_on(samples: int) -> None:
    sound = 0.3 * noise(1, 1, samples) + 0.1
    expected = frontend.analyse(sound)
    found = windows.analyse(sound[0, 0].numpy(), cut(samples))
    atol = tolerances.FRAME_FLOAT32
    np.testing.assert_allclose(found.spectrum, expected.spectrum[0, 0], rtol=0.0, atol=atol)
    np.testing.assert_allclose(found.magnitude, expected.magnitude[0, 0], rtol=0.0, atol=atol)
    np.testing.assert_allclose(
        found.waveform, expected.waveform[0, 0], rtol=0.0, atol=tolerances.LAYER_FLOAT32
    )
    assert found.magnitude.dtype == found.waveform.dtype == np.float32


@pytest.mark.parametrize("samples", [4_096, 5_000, 44_100])
def test_it_makes_of_masks_what_training_made_of_them(samples: int) -> None:
    sound = 0.3 * noise(1, 1, samples) + 0.1
    frames = -(-samples // 1024)
    mask, wave = noise(1, 1, 2048, frames, seed=1), noise(1, 1, samples, seed=2)
    expected = frontend.synthesise(frontend.analyse(sound), mask, wave)[0, 0]
    spec = cut(samples)
    analysis = windows.analyse(sound[0, 0].numpy(), spec)
    found = windows.synthesise(analysis, mask[0, 0].numpy(), wave[0, 0].numpy(), spec)
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=tolerances.LAYER_FLOAT32)
    assert found.dtype == np.float32


def test_its_frames_are_those_of_scipy() -> None:
    spec = TINY_WINDOW
    sound = noise(spec.window_samples).numpy()
    margin = (spec.n_fft - spec.hop_samples) // 2
    mirrored = np.pad(sound.astype(np.float64), (margin, spec.n_fft), "reflect")
    window = get_window("hann", spec.n_fft)
    expected = [
        np.fft.rfft(mirrored[m * spec.hop_samples :][: spec.n_fft] * window)[:-1]
        for m in range(spec.frames)
    ]
    found = windows.spectrum(sound, spec)
    assert found.shape == (spec.bins, spec.frames)
    np.testing.assert_allclose(found.T, expected, rtol=0.0, atol=tolerances.FRAME_FLOAT32)


@pytest.mark.parametrize("context", ["text", "none"])
def test_around_the_network_it_is_the_published_program(context: str) -> None:
    network = small_base(context)  # type: ignore[arg-type]
    spec = replace(window_spec(network.config), window_samples=40_000)
    sound = 0.2 * noise(1, 1, 40_000)
    engine = TorchWindowEngine(network, spec)
    vectors = tokens = None
    if context == "text":
        vectors = noise(1, 10, 4096, seed=2)
        tokens = engine.encode_context(vectors[0].numpy())[None]
    with torch.inference_mode():
        expected = highlight(network, sound, vectors)[0, 0].numpy()
    analysis = windows.analyse(sound[0, 0].numpy(), spec)
    mask, wave = engine.run(analysis.magnitude[None], analysis.waveform[None], tokens)
    found = windows.synthesise(analysis, mask[0], wave[0], spec)
    scale = float(expected.std())
    np.testing.assert_allclose(
        found / scale, expected / scale, rtol=0.0, atol=tolerances.WINDOW_FLOAT32
    )


def test_silence_stays_silence() -> None:
    spec = TINY_WINDOW
    analysis = windows.analyse(np.zeros(spec.window_samples, np.float32), spec)
    mask = np.full((spec.bins, spec.frames), 5.0, np.float32)
    assert not windows.synthesise(analysis, mask, np.ones(1_000, np.float32), spec).any()
