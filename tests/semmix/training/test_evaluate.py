from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tolerances

from semmix.cues.types import CUE_TYPES, CueSegment
from semmix.errors import MediaError, UsageError
from semmix.training.clips import GeneratedClips
from semmix.training.evaluate import CONDITIONS, ClipResult, EvaluationResult, evaluate
from semmix.training.guides import ALONE, MINIMAL
from semmix.training.measures import DISTANCES, LEVELS, MEASURE_NOTES, READINGS
from semmix.training.minimal import ANSWERS
from semmix.training.policy import SITUATION_BY_NAME, STEMS
from semmix.training.scenes import Example, SceneGenerator
from semmix.training.stems import StemLibrary
from semmix.training.wordings import WORDINGS

RATE_HZ = 16_000
CLIPS, SEED, DURATION_S = 3, 2, 1.5
MEASURES = (*DISTANCES, *LEVELS, *READINGS)
Segments = Sequence[CueSegment]


def run(stems: Path, remix: object, **changes: object) -> EvaluationResult:
    """Evaluate generated clips; every number can be changed."""
    settings = {"seed": SEED, "clips": CLIPS, "duration_s": DURATION_S} | changes
    duration_s = settings.pop("duration_s")
    source = GeneratedClips(stems, RATE_HZ, settings["seed"], duration_s)  # type: ignore[arg-type]
    return evaluate(source, remix, **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def clips(stems: Path) -> list[Example]:
    """What the evaluation draws, with some more as donors."""
    library = StemLibrary(stems, RATE_HZ)
    generator = SceneGenerator(library, SEED, DURATION_S, drop_cues=False)
    return [generator.example(i) for i in range(CLIPS + 20)]


class Listener:
    """Gives back what it got, and remembers it."""

    def __init__(self) -> None:
        self.calls: list[tuple[np.ndarray, tuple[CueSegment, ...]]] = []

    def __call__(self, mix: np.ndarray, segments: tuple[CueSegment, ...]) -> np.ndarray:
        self.calls.append((mix.copy(), segments))
        return mix


@pytest.fixture(scope="module")
def identity(stems: Path) -> tuple[EvaluationResult, Listener]:
    listener = Listener()
    return run(stems, listener), listener


def assert_equal(one: EvaluationResult, other: EvaluationResult) -> None:
    """NaN, where a stem is silent, is equal to NaN."""
    assert repr(one) == repr(other)


# --- What comes out -------------------------------------------------------------------------------


def test_a_remixer_that_changes_nothing_repeats_the_numbers_of_the_input(
    identity: tuple[EvaluationResult, Listener],
) -> None:
    result, _ = identity
    assert (result.seed, result.duration_s, result.sample_rate_hz) == (SEED, DURATION_S, RATE_HZ)
    assert [clip.index for clip in result.clips] == list(range(CLIPS))
    assert result.measures == MEASURES
    assert set(MEASURE_NOTES) >= set(MEASURES)
    assert result.conditions == CONDITIONS
    for clip in result.clips:
        assert tuple(clip.measures) == CONDITIONS
        for condition in CONDITIONS:
            assert tuple(clip.measures[condition]) == MEASURES
            assert repr(clip.measures[condition]) == repr(clip.measures["input"])
        assert all(clip.measures["input"][m] > 0.0 for m in DISTANCES)
        # The good mix stayed as it was.
        for measure in DISTANCES:
            assert clip.good[measure] == 0.0
        for measure in LEVELS:
            assert math.isnan(clip.good[measure]) or clip.good[measure] < tolerances.REMIX_LEVEL_LU
    for measure in DISTANCES:
        assert result.change_percent("right", measure) == 0.0


def test_the_levels_of_the_input_are_the_gains_that_spoiled_it(
    identity: tuple[EvaluationResult, Listener], clips: list[Example]
) -> None:
    checked = 0
    for found, clip in zip(identity[0].clips, clips, strict=False):
        gains = clip.gains_db[clip.target_stems.any(axis=1)]
        known = [found.measures["input"][f"{stem}_db"] for stem in STEMS]
        for i, level in enumerate(known):
            if not math.isnan(level):
                assert level == pytest.approx(abs(clip.gains_db[i]), abs=0.01)
                checked += 1
        mean = np.nanmean(known)
        assert found.measures["input"]["level_db"] == pytest.approx(mean, abs=0.01)
        assert found.measures["input"]["balance_db"] <= np.ptp(gains) + 0.01
    assert checked >= 2 * CLIPS


def test_a_remixer_that_knows_the_target_makes_no_error(stems: Path, clips: list[Example]) -> None:
    targets = {clip.mix.tobytes(): clip.target for clip in clips}

    def oracle(mix: np.ndarray, segments: Segments) -> np.ndarray:
        return targets.get(mix.tobytes(), mix)

    result = run(stems, oracle)
    for condition in ("right", "none", "swapped", "good"):
        for measure in DISTANCES:
            assert result.mean(condition, measure) == 0.0
        for measure in LEVELS:
            assert result.mean(condition, measure) < tolerances.REMIX_LEVEL_LU
    assert result.mean("input", "level_db") > 3.0
    assert result.change_percent("right", "mag") == -100.0


def test_a_level_that_is_wrong_all_over_is_no_error_of_balance(
    stems: Path, clips: list[Example]
) -> None:
    targets = {clip.mix.tobytes(): clip.target for clip in clips}

    def quiet(mix: np.ndarray, segments: Segments) -> np.ndarray:
        return np.float32(10.0 ** (-3.0 / 20.0)) * targets.get(mix.tobytes(), mix)

    result = run(stems, quiet)
    for condition in ("right", "good"):
        assert result.mean(condition, "level_db") == pytest.approx(3.0, abs=1e-3)
        assert result.mean(condition, "balance_db") < tolerances.REMIX_LEVEL_LU


def test_one_seed_gives_one_result_and_another_seed_another(
    stems: Path, identity: tuple[EvaluationResult, Listener]
) -> None:
    again = run(stems, lambda mix, segments: mix)
    assert_equal(again, identity[0])
    other = run(stems, lambda mix, segments: mix, seed=SEED + 1, clips=1)
    assert repr(other.clips[0].measures) != repr(again.clips[0].measures)


def test_clips_do_not_depend_on_how_many_there_are(
    stems: Path, identity: tuple[EvaluationResult, Listener]
) -> None:
    one = run(stems, lambda mix, segments: mix, clips=1)
    assert repr(one.clips[0].measures) == repr(identity[0].clips[0].measures)


# --- What goes in ---------------------------------------------------------------------------------


def test_every_clip_is_remixed_with_its_cues_without_and_with_those_of_another(
    identity: tuple[EvaluationResult, Listener], clips: list[Example]
) -> None:
    result, listener = identity
    assert len(listener.calls) == 4 * CLIPS
    calls = iter(listener.calls)
    for found, clip in zip(result.clips, clips, strict=False):
        donor = clips[found.donor]
        right, none, swapped, good = (next(calls) for _ in range(4))
        for mix, segments in (right, none, swapped, good):
            given = clip.target if mix is good[0] else clip.mix
            np.testing.assert_array_equal(mix, given)
            assert mix.dtype == np.float32
            times = [(s.start_s, s.end_s) for s in segments]
            assert times == [(s.start_s, s.end_s) for s in clip.shots]
            assert all(s.start_s < s.keyframe_s < s.end_s for s in segments)
        for number, shot in enumerate(clip.shots):
            lender = donor.shots[number % len(donor.shots)]
            for cue_type in CUE_TYPES:
                for _, segments in (right, good):
                    assert segments[number].cue(cue_type).text == shot.cues[cue_type]
                assert not none[1][number].cue(cue_type).known
                assert swapped[1][number].cue(cue_type).text == lender.cues[cue_type]


def test_donors_show_other_situations(
    identity: tuple[EvaluationResult, Listener], clips: list[Example]
) -> None:
    for found, clip in zip(identity[0].clips, clips, strict=False):
        shown = {shot.situation for shot in clip.shots}
        assert found.situations == tuple(shot.situation for shot in clip.shots)
        assert found.donor != found.index
        assert shown.isdisjoint(shot.situation for shot in clips[found.donor].shots)


def test_recordings_are_taken_as_they_are_and_no_cue_is_dropped(
    identity: tuple[EvaluationResult, Listener], clips: list[Example]
) -> None:
    """The clips of the fixture were drawn without the chances of training."""
    mixes = [mix for mix, _ in identity[1].calls[::4]]
    for mix, clip in zip(mixes, clips, strict=False):
        np.testing.assert_array_equal(mix, clip.mix)


def test_progress_is_told_after_each_clip(stems: Path) -> None:
    told: list[int] = []
    run(stems, lambda mix, segments: mix, clips=2, duration_s=1.0, on_clip=told.append)
    assert told == [1, 2]


def test_an_ablation_adds_each_cue_type_alone(
    stems: Path, identity: tuple[EvaluationResult, Listener], clips: list[Example]
) -> None:
    listener = Listener()
    result = run(stems, listener, clips=2, ablate=True)
    assert result.conditions == (*CONDITIONS, *ALONE, MINIMAL)
    assert [*ALONE.values()] == [*CUE_TYPES]
    # What is not ablated stays what it was.
    for found, plain in zip(result.clips, identity[0].clips, strict=False):
        for condition in CONDITIONS:
            assert repr(found.measures[condition]) == repr(plain.measures[condition])
    calls = iter(listener.calls)
    for clip in clips[:2]:
        given = [next(calls) for _ in range(5 + len(ALONE))]
        right = given[0][1]
        for (mix, segments), kind in zip(given[3:-2], ALONE.values(), strict=True):
            np.testing.assert_array_equal(mix, clip.mix)
            for segment, whole in zip(segments, right, strict=True):
                assert [t for t in CUE_TYPES if segment.cue(t).known] == [kind]
                assert segment.cue(kind) == whole.cue(kind)
        assert [s.start_s for s in given[-2][1]] == [s.start_s for s in right]
        for segment, shot in zip(given[-2][1], clip.shots, strict=True):
            assert tuple(segment.cue(t).text for t in CUE_TYPES) == ANSWERS[shot.situation]
        np.testing.assert_array_equal(given[-1][0], clip.target)


def test_minimal_answers_cover_the_policy_in_words_that_training_does_not_use() -> None:
    assert set(ANSWERS) == set(SITUATION_BY_NAME) == set(WORDINGS)
    for situation, answers in ANSWERS.items():
        assert all(len(answer.split()) <= 2 for answer in answers)
        for kind, answer in zip(CUE_TYPES, answers, strict=True):
            assert answer not in WORDINGS[situation][kind]


# --- Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoil",
    [
        lambda mix: mix[:-1],
        lambda mix: np.append(mix, np.float32(0.0)),
        lambda mix: mix[None],
        lambda mix: np.full_like(mix, np.nan),
        lambda mix: np.where(np.arange(len(mix)) == 7, np.float32(np.inf), mix),
    ],
)
def test_a_remixer_that_returns_something_else_is_refused(stems: Path, spoil: object) -> None:
    with pytest.raises(UsageError, match="as many finite samples as it gets"):
        run(stems, lambda mix, segments: spoil(mix), duration_s=1.0)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("changes", "clue"),
    [
        ({"clips": 0}, "0 clips"),
        ({"clips": 100_001}, "1 to 100000"),
        ({"duration_s": 0.9}, "0.9 s"),
        ({"duration_s": 601.0}, "1 to 600 s"),
        ({"duration_s": math.nan}, "nan s"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_numbers_out_of_range_are_refused(
    stems: Path, changes: dict[str, object], clue: str
) -> None:
    def never(mix: np.ndarray, segments: Segments) -> np.ndarray:
        raise AssertionError("nothing may be remixed")

    with pytest.raises(UsageError, match=clue):
        run(stems, never, **changes)


def test_a_folder_without_stems_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no folder 'speech'"):
        run(tmp_path, lambda mix, segments: mix)


# --- Means ----------------------------------------------------------------------------------------


def result_of(*mags: tuple[float, float, float]) -> EvaluationResult:
    """Clips with a MAG of the input, with right cues and of the good mix; the rest is unknown."""
    unknown = dict.fromkeys(MEASURES, math.nan)
    clips = [
        ClipResult(
            index=i,
            name=str(i),
            situations=("drama",),
            donor=0,
            measures={
                "input": unknown | {"mag": before},
                "right": unknown | {"mag": after},
                "none": unknown | {"mag": 0.0},
                "swapped": unknown,
            },
            good=unknown | {"mag": good},
            target={},
        )
        for i, (before, after, good) in enumerate(mags)
    ]
    return EvaluationResult(tuple(clips), 1, 10.0, 48_000)


def test_means_leave_out_what_is_unknown() -> None:
    result = result_of((2.0, 1.0, 0.5), (4.0, 2.0, math.nan), (math.nan, 6.0, 1.5))
    assert result.mean("input", "mag") == 3.0
    assert result.mean("right", "mag") == 3.0
    assert result.mean("good", "mag") == 1.0
    assert math.isnan(result.mean("swapped", "mag"))
    assert math.isnan(result.mean("input", "env"))


def test_changes_are_percentages_of_the_means() -> None:
    result = result_of((2.0, 1.0, 0.5), (4.0, 3.5, 1.5))
    assert result.change_percent("right", "mag") == pytest.approx(-25.0)
    assert result.change_percent("good", "mag") == pytest.approx(-200.0 / 3.0)
    assert result.change_percent("input", "mag", against="right") == pytest.approx(100.0 / 3.0)
    assert result.change_percent("none", "mag") == pytest.approx(-100.0)
    assert math.isnan(result.change_percent("right", "mag", against="none"))
    assert math.isnan(result.change_percent("right", "mag", against="swapped"))
    assert math.isnan(result.change_percent("swapped", "mag"))
    assert math.isnan(result.change_percent("right", "env"))
