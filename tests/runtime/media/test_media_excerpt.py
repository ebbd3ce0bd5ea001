"""The loudest stretch of a file, against where it was put."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from semmix_rt.media.excerpt import loudest_excerpt

from semmix.errors import MediaError

RATE_HZ = 16_000


def test_the_loudest_stretch_is_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    sound = 1e-3 * rng.standard_normal((2, 12 * RATE_HZ))
    burst = slice(5 * RATE_HZ, 7 * RATE_HZ)
    sound[:, burst] += 0.2 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE_HZ) / RATE_HZ)
    file = tmp_path / "in.wav"
    soundfile.write(file, sound.T, RATE_HZ, subtype="FLOAT")
    found = loudest_excerpt(file, RATE_HZ, 2 * RATE_HZ)
    assert found.shape == (1, 2 * RATE_HZ)
    assert found.dtype == np.float32
    mono = sound.mean(axis=0)[burst].astype(np.float32)
    np.testing.assert_allclose(found[0], mono, atol=1e-7)


def test_a_short_sound_is_repeated_at_the_rate_that_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "in.wav"
    tone = 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(RATE_HZ) / RATE_HZ)
    soundfile.write(file, tone, RATE_HZ, subtype="FLOAT")
    found = loudest_excerpt(file, 48_000, 144_000)[0]
    assert len(found) == 144_000
    spectrum = np.abs(np.fft.rfft(found[:48_000]))
    assert np.argmax(spectrum) == 1_000
    assert found.std() == pytest.approx(0.5 / 2**0.5, rel=0.01)


def test_a_file_without_a_sample_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "empty.wav"
    soundfile.write(file, np.zeros(0), RATE_HZ)
    with pytest.raises(MediaError):
        loudest_excerpt(file, RATE_HZ, 100)
    with pytest.raises(MediaError):
        loudest_excerpt(tmp_path / "none.wav", RATE_HZ, 100)
