from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import semmix_rt
import soundfile
from semmix_rt import Remixer
from support_remix import make_bundle, programme
from tolerances import LEVELLED_FLOAT32

from semmix.bundle import Bundle
from semmix.cues.types import CUE_TYPES, Cue, CueSegment, CueSheet
from semmix.errors import UsageError

SHEET = CueSheet(
    (
        CueSegment(0.0, 0.7, 0.0, {CUE_TYPES[3]: Cue("A tense, dark scene.", 1.0)}),
        CueSegment(0.7, 30.0, 1.0, {CUE_TYPES[5]: Cue("A man is talking.", 1.0)}),
    )
)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "tiny").path


def play(remixer: Remixer, sound: np.ndarray, block_samples: int) -> np.ndarray:
    out = [
        remixer.process(sound[:, at : at + block_samples])
        for at in range(0, sound.shape[1], block_samples)
    ]
    return np.concatenate([*out, remixer.flush()], axis=1)


@pytest.mark.parametrize("rate_hz", [48_000, 44_100])
def test_blocks_of_any_size_give_what_the_file_gives(tmp_path, model, rate_hz):
    sound = programme(1.5, rate_hz)
    source = tmp_path / "in.wav"
    soundfile.write(source, sound.T, rate_hz, subtype="FLOAT")
    result = semmix_rt.remix(source, model=model, cues=SHEET)
    whole = soundfile.read(result.output, dtype="float32")[0].T
    loudness = result.report.loudness_before
    assert loudness is not None
    settings = {"model": model, "programme_lufs": loudness.integrated_lufs}
    for block_samples in (61, 1_024, 48_000, sound.shape[1]):
        with Remixer(rate_hz, 2, SHEET, **settings) as remixer:
            assert np.array_equal(play(remixer, sound, block_samples), whole)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_no_more_than_the_latency_is_held_back(model, channels):
    sound = programme(0.8, channels=channels)
    with Remixer(48_000, channels, model=model) as remixer:
        ahead = 0
        for at in range(0, sound.shape[1], 100):
            given = remixer.process(sound[:, at : at + 100])
            assert given.dtype == np.float32
            assert given.shape[0] == channels
            ahead += min(100, sound.shape[1] - at) - given.shape[1]
            assert 0 <= ahead <= remixer.latency_samples
        assert remixer.flush().shape == (channels, ahead)


def test_reset_starts_over(model):
    sound = programme(0.9)
    remixer = Remixer(48_000, 2, SHEET, model=model)
    first = play(remixer, sound, 4_800)
    remixer.reset()
    remixer.process(sound[:, :30_000])
    remixer.reset()
    assert np.array_equal(play(remixer, sound, 4_800), first)


def test_reset_can_bring_other_cues(model):
    sound = programme(0.9)
    remixer = Remixer(48_000, 2, model=model)
    without = play(remixer, sound, 4_800)
    remixer.reset(SHEET)
    guided = play(remixer, sound, 4_800)
    assert np.array_equal(guided, play(Remixer(48_000, 2, SHEET, model=model), sound, 4_800))
    assert not np.array_equal(guided, without)


@pytest.mark.parametrize(("edge_db", "gain_db"), [(-3.0, -18.0), (3.0, 9.0)])
def test_a_programme_of_any_loudness_is_heard_near_the_models(model, edge_db, gain_db):
    """Up to 3 LU away as it is, beyond as if it lay there; the gains act on what came in."""

    def gained(value_db):
        return sound * np.float32(10.0 ** (value_db / 20.0))

    sound = programme(0.9)
    programme_lufs = Bundle.load(model).spec.programme_lufs
    settings = {"model": model, "programme_lufs": programme_lufs + edge_db}
    at_edge = play(Remixer(48_000, 2, SHEET, **settings), gained(edge_db), 4_800)
    unheard = Remixer(48_000, 2, SHEET, model=model)
    assert np.array_equal(at_edge, play(unheard, gained(edge_db), 4_800))

    settings = {"model": model, "programme_lufs": programme_lufs + gain_db}
    beyond = play(Remixer(48_000, 2, SHEET, **settings), gained(gain_db), 4_800)
    gain = 10.0 ** ((gain_db - edge_db) / 20.0)
    np.testing.assert_allclose(beyond, at_edge * np.float32(gain), atol=LEVELLED_FLOAT32 * gain)
    unheard.reset()
    distance = play(unheard, gained(gain_db), 4_800) - at_edge * np.float32(gain)
    assert np.abs(distance).max() > 10 * LEVELLED_FLOAT32 * gain


def test_reset_can_bring_another_programme(model):
    sound = programme(0.9)
    fresh = play(Remixer(48_000, 2, SHEET, model=model, programme_lufs=-40.0), sound, 4_800)
    remixer = Remixer(48_000, 2, SHEET, model=model, programme_lufs=-9.0)
    other = play(remixer, sound, 4_800)
    remixer.reset(programme_lufs=-40.0)
    assert np.array_equal(play(remixer, sound, 4_800), fresh)
    assert not np.array_equal(other, fresh)
    remixer.reset()
    assert np.array_equal(play(remixer, sound, 4_800), fresh)
    with pytest.raises(UsageError, match="LUFS cannot be"):
        remixer.reset(programme_lufs=3.0)


def test_start_s_moves_the_sound_along_the_cues(model):
    sound = programme(0.5)
    late = CueSheet((CueSegment(10.0, 40.0, 10.0, SHEET.segments[1].cues),))
    early = CueSheet((CueSegment(0.0, 30.0, 0.0, SHEET.segments[1].cues),))
    moved = play(Remixer(48_000, 2, late, model=model, start_s=15.0), sound, 4_800)
    same = play(Remixer(48_000, 2, early, model=model, start_s=5.0), sound, 4_800)
    assert np.array_equal(moved, same)
    unmoved = play(Remixer(48_000, 2, late, model=model, start_s=5.0), sound, 4_800)
    assert not np.array_equal(moved, unmoved)


def test_amount_0_gives_every_sample_back(model):
    sound = programme(0.6)
    assert np.array_equal(play(Remixer(48_000, 2, amount=0.0, model=model), sound, 777), sound)


def test_bad_blocks_and_settings_are_refused(model):
    with pytest.raises(UsageError, match="amount"):
        Remixer(48_000, 2, amount=2.0, model=model)
    with pytest.raises(UsageError, match="LUFS"):
        Remixer(48_000, 2, programme_lufs=3.0, model=model)
    for settings in ({"channels": 0}, {"sample_rate_hz": 10}, {"start_s": float("nan")}):
        with pytest.raises(UsageError, match="cannot be"):
            Remixer(model=model, **settings)
    remixer = Remixer(48_000, 2, model=model)
    for block in (np.zeros((1, 10)), np.zeros(10), np.zeros((2, 10), np.int16)):
        with pytest.raises(UsageError, match="does not fit"):
            remixer.process(block)
    with pytest.raises(UsageError, match="NaN"):
        remixer.process(np.full((2, 10), np.nan, np.float32))
    remixer.flush()
    for call in (remixer.flush, lambda: remixer.process(np.zeros((2, 10), np.float32))):
        with pytest.raises(UsageError, match="flushed"):
            call()


def test_it_is_empty_before_and_whole_after(model):
    with Remixer(48_000, 2, model=model) as remixer:
        assert remixer.process(np.zeros((2, 0), np.float32)).shape == (2, 0)
        assert remixer.flush().shape == (2, 0)
