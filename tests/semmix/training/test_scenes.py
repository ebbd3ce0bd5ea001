from __future__ import annotations

from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import tolerances
from scipy.stats import binomtest

from semmix.cues.types import CUE_TYPES
from semmix.training import scenes
from semmix.training.policy import SCATTER_LU, SITUATION_BY_NAME, SITUATIONS
from semmix.training.scenes import Example, SceneGenerator, Shot, clip_loudness_lufs
from semmix.training.stems import StemLibrary
from semmix.training.variation import Variation

RATE_HZ = 16_000
LIMIT = 10.0 ** (-0.5 / 20.0)


@pytest.fixture(scope="module")
def library(stems: Path) -> StemLibrary:
    return StemLibrary(stems, RATE_HZ)


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stems without envelopes, so that the level in a shot is the gain in it."""

    def noise(seed: int) -> object:
        def draw(library: object, *args: object) -> np.ndarray:
            samples = next(a for a in args if isinstance(a, int))
            rng = np.random.default_rng(seed)
            return 0.1 * rng.standard_normal(samples).astype(np.float32)

        return draw

    for seed, name in enumerate(("draw_speech", "draw_music", "draw_effects")):
        monkeypatch.setattr(scenes, name, noise(seed))


def assert_same(one: Example, other: Example) -> None:
    np.testing.assert_array_equal(one.target_stems, other.target_stems)
    np.testing.assert_array_equal(one.gains_db, other.gains_db)
    assert one.shots == other.shots


# --- Chance -------------------------------------------------------------------------------------


@pytest.mark.parametrize("varied_share", [0.0, 1.0])
def test_an_example_is_the_same_whatever_was_drawn_before(stems: Path, varied_share: float) -> None:
    def generator(seed: int = 3) -> SceneGenerator:
        return SceneGenerator(
            StemLibrary(stems, RATE_HZ), seed, duration_s=1.0, varied_share=varied_share
        )

    forth, back = generator(), generator()
    drawn = [forth.example(i) for i in range(6)]
    back.scenes(2, 9)
    for i in reversed(range(6)):
        assert_same(back.example(i), drawn[i])
    assert_same(forth.example(5), drawn[5])
    others = [generator(seed=4).example(i) for i in range(6)]
    for i in range(6):
        for other in (others[i], drawn[(i + 1) % 6]):
            assert not np.array_equal(other.target_stems, drawn[i].target_stems)


def test_scenes_without_sound_are_as_repeatable_and_of_their_own(library: StemLibrary) -> None:
    generator = SceneGenerator(library, 3, 1.0)
    first = generator.scenes(0, 7)
    generator.example(1)
    assert len(first) == 7
    assert generator.scenes(0, 7) == first
    assert generator.scenes(1, 7) != first
    assert SceneGenerator(library, 4, 1.0).scenes(0, 7) != first
    assert first[0].cues != generator.example(0).shots[0].cues


def test_variation_changes_the_sound_and_not_what_the_picture_shows(library: StemLibrary) -> None:
    """Evaluations take the recordings as they are, and do not depend on how training varies."""
    plain = SceneGenerator(library, 3, 1.0)
    varied = SceneGenerator(library, 3, 1.0, varied_share=1.0)
    changed = 0
    for index in range(12):
        one, other = plain.example(index), varied.example(index)
        assert one.target_stems.shape == other.target_stems.shape
        assert [s.situation for s in one.shots[:1]] == [s.situation for s in other.shots[:1]]
        np.testing.assert_array_equal(one.target_stems.any(axis=1), other.target_stems.any(axis=1))
        changed += not np.array_equal(one.target_stems, other.target_stems)
    assert changed >= 10


def test_every_example_is_varied_by_chance_of_its_own(
    library: StemLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[float] = []

    def recorded(rng: np.random.Generator, sample_rate_hz: int) -> Variation:
        drawn.append(rng.random())
        return Variation(rng, sample_rate_hz)

    monkeypatch.setattr(scenes, "Variation", recorded)
    for seed in (3, 4):
        for index in range(3):
            SceneGenerator(library, seed, 0.5, varied_share=1.0).example(index)
    assert len(set(drawn)) == 6


# --- Shots and cues -----------------------------------------------------------------------------


def test_shots_tile_the_clip_and_a_cut_stands_in_its_middle(library: StemLibrary) -> None:
    generator = SceneGenerator(library, 5, 2.0)
    for index in range(40):
        shots = generator.example(index).shots
        assert shots[0].start_s == 0.0
        assert shots[-1].end_s == 2.0
        if len(shots) == 2:
            assert shots[0].end_s == shots[1].start_s
            assert 0.6 <= shots[0].end_s <= 1.4
            assert shots[0].situation != shots[1].situation


def drawn_shots(library: StemLibrary, drop_cues: bool) -> list[Shot]:
    return SceneGenerator(library, 6, 1.0, drop_cues=drop_cues).scenes(0, 3_000)


def test_situations_are_drawn_by_their_shares(library: StemLibrary) -> None:
    """Of the first shot of each clip: a second differs from the first."""
    generator = SceneGenerator(library, 6, 1.0)
    names = [generator.scenes(i, 1)[0].situation for i in range(1_500)]
    total = sum(s.share for s in SITUATIONS)
    for situation in SITUATIONS:
        count = names.count(situation.name)
        assert binomtest(count, 1_500, situation.share / total).pvalue > 1e-4, situation.name


def test_evaluations_leave_no_cue_out_on_purpose(library: StemLibrary) -> None:
    shots = drawn_shots(library, drop_cues=False)
    free = [s for s in shots if all(s.cues.values())]
    # Half the shots are worded freely, of all six types; models do not know everything.
    assert len(free) / len(shots) > 0.5
    assert not [s for s in shots if not any(s.cues.values())]
    assert all(tuple(s.cues) == CUE_TYPES for s in shots)


def test_training_leaves_out_single_cues_and_now_and_then_all(library: StemLibrary) -> None:
    kept = drawn_shots(library, drop_cues=False)
    shots = drawn_shots(library, drop_cues=True)
    known = sum(cue is not None for s in shots for cue in s.cues.values())
    possible = sum(cue is not None for s in kept for cue in s.cues.values()) / len(kept)
    # Of ten clips one is without cues, of the other cues a quarter is left out.
    assert known / (len(shots) * possible) == pytest.approx(0.9 * 0.75, abs=0.03)
    without = sum(not any(s.cues.values()) for s in shots) / len(shots)
    assert without == pytest.approx(0.1, abs=0.03)


# --- Levels -------------------------------------------------------------------------------------


def measured_lufs(x: np.ndarray) -> float:
    return float(pyloudnorm.Meter(RATE_HZ).integrated_loudness(x.astype(np.float64)))


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize("varied_share", [0.0, 1.0])
def test_stems_stand_at_the_levels_of_the_policy_in_every_shot(
    library: StemLibrary, varied_share: float
) -> None:
    """Varied recordings too: they are varied before their loudness is set."""
    generator = SceneGenerator(library, 7, duration_s=3.0, varied_share=varied_share)
    scatter = []
    cuts = 0
    for index in range(30):
        clip = generator.example(index)
        levels = np.full((len(clip.shots), 3), np.nan)
        for n, shot in enumerate(clip.shots):
            # Levels move for a tenth of a second on either side of a cut.
            part = slice(
                round((shot.start_s + 0.11 * (n > 0)) * RATE_HZ),
                round((shot.end_s - 0.11 * (n + 1 < len(clip.shots))) * RATE_HZ),
            )
            for i, stem in enumerate(clip.target_stems):
                if np.any(stem):
                    balance = SITUATION_BY_NAME[shot.situation].balance_lu[i]
                    levels[n, i] = measured_lufs(stem[part]) - balance
        if len(levels) == 2:
            # The scatter is one for the clip: between the shots the policy holds exactly.
            cuts += 1
            both = ~np.isnan(levels[0])
            np.testing.assert_allclose(
                levels[0, both], levels[1, both], atol=tolerances.SHOT_LEVEL_LU
            )
        scatter.append(levels[0] - np.nanmean(levels[0]))
        assert np.nanmean(levels[0]) == pytest.approx(-21.0, abs=4.0 * 1.5)
    assert cuts > 8
    full = np.array([row for row in scatter if not np.isnan(row).any()])
    assert len(full) > 12
    # Around the table each stem scatters by about 1 LU, not by more and not around elsewhere.
    spread = SCATTER_LU * np.sqrt(2.0 / 3.0)
    np.testing.assert_allclose(full.mean(0), 0.0, atol=4.0 * spread / np.sqrt(len(full)))
    assert 0.5 * spread < full.std() < 1.6 * spread


@pytest.mark.usefixtures("steady")
def test_levels_move_in_a_straight_line_at_the_cut(library: StemLibrary) -> None:
    generator = SceneGenerator(library, 7, duration_s=3.0)
    clip = next(c for c in map(generator.example, range(50)) if len(c.shots) == 2)
    balance = [SITUATION_BY_NAME[s.situation].balance_lu for s in clip.shots]
    moves = np.not_equal(*balance) & clip.target_stems.any(axis=1)
    stem = int(np.argmax(moves))
    assert moves[stem]
    raw = np.random.default_rng(stem).standard_normal(clip.target_stems.shape[1])
    gain_db = 20.0 * np.log10(clip.target_stems[stem] / (0.1 * raw.astype(np.float32)))
    time_s = np.arange(len(raw)) / RATE_HZ - clip.shots[0].end_s
    rise = balance[1][stem] - balance[0][stem]
    expected = gain_db[0] + rise * np.clip(time_s / 0.2 + 0.5, 0.0, 1.0)
    np.testing.assert_allclose(gain_db, expected, atol=tolerances.GAIN_CURVE_DB)


@pytest.mark.usefixtures("steady")
def test_shares_of_cuts_clean_mixes_and_missing_stems(library: StemLibrary) -> None:
    count = 500
    clips = list(map(SceneGenerator(library, 8, duration_s=0.5).example, range(count)))
    sounding = np.array([c.target_stems.any(axis=1) for c in clips])
    leads = [int(np.argmax(SITUATION_BY_NAME[c.shots[0].situation].balance_lu)) for c in clips]
    assert sounding[np.arange(count), leads].all()
    led = np.zeros_like(sounding)
    led[np.arange(count), leads] = True
    # Silent stems keep their gain, so that a spoiled mix shows even where one stem is alone.
    clean = sum(np.ptp(c.gains_db) < 1e-9 for c in clips)
    for name, hits, of, share in (
        ("cut", sum(len(c.shots) == 2 for c in clips), count, 0.5),
        ("missing", int((~sounding & ~led).sum()), int((~led).sum()), 0.12),
        ("clean", clean, count, 0.08),
    ):
        assert binomtest(hits, of, share).pvalue > 1e-4, name


def test_a_source_alone_is_never_spoiled_and_lies_over_the_noise_of_its_room(
    library: StemLibrary,
) -> None:
    generator = SceneGenerator(library, 8, duration_s=1.0, alone_share=1.0)
    kept = []
    for clip in map(generator.example, range(60)):
        (sounding,) = np.flatnonzero(clip.target_stems.any(axis=1))
        kept.append(int(sounding))
        np.testing.assert_allclose(clip.mix, clip.target, rtol=1e-5, atol=1e-7)
        assert np.count_nonzero(clip.mix) > 0.99 * len(clip.mix), "a room is never silent"
    assert set(kept) == {0, 1, 2}


def test_only_clips_in_balance_are_louder_or_quieter_as_a_whole(library: StemLibrary) -> None:
    def clips(clean_share: float, spread_lu: float) -> list[Example]:
        generator = SceneGenerator(
            library, 5, 1.0, clean_share=clean_share, clean_spread_lu=spread_lu
        )
        return [generator.example(i) for i in range(30)]

    for one, other in zip(clips(0.0, 0.0), clips(0.0, 8.0), strict=True):
        assert_same(one, other)
    moved_db = []
    for one, other in zip(clips(1.0, 0.0), clips(1.0, 8.0), strict=True):
        np.testing.assert_allclose(other.mix, other.target, rtol=1e-5, atol=1e-7)
        assert np.abs(other.mix).max() <= LIMIT * (1.0 + 1e-5)
        scale = np.vdot(one.target, other.target) / np.vdot(one.target, one.target)
        np.testing.assert_allclose(other.target, scale * one.target, atol=1e-5)
        moved_db.append(20.0 * np.log10(scale))
    assert -8.0 <= min(moved_db) < -4.0
    assert 2.0 < max(moved_db) <= 8.0


# --- Mixes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("duration_s", "varied_share"), [(0.5, 0.0), (1.5, 0.0), (1.5, 1.0)])
def test_mixes_are_sums_below_the_peak_limit(
    library: StemLibrary, duration_s: float, varied_share: float
) -> None:
    generator = SceneGenerator(library, 9, duration_s, varied_share=varied_share)
    touching = 0
    for index in range(60):
        clip = generator.example(index)
        assert clip.target_stems.shape == (3, round(duration_s * RATE_HZ))
        assert clip.target_stems.dtype == clip.target.dtype == clip.mix.dtype == np.float32
        gains = 10.0 ** (clip.gains_db / 20.0)
        target, mix = np.zeros((2, clip.target_stems.shape[1]))
        for stem, gain, mixed in zip(clip.target_stems, gains, clip.mix_stems, strict=True):
            target += stem
            mix += gain * stem
            np.testing.assert_allclose(mixed, gain * stem, atol=tolerances.FLOAT32_ROUNDTRIP)
        np.testing.assert_allclose(clip.target, target, atol=tolerances.FLOAT32_ROUNDTRIP)
        np.testing.assert_allclose(clip.mix, mix, atol=tolerances.FLOAT32_ROUNDTRIP)
        peaks = [np.abs(x).max() for x in (target, mix, *clip.mix_stems)]
        assert max(peaks) <= LIMIT * (1.0 + tolerances.FLOAT32_ROUNDTRIP)
        touching += max(peaks) > 0.999 * LIMIT
        # The stem that leads the first shot sounds, however short the clip.
        lead = int(np.argmax(SITUATION_BY_NAME[clip.shots[0].situation].balance_lu))
        assert np.any(clip.target_stems[lead])
    # The limit acts now and then, or its test would say nothing.
    assert 0 < touching < 60


@pytest.mark.usefixtures("steady")
def test_right_mixes_that_would_clip_are_turned_down_as_a_whole(
    library: StemLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = SceneGenerator(library, 9, 1.0)
    before = [generator.example(i) for i in range(5)]
    monkeypatch.setattr(scenes, "BASE_LUFS", -5.0)
    for index, quiet in enumerate(before):
        loud = generator.example(index)
        peak = np.abs(loud.target).max()
        assert peak == pytest.approx(LIMIT, rel=tolerances.FLOAT32_ROUNDTRIP)
        scale = peak / np.abs(quiet.target).max()
        np.testing.assert_allclose(
            loud.target_stems, scale * quiet.target_stems, atol=10 * tolerances.FLOAT32_ROUNDTRIP
        )


@pytest.mark.parametrize("pause", [slice(0, 0), slice(48_000, 96_000)])
def test_the_loudness_of_a_clip_is_that_of_another_meter(pause: slice) -> None:
    noise = 0.05 * np.random.default_rng(2).standard_normal(4 * 48_000).astype(np.float32)
    noise[pause] = 0.0
    expected = pyloudnorm.Meter(48_000).integrated_loudness(noise.astype(np.float64))
    assert clip_loudness_lufs(noise, 48_000) == pytest.approx(expected, abs=tolerances.LOUDNESS_LU)


def test_silence_and_the_shortest_clips_have_no_loudness() -> None:
    assert clip_loudness_lufs(np.zeros(48_000, np.float32), 48_000) == -np.inf
    assert clip_loudness_lufs(np.ones(100, np.float32), 48_000) == -np.inf
