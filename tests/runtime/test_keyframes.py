"""Keyframes: true times, cuts where they are, few decoded frames, damage."""

from __future__ import annotations

import os
from dataclasses import replace
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from semmix_rt.cues import sampling
from semmix_rt.cues.keyframes import Keyframe, KeyframeOptions, iter_keyframes
from semmix_rt.cues.picture import PictureIndex, index_picture, picture_hash
from semmix_rt.cues.sampling import GAP_SLACK, STEP_S, plan_visits
from semmix_rt.cues.shots import CUT, difference, signature
from support_picture import film_frames, scene, write_film
from tolerances import CONTAINER_TIME_S, CUT_WITHOUT_KEY_S, KEYFRAME_LUMA

from semmix.errors import MediaError, UsageError

EXAMPLE = Path(__file__).parents[2] / "examples" / "bbb_meadow.mp4"


def starts(frames: list[Keyframe]) -> list[float]:
    return [f.time_s for f in frames]


def check_cover(frames: list[Keyframe], start_s: float, end_s: float, shortest_s: float = 0.7):
    assert frames[0].time_s == pytest.approx(start_s, abs=CONTAINER_TIME_S)
    assert frames[-1].end_s == pytest.approx(end_s, abs=CONTAINER_TIME_S)
    assert all(a.end_s == b.time_s for a, b in pairwise(frames))
    assert all(f.end_s - f.time_s >= shortest_s - 1e-9 for f in frames)
    assert all(f.image.dtype == np.uint8 and f.image.shape[2] == 3 for f in frames)


def cuts_by_full_decode(path: Path) -> list[float]:
    """Independent reference: jumps between neighbouring frames of the fully decoded film."""
    with av.open(str(path)) as container:
        times, pictures = [], []
        for frame in container.decode(video=0):
            times.append(frame.time)
            pictures.append(frame.reformat(32, 18, "gray").to_ndarray().astype(float))
    jumps = np.abs(np.diff(np.stack(pictures), axis=0)).mean((1, 2))
    return [times[i + 1] for i in np.flatnonzero(jumps > 20)]


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("film.mp4", "libx264", {}),
        ("film.mkv", "libx264", {"g": "12"}),
        ("film.mov", "mjpeg", {}),
        ("film.mkv", "libx264", {"g": "1"}),
        ("film.mkv", "mpeg4", {"g": "1"}),
    ],
)
@pytest.mark.parametrize("keys_count", [True, False])
def test_cuts_lie_where_they_were_made(tmp_path, name, codec, options, keys_count):
    cuts = [41, 79, 122]
    path = write_film(tmp_path / name, film_frames(cuts, 160), codec=codec, options=options)
    index = index_picture(path)
    assert index is not None
    if not keys_count:
        index = replace(index, independent_keys=False)
    frames = list(iter_keyframes(path, index=index))
    check_cover(frames, 0.0, 160 / 24)
    found = [f.time_s for f in frames[1:]]
    # x264 gives the first cut no key frame in the MP4 case: its packet's size tells of it.
    within_s = CUT_WITHOUT_KEY_S if name == "film.mp4" else CONTAINER_TIME_S
    assert found == pytest.approx([c / 24 for c in cuts], abs=within_s)
    assert [f.shot for f in frames] == [0, 1, 2, 3]


def test_images_show_the_scene_at_their_time(tmp_path):
    path = write_film(tmp_path / "film.mp4", film_frames([48, 96], 140))
    for number, frame in enumerate(iter_keyframes(path)):
        wanted = scene(number, frame.time_s).astype(float).mean((0, 1))
        assert np.abs(frame.image.mean((0, 1)) - wanted).max() < KEYFRAME_LUMA


def test_times_are_timestamps_with_offset_ntsc_rate_and_variable_rate(tmp_path):
    base = Fraction(1001, 30_000)
    path = write_film(
        tmp_path / "ntsc.mkv", film_frames([60], 150, first=45), time_base=base, tone_hz=440
    )
    frames = list(iter_keyframes(path))
    check_cover(frames, 45 * float(base), 195 * float(base))
    assert starts(frames)[1] == pytest.approx(105 * float(base), abs=CONTAINER_TIME_S)

    rng = np.random.default_rng(5)
    stamps = np.cumsum(rng.integers(10, 120, 120))
    frames_in = [(int(t), scene(n >= 70, n / 24)) for n, t in enumerate(stamps)]
    path = write_film(tmp_path / "variable.mkv", frames_in, time_base=Fraction(1, 1000))
    found = list(iter_keyframes(path))
    cut = next(f for f in found if f.shot == 1)
    assert found[0].time_s == pytest.approx(stamps[0] / 1000, abs=CONTAINER_TIME_S)
    assert cut.time_s == pytest.approx(stamps[70] / 1000, abs=CONTAINER_TIME_S)


@pytest.mark.parametrize("max_interval_s", [2.0, 5.0])
def test_a_still_shot_with_one_key_frame_is_looked_at_often_enough(tmp_path, max_interval_s):
    path = write_film(
        tmp_path / "long.mp4",
        [(n, scene(0, n / 24)) for n in range(24 * 21)],
        options={"g": "100000", "sc_threshold": "0", "preset": "ultrafast"},
    )
    options = KeyframeOptions(max_interval_s=max_interval_s)
    frames = list(iter_keyframes(path, options))
    check_cover(frames, 0.0, 21.0)
    assert max(f.end_s - f.time_s for f in frames) <= max_interval_s * GAP_SLACK + 0.2
    assert {f.shot for f in frames} == {0}
    assert all(f.motion > 0 for f in frames)


def test_decoding_between_key_frames_ends_as_soon_as_the_gap_allows():
    index = PictureIndex(0, "", 0.0, 30.0, (0.0, 10.42, 15.0, 15.2, 20.0), (), True)
    visits = plan_visits(index, 5.0)
    assert [v.key for v in visits] == [0, 1, 2, 4]
    assert visits[0].wanted_s == pytest.approx((10.42 - 6.0,))
    assert visits[1].wanted_s == visits[2].wanted_s == ()
    assert visits[3].wanted_s == pytest.approx((24.0,))


@pytest.mark.parametrize("seed", range(20))
def test_plans_leave_no_gap_and_no_crowd(seed):
    rng = np.random.default_rng(seed)
    times = np.concatenate([[0.0], np.cumsum(rng.choice([0.04, 0.5, 3.0, 11.0, 40.0], 30))])
    index = PictureIndex(0, "", 0.0, float(times[-1] + 7), tuple(times.tolist()), (), True)
    visits = plan_visits(index, 5.0)
    stops = [*sorted(t for v in visits for t in (times[v.key], *v.wanted_s)), index.end_s]
    gaps = np.diff(stops)
    assert gaps.max() <= 5.0 * GAP_SLACK + STEP_S
    assert np.sum(gaps[:-1] < STEP_S - 1e-9) <= np.sum(np.diff(times) > 5.0)


def test_only_what_is_needed_is_decoded_and_only_when_asked(tmp_path, monkeypatch):
    path = write_film(
        tmp_path / "film.mp4",
        film_frames([48 * n for n in range(1, 12)], 48 * 12),
        options={"g": "48", "sc_threshold": "0"},
    )
    fed: list[int] = []
    feed = sampling._Decoder.feed

    def counting(self, packet):
        if packet is not None:
            fed.append(packet.pts)
        return feed(self, packet)

    monkeypatch.setattr(sampling._Decoder, "feed", counting)
    frames = iter_keyframes(path)
    assert list(islice(frames, 2))[1].time_s == pytest.approx(2.0, abs=CONTAINER_TIME_S)
    assert len(fed) <= 5
    assert len(list(frames)) == 10
    assert len(fed) == 12


def test_flashes_give_their_time_to_what_came_before(tmp_path):
    path = write_film(tmp_path / "flash.mkv", film_frames([48, 55, 100], 160), options={"g": "1"})
    frames = list(iter_keyframes(path))
    check_cover(frames, 0.0, 160 / 24)
    found = np.array(starts(frames))
    for cut in (100 / 24,):
        assert np.abs(found - cut).min() < CONTAINER_TIME_S
    assert len(frames) <= 4


def test_example_cuts_match_a_full_decode():
    frames = list(iter_keyframes(EXAMPLE))
    check_cover(frames, 0.0, 20.0)
    cuts = cuts_by_full_decode(EXAMPLE)
    assert len(cuts) >= 2
    shots = [b.time_s for a, b in pairwise(frames) if b.shot != a.shot]
    for cut in cuts:
        assert min(abs(cut - s) for s in shots) < CONTAINER_TIME_S
    assert len(shots) <= len(cuts) + 1
    assert max(frames[0].image.shape) == 512


def test_small_pictures_are_not_enlarged_and_sides_are_bounded(tmp_path):
    path = write_film(tmp_path / "film.mp4", film_frames([], 30))
    assert next(iter_keyframes(path)).image.shape == (96, 160, 3)
    small = next(iter_keyframes(path, KeyframeOptions(max_side_px=40)))
    assert small.image.shape == (24, 40, 3)


def test_a_single_frame_and_a_very_short_film_give_one_keyframe(tmp_path):
    for length in (1, 5):
        path = write_film(tmp_path / f"{length}.mp4", film_frames([], length))
        frames = list(iter_keyframes(path))
        assert len(frames) == 1
        check_cover(frames, 0.0, length / 24, shortest_s=0.0)


def test_sound_without_picture_and_cover_pictures_yield_nothing(tmp_path):
    sound = write_film(tmp_path / "sound.m4a", [], tone_hz=440)
    assert list(iter_keyframes(sound)) == []
    assert picture_hash(sound) == ""
    cover = av.CodecContext.create("png", "w")
    cover.width, cover.height, cover.pix_fmt = 16, 16, "rgb24"
    cover.time_base = Fraction(1, 1)
    blank = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), "rgb24")
    data = bytes(cover.encode(blank)[0])
    path = write_film(tmp_path / "cover.mp4", [], tone_hz=440, cover=data)
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 1
    assert list(iter_keyframes(path)) == []


def test_hash_names_the_picture_and_not_the_sound(tmp_path):
    frames = film_frames([30], 60)
    hashes = [
        picture_hash(write_film(tmp_path / name, frames, tone_hz=tone))
        for name, tone in (("a.mp4", 440), ("b.mp4", 880), ("c.mp4", None))
    ]
    assert len(set(hashes)) == 1
    assert len(hashes[0]) == 32
    other = write_film(tmp_path / "d.mp4", film_frames([30], 60, seed=9), tone_hz=440)
    later = write_film(tmp_path / "e.mp4", film_frames([30], 60, first=3), tone_hz=440)
    shorter = write_film(tmp_path / "f.mp4", frames[:-1], tone_hz=440)
    assert len({hashes[0], *(picture_hash(p) for p in (other, later, shorter))}) == 4


def test_damaged_stretches_are_left_out(tmp_path):
    path = write_film(tmp_path / "film.mkv", film_frames([48, 96, 144], 200))
    with av.open(str(path)) as container:
        keys = [(p.pos, p.size) for p in container.demux(video=0) if p.is_keyframe and p.size]
    data = bytearray(path.read_bytes())
    position, size = keys[1]
    rng = np.random.default_rng(0)
    data[position + 64 : position + size] = rng.bytes(size - 64)
    path.write_bytes(data)
    frames = list(iter_keyframes(path))
    check_cover(frames, 0.0, 200 / 24)
    assert 96 / 24 in [pytest.approx(t, abs=CONTAINER_TIME_S) for t in starts(frames)]


def test_a_truncated_film_gives_what_is_there(tmp_path):
    path = write_film(tmp_path / "film.mkv", film_frames([48, 96, 144], 200))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    frames = list(iter_keyframes(path))
    assert frames[0].time_s == 0.0
    assert 1.5 < frames[-1].end_s < 8.0


def test_what_cannot_be_read_is_a_media_error(tmp_path):
    garbage = tmp_path / "garbage.mp4"
    garbage.write_bytes(os.urandom(5000))
    for path, word in ((garbage, "media file"), (tmp_path, "folder"), (tmp_path / "no", "exist")):
        with pytest.raises(MediaError, match=word):
            list(iter_keyframes(path))


def test_a_picture_without_one_good_frame_is_a_media_error(tmp_path):
    path = write_film(tmp_path / "film.mkv", film_frames([], 40), codec="mpeg4")
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for position, size in packets:
        # MKV prefixes a block by a header of a few bytes; what follows is the frame.
        start = data.find(b"\x00\x00\x01\xb6", position)
        data[start : start + size - 8] = b"\xff" * (size - 8)
    path.write_bytes(data)
    with pytest.raises(MediaError, match="no frame"):
        list(iter_keyframes(path))


def test_hostile_dimensions_are_refused_before_decoding(tmp_path, monkeypatch):
    path = write_film(tmp_path / "film.mp4", film_frames([], 10))
    monkeypatch.setattr(sampling, "MAX_PIXELS", 96 * 160 - 1)
    with pytest.raises(MediaError, match="160 x 96"):
        list(iter_keyframes(path))
    assert index_picture(path) is not None


@pytest.mark.parametrize(
    "options",
    [
        KeyframeOptions(max_interval_s=float("nan")),
        KeyframeOptions(max_interval_s=0.5),
        KeyframeOptions(min_interval_s=0.0),
        KeyframeOptions(max_side_px=0),
    ],
)
def test_senseless_options_are_refused(options):
    with pytest.raises(UsageError):
        list(iter_keyframes(EXAMPLE, options))


def test_difference_knows_light_and_movement_from_cuts():
    first = signature(scene(1))
    assert difference(first, first) == pytest.approx(0.0, abs=1e-6)
    brighter = (scene(1).astype(float) * 1.08).clip(0, 255).astype(np.uint8)
    assert difference(first, signature(brighter)) < CUT
    assert difference(first, signature(scene(1, 3.0))) < CUT
    for other in range(2, 12):
        assert difference(first, signature(scene(other))) > CUT
    black = np.zeros((96, 160, 3), np.uint8)
    assert difference(signature(black), signature(black + 1)) < CUT
    assert difference(signature(black), first) > CUT
    assert difference(signature(black[:1, :1]), signature(black[:3, :200])) < CUT
