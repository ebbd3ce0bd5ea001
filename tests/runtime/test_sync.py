from pathlib import Path

import numpy as np
import pytest
from semmix_rt.sync import SyncProbe, closest_shift
from support_media import Sound, make_media
from support_remix import programme


@pytest.mark.parametrize("shift", [0, 1, 77, 400])
def test_the_shift_is_found_beside_a_louder_passage(shift):
    rng = np.random.default_rng(shift)
    short = (0.01 * rng.standard_normal(1_000)).astype(np.float32)
    long = (0.001 * rng.standard_normal(1_500)).astype(np.float32)
    long[shift : shift + 1_000] += short
    # Louder, and alike enough to correlate.
    long[shift + 1_000 :] = 5.0 * short[: 500 - shift]
    assert closest_shift(long, short) == shift


def written(path: Path, samples: np.ndarray, start: int = 0, codec: str = "aac") -> Path:
    return make_media(path, Sound(codec, samples, start=start), frames=100)


@pytest.mark.parametrize("late_samples", [-480, 0, 48, 4_800])
@pytest.mark.parametrize("lead_samples", [0, 30_000])
def test_it_measures_how_late_the_sound_in_a_file_is(tmp_path, late_samples, lead_samples):
    sound = programme(3.0)
    sound[:, :lead_samples] = 0.0
    probe = SyncProbe(48_000)
    for at in range(0, sound.shape[1], 24_000):
        probe.push(sound[:, at : at + 24_000])
    start = 9_600
    path = written(tmp_path / "a.mov", sound, start + late_samples, "pcm_s16le")
    assert probe.offset_samples(path, 1, start) == late_samples


def test_there_is_nothing_to_find_in_silence(tmp_path):
    sound = np.zeros((2, 48_000), np.float32)
    probe = SyncProbe(48_000)
    probe.push(sound)
    assert probe.offset_samples(written(tmp_path / "a.mp4", sound), 1, 0) is None


def test_another_rate_or_stream_cannot_be_compared(tmp_path):
    sound = programme(1.0)
    path = written(tmp_path / "a.mp4", sound)
    other = SyncProbe(44_100)
    other.push(sound)
    assert other.offset_samples(path, 1, 0) is None
    probe = SyncProbe(48_000)
    probe.push(sound)
    assert probe.offset_samples(path, 0, 0) is None
