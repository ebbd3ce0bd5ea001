"""Which cues hold when: shares, ramps, gaps, merging, laziness, and no trace of the chunks."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
import tolerances
from numpy.typing import NDArray
from semmix_rt.timeline import HOLD_S, CueTimeline, unknown_cues
from support_engine import TINY_SPEC, tiny_model
from support_signal import pieces
from support_stream import cue, timeline

from semmix.cues.types import CueSegment

FRAME_S = 0.01
THREE = [(0.0, 1.0, 1.0), (1.0, 2.0, 2.0), (2.0, 3.0, 3.0)]


def value_at(asked: CueTimeline, times_s: NDArray, chunk: int | str = "whole") -> NDArray:
    """Blended token value of each frame, the windows asked `chunk` frames at a time."""
    blended = []
    for piece in pieces(len(times_s), chunk):
        if piece.stop > piece.start:
            tokens, weights = asked.window(times_s[piece])
            blended.append(weights @ tokens[:, 0, 0])
    return np.concatenate(blended)


def times(begin_s: float, end_s: float, step_s: float = FRAME_S) -> NDArray[np.float64]:
    return np.arange(round((end_s - begin_s) / step_s)) * step_s + begin_s


def test_shapes_and_kinds_are_the_engines() -> None:
    tokens, weights = timeline(TINY_SPEC, THREE).window(times(0.5, 0.54))
    assert tokens.shape == (2, 6, 4)
    assert weights.shape == (4, 2)
    assert tokens.dtype == weights.dtype == np.float32
    assert np.array_equal(tokens[0], np.full((6, 4), 1.0))


@pytest.mark.parametrize("max_segments", [1, 2, 4, 9])
@pytest.mark.parametrize("chunk", [7, 96, "whole"])
def test_shares_of_every_frame_are_a_whole(max_segments: int, chunk: int | str) -> None:
    rng = np.random.default_rng(0)
    bounds = np.cumsum(rng.uniform(0.01, 0.9, 40))
    cues = [(start, end, 1.0) for start, end in itertools.pairwise(bounds) if start % 1 < 0.8]
    asked = timeline(TINY_SPEC, cues, max_segments=max_segments)
    at = times(-0.5, 24.5)
    for piece in pieces(len(at), chunk):
        _, weights = asked.window(at[piece])
        np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=tolerances.SHARE_SUM)
        assert weights.min() >= 0.0


@pytest.mark.parametrize("ramp_s", [0.04, 0.2, 0.5])
def test_ramps_are_straight_and_centred_on_the_cuts(ramp_s: float) -> None:
    at = times(0.0, 3.0, 0.001)
    half = ramp_s / 2
    knees = [1 - half, 1 + half, 2 - half, 2 + half]
    expected = np.interp(at, knees, [1, 2, 2, 3])
    asked = timeline(TINY_SPEC, THREE, ramp_s=ramp_s, max_segments=5)
    np.testing.assert_allclose(value_at(asked, at), expected, atol=tolerances.CUE_SHARE)


def test_before_the_first_segment_nothing_is_known() -> None:
    asked = timeline(TINY_SPEC, [(2.0, 5.0, 1.0)])
    value = value_at(asked, times(-0.5, 4.0))
    assert np.array_equal(value[: round(2.4 / FRAME_S)], np.zeros(240))
    assert np.array_equal(value[round(2.61 / FRAME_S) :], np.ones(189))


@pytest.mark.parametrize("start_s", [0.0, 0.04, HOLD_S])
def test_what_the_film_begins_with_holds_before_its_start(start_s: float) -> None:
    """A network hears a look-ahead of silence first, and must not take it for another shot."""
    asked = timeline(TINY_SPEC, [(start_s, 5.0, 1.0)])
    assert np.array_equal(value_at(asked, times(-1.0, 4.0), 7), np.ones(500))


def test_places_without_a_segment_say_that_nothing_is_known() -> None:
    """As in training: attention never leaves a place out altogether."""
    unknown = np.full((6, 4), -3.0, np.float32)
    segment = CueSegment(0.0, 9.0, 4.5, {})
    asked = CueTimeline(
        [segment], lambda _: np.ones((6, 4), np.float32), lambda x: x, 3, unknown=unknown
    )
    tokens, weights = asked.window(times(0.5, 0.6))
    assert np.array_equal(tokens[0], np.ones((6, 4)))
    assert np.array_equal(tokens[1:], np.stack([unknown, unknown]))
    assert not weights[:, 1:].any()


def test_a_timeline_without_segments_knows_nothing() -> None:
    tokens, weights = timeline(TINY_SPEC).window(times(-1.0, 100.0, 1.0))
    assert not tokens.any()
    assert np.array_equal(weights, np.tile(np.array([1.0, 0.0], np.float32), (101, 1)))


def test_a_short_gap_keeps_the_cues_before_it() -> None:
    asked = timeline(TINY_SPEC, [(0.0, 1.0, 1.0), (1.0 + HOLD_S, 4.0, 2.0)])
    at = times(0.5, 3.0)
    expected = np.interp(at, [HOLD_S + 0.9, HOLD_S + 1.1], [1.0, 2.0])
    np.testing.assert_allclose(value_at(asked, at), expected, atol=tolerances.CUE_SHARE)


def test_a_longer_gap_is_unknown_from_end_to_end() -> None:
    asked = timeline(TINY_SPEC, [(0.0, 1.0, 1.0), (1.1 + HOLD_S, 4.0, 2.0)], max_segments=4)
    at = times(0.5, 3.0)
    knees = [0.9, 1.1, HOLD_S + 1.0, HOLD_S + 1.2]
    expected = np.interp(at, knees, [1.0, 0.0, 0.0, 2.0])
    np.testing.assert_allclose(value_at(asked, at), expected, atol=tolerances.CUE_SHARE)


@pytest.mark.parametrize("chunk", [1, 50, "whole"])
def test_after_the_last_segment_the_hold_and_then_nothing_is_known(chunk: int | str) -> None:
    asked = timeline(TINY_SPEC, [(0.0, 1.0, 1.0)])
    at = times(0.5, 6.0)
    expected = np.interp(at, [0.9 + HOLD_S, 1.1 + HOLD_S], [1.0, 0.0])
    np.testing.assert_allclose(value_at(asked, at, chunk), expected, atol=tolerances.CUE_SHARE)


def test_segments_stand_in_the_order_of_time() -> None:
    tokens, weights = timeline(TINY_SPEC, THREE, max_segments=4).window(times(0.5, 2.5))
    assert tokens[:, 0, 0].tolist() == [1.0, 2.0, 3.0, 0.0]
    owner = weights.argmax(axis=1)
    assert owner[0] == 0
    assert owner[-1] == 2
    assert np.array_equal(owner, np.sort(owner))
    assert not weights[:, 3].any()


@pytest.mark.parametrize("chunk", [1, 7, 96, "random"])
def test_the_chunks_leave_no_trace(chunk: int | str) -> None:
    # Longer and shorter than the ramp, with gaps of every kind.
    rng = np.random.default_rng(3)
    cues, now = [], 0.3
    for index in range(60):
        length = rng.choice([0.03, 0.15, 0.4, 1.3])
        cues.append((now, now + length, float(index + 1)))
        now += length + rng.choice([0.0, 0.0, 0.0, 0.5, HOLD_S, 1.7])
    at = times(-0.2, now + 3.0)
    whole = timeline(TINY_SPEC, cues, max_segments=99)
    at_once = value_at(whole, at)
    assert whole.merged == 0
    assert at_once.min() == 0.0
    assert at_once.max() == 60.0
    in_chunks = value_at(timeline(TINY_SPEC, cues, max_segments=99), at, chunk)
    # The same shares, summed over other sets of segments in float32.
    np.testing.assert_allclose(in_chunks, at_once, atol=60 * tolerances.CUE_SHARE)


def test_too_many_segments_are_merged_into_the_ones_before() -> None:
    cues = [(0.0, 1.0, 1.0), (1.0, 1.2, 2.0), (1.2, 1.5, 3.0), (1.5, 9.0, 4.0)]
    asked = timeline(TINY_SPEC, cues, max_segments=2)
    at = times(0.5, 2.5)
    # The shortest go first: 2 joins 1, then 3 joins 1, which now ends where 4 begins.
    expected = np.interp(at, [1.4, 1.6], [1.0, 4.0])
    np.testing.assert_allclose(value_at(asked, at), expected, atol=tolerances.CUE_SHARE)
    assert asked.merged == 2


def test_a_short_first_segment_is_merged_into_the_one_after() -> None:
    cues = [(0.0, 5.0, 1.0), (5.0, 6.0, 2.0), (6.0, 9.0, 3.0)]
    asked = timeline(TINY_SPEC, cues, max_segments=2)
    at = times(4.85, 8.0)
    expected = np.interp(at, [5.9, 6.1], [2.0, 3.0])
    np.testing.assert_allclose(value_at(asked, at), expected, atol=tolerances.CUE_SHARE)
    assert asked.merged == 1


def test_a_merge_does_not_outlast_its_window() -> None:
    # At the first window's end the third segment gives way to the second, which goes on.
    cues = [(0.0, 1.0, 1.0), (1.0, 1.55, 2.0), (1.55, 5.0, 3.0), (5.0, 9.0, 4.0)]
    crowded = timeline(TINY_SPEC, cues, max_segments=2)
    crowded.window(times(0.5, 1.44))
    assert crowded.merged == 1
    free = timeline(TINY_SPEC, cues, max_segments=9)
    later = times(1.44, 9.0)
    np.testing.assert_allclose(
        value_at(crowded, later, 40), value_at(free, later), atol=tolerances.CUE_SHARE
    )


def test_enough_room_merges_nothing() -> None:
    asked = timeline(TINY_SPEC, THREE, max_segments=2)
    value_at(asked, times(0.2, 2.8), 20)
    assert asked.merged == 0


def test_segments_are_read_no_sooner_than_a_window_needs_them() -> None:
    read = []

    def source() -> Iterator[CueSegment]:
        for second in range(100):
            read.append(second)
            yield cue(float(second), second + 1.0)

    embedded = []

    def embed(segment: CueSegment) -> NDArray[np.float32]:
        embedded.append(segment.start_s)
        return unknown_cues(TINY_SPEC)

    asked = CueTimeline(
        source(), embed, tiny_model().encode_context, 4, 0.2, unknown=unknown_cues(TINY_SPEC)
    )
    assert read == []
    for end_s, count in ((0.75, 1), (0.85, 2), (1.75, 2), (2.5, 3), (7.9, 9)):
        asked.window(np.array([end_s - 0.05, end_s]))
        assert len(read) == count
    # Each segment goes through the text encoder and the context graph once.
    assert embedded == [float(s) for s in read]


def test_the_past_is_let_go() -> None:
    made: list[weakref.ref] = []

    def encode(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        tokens = embeddings[..., :4].copy()
        made.append(weakref.ref(tokens))
        return tokens

    asked = CueTimeline(
        (cue(quarter / 4, (quarter + 1) / 4) for quarter in range(200)),
        lambda segment: unknown_cues(TINY_SPEC),
        encode,
        9,
        unknown=unknown_cues(TINY_SPEC),
    )
    for start_s in range(49):
        asked.window(times(start_s, start_s + 1.0))
        # A second, the ramps' margins around it, and the tokens of nothing known.
        assert sum(ref() is not None for ref in made) <= 10
    assert len(made) > 190


def test_a_source_that_fails_fails_the_window() -> None:
    def source() -> Iterator[CueSegment]:
        yield cue(0.0, 1.0)
        raise OSError("the picture ended early")

    asked = CueTimeline(
        source(),
        lambda segment: unknown_cues(TINY_SPEC),
        tiny_model().encode_context,
        2,
        unknown=unknown_cues(TINY_SPEC),
    )
    asked.window(times(0.0, 0.5))
    with pytest.raises(OSError, match="ended early"):
        asked.window(times(0.5, 1.5))
