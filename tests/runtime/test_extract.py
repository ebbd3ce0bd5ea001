"""Extraction: lazily read, cached by content, covering the picture."""

from __future__ import annotations

from itertools import islice, pairwise
from pathlib import Path

import pytest
from semmix_rt.cues import sampling
from semmix_rt.cues.cache import CueCache
from semmix_rt.cues.extract import SegmentSource, extract_sheet, iter_segments
from semmix_rt.cues.keyframes import KeyframeOptions
from support_cues import ShotCounter
from support_picture import film_frames, write_film

from semmix.cues.sheet import load_sheet
from semmix.cues.types import UNKNOWN, CueType
from semmix.errors import MediaError

CUTS = [48, 96, 144, 192]
KEYED = {"g": "48", "sc_threshold": "0"}


@pytest.fixture
def film(tmp_path):
    return write_film(tmp_path / "film.mp4", film_frames(CUTS, 240), options=KEYED, tone_hz=440)


@pytest.fixture
def cache(tmp_path):
    return CueCache(tmp_path / "cache")


def test_segments_cover_the_picture_and_say_what_was_seen(film, cache):
    segments = list(iter_segments(film, ShotCounter(), cache=cache))
    assert (segments[0].start_s, segments[-1].end_s) == (0.0, 10.0)
    assert all(a.end_s == b.start_s for a, b in pairwise(segments))
    texts = [s.cue(CueType.SCENE).text for s in segments]
    assert texts == [f"Shot {n} at <{2.0 * n}>." for n in range(5)]
    assert segments[0].cue(CueType.TONE) == UNKNOWN


def test_the_second_run_decodes_nothing_and_says_the_same(film, cache, monkeypatch):
    first = SegmentSource(film, extractor=ShotCounter(), cache=cache)
    assert not first.from_cache
    cold = list(first.segments())

    def refuse(*args):
        raise AssertionError("a frame was decoded")

    monkeypatch.setattr(sampling._Decoder, "feed", refuse)
    extractor = ShotCounter()
    second = SegmentSource(film, extractor=extractor, cache=cache)
    assert second.from_cache
    warm = list(second.segments())
    assert [(s.start_s, s.end_s, s.keyframe_s) for s in warm] == [
        (s.start_s, s.end_s, s.keyframe_s) for s in cold
    ]
    assert [[s.cue(t) for t in CueType] for s in warm] == [
        [s.cue(t) for t in CueType] for s in cold
    ]
    assert extractor.seen == []
    assert second.picture_hash == first.picture_hash != ""


def test_the_cache_knows_the_picture_under_another_sound_and_name(film, cache, tmp_path):
    list(iter_segments(film, ShotCounter(), cache=cache))
    other = write_film(tmp_path / "other.mp4", film_frames(CUTS, 240), options=KEYED, tone_hz=880)
    assert SegmentSource(other, extractor=ShotCounter(), cache=cache).from_cache
    changed = write_film(tmp_path / "changed.mp4", film_frames(CUTS, 240, seed=50), options=KEYED)
    misses = (
        SegmentSource(changed, extractor=ShotCounter(), cache=cache),
        SegmentSource(film, extractor=ShotCounter("shot-counter/2"), cache=cache),
        SegmentSource(
            film, extractor=ShotCounter(), cache=cache, options=KeyframeOptions(max_interval_s=4)
        ),
        SegmentSource(film, extractor=ShotCounter(), cache=False),
        SegmentSource(film, extractor=ShotCounter(), cache=cache, refresh=True),
    )
    assert [m.from_cache for m in misses] == [False] * 5
    assert len({m.key for m in misses[:3]}) == 3


def test_segments_come_before_the_film_is_read(film, cache):
    extractor = ShotCounter()
    segments = iter_segments(film, extractor, cache=cache)
    next(segments)
    assert len(extractor.seen) == 2
    segments.close()
    assert not SegmentSource(film, extractor=extractor, cache=cache).from_cache


def test_a_half_read_film_is_not_cached(film, cache):
    list(islice(iter_segments(film, ShotCounter(), cache=cache), 3))
    assert not SegmentSource(film, extractor=ShotCounter(), cache=cache).from_cache


def test_equal_neighbours_join_but_not_without_end(tmp_path, film, cache):
    segments = list(iter_segments(film, ShotCounter(same=True), cache=cache))
    assert [(s.start_s, s.end_s) for s in segments] == [(0.0, 10.0)]
    long = write_film(
        tmp_path / "long.mp4", film_frames([], 24 * 50), options={"g": "48", "preset": "ultrafast"}
    )
    joined = list(iter_segments(long, ShotCounter(same=True), cache=cache))
    assert joined[-1].end_s == 50.0
    assert 3 <= len(joined) <= 5
    assert all(a.end_s == b.start_s for a, b in pairwise(joined))


def test_a_damaged_cache_entry_is_read_anew(film, cache, tmp_path):
    wanted = extract_sheet(film, ShotCounter(), cache=cache)
    (entry,) = (tmp_path / "cache").glob("*.json")
    entry.write_text(entry.read_text().replace(wanted.picture_hash, "00" * 16))
    extractor = ShotCounter()
    assert extract_sheet(film, extractor, cache=cache) == wanted
    assert len(extractor.seen) == 5
    assert SegmentSource(film, extractor=extractor, cache=cache).from_cache


def test_the_watcher_sees_every_keyframe(film, cache):
    seen = []
    source = SegmentSource(film, extractor=ShotCounter(same=True), cache=cache)
    list(source.segments(lambda it: seen.append((it.keyframe.shot, len(it.cues)))))
    assert seen == [(n, 2) for n in range(5)]


@pytest.mark.parametrize("hidden", [24, 20])
def test_frames_that_an_edit_list_hides_are_left_out(tmp_path, hidden):
    path = write_film(
        tmp_path / "early.mp4",
        film_frames([], 48 + hidden, first=-hidden),
        codec="mpeg4",
        options={"g": "12"},
        muxer={"avoid_negative_ts": "disabled"},
    )
    segments = list(iter_segments(path, ShotCounter(), cache=False))
    assert segments[0].start_s == 0.0
    assert segments[-1].end_s == pytest.approx(2.0, abs=0.05)


def test_sound_alone_has_no_segments(tmp_path):
    path = write_film(tmp_path / "sound.m4a", [], tone_hz=440)
    source = SegmentSource(path, extractor=ShotCounter(), cache=False)
    assert not source.has_picture
    assert list(source.segments()) == []
    with pytest.raises(MediaError, match="no picture"):
        extract_sheet(path, ShotCounter(), cache=False)


def test_the_example_sheet_belongs_to_the_example():
    folder = Path(__file__).parents[2] / "examples"
    sheet = load_sheet(folder / "bbb_meadow.by_hand.json")
    source = SegmentSource(folder / "bbb_meadow.mp4", extractor=ShotCounter(), cache=False)
    assert sheet.picture_hash == source.picture_hash
    found = {s.start_s for s in source.segments()}
    assert {s.start_s for s in sheet.segments} <= found
    assert sheet.segments[-1].end_s == source.end_s
