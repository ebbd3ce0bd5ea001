"""The picture's packets are the same and the sound stays where it was, to the sample.

The reference is the source decoded by PyAV alone; the offset is found by cross-correlating
white noise.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import resample_poly
from semmix_rt.media.probe import probe
from semmix_rt.media.summary import TransferSummary
from semmix_rt.media.transfer import Transfer
from support_media import Decoded, Sound, decode_audio, lag_samples, make_media, noise, packets_of
from tolerances import MATROSKA_TICK_S, MPEGTS_TICK_S

REPOSITORY = Path(__file__).parents[3]
SAMPLES = 30_003


def copy(source: Path, target: Path, **options: object) -> TransferSummary:
    with Transfer(source, target, **options) as transfer:  # type: ignore[arg-type]
        for block in transfer.blocks():
            transfer.write(block)
        return transfer.finish()


def offset_s(source: Path, target: Path) -> float:
    """How late the target's sound is against its picture, compared with the source."""
    before, after = decode_audio(source), decode_audio(target)
    assert before.rate == after.rate
    shift = _picture_start(target) - _picture_start(source)
    lag = Fraction(lag_samples(before.samples, after.samples), before.rate)
    return float(lag + after.start_s - shift - before.start_s)


def _picture_start(path: Path) -> Fraction:
    for packets in packets_of(path):
        if packets.kind == "video":
            return min(pts for pts, _, _ in packets.stamps if pts is not None)
    return Fraction(0)


def assert_same_picture(source: Path, target: Path) -> None:
    before = next(p for p in packets_of(source) if p.kind == "video")
    after = next(p for p in packets_of(target) if p.kind == "video")
    assert before.digest == after.digest
    shift = _picture_start(target) - _picture_start(source)
    assert [pts for pts, _, _ in before.stamps] == [pts - shift for pts, _, _ in after.stamps]


@pytest.mark.parametrize(
    ("rate", "start"), [(48_000, 0), (44_100, 480), (44_100, 22_944), (48_000, 22_944)]
)
@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        ("mp4", "aac"),
        ("mov", "aac"),
        ("mkv", "aac"),
        ("m4v", "aac"),
        ("mp4", "ac3"),
        ("mp4", "libmp3lame"),
        ("mp4", "alac"),
        ("mp4", "flac"),
        ("mkv", "ac3"),
        ("mkv", "libmp3lame"),
        ("mkv", "flac"),
        ("mkv", "pcm_s16le"),
        ("mov", "pcm_s24le"),
        ("avi", "pcm_s16le"),
        ("avi", "libmp3lame"),
    ],
)
def test_sound_stays_in_place(
    tmp_path: Path, suffix: str, codec: str, rate: int, start: int
) -> None:
    source = make_media(tmp_path / f"in.{suffix}", Sound(codec, noise(SAMPLES), rate, start))
    target = tmp_path / f"out.{suffix}"
    copy(source, target)
    assert offset_s(source, target) == 0.0
    assert_same_picture(source, target)
    # The first pass must not move the start, so a second one starts from the same place.
    again = tmp_path / f"again.{suffix}"
    copy(target, again)
    assert offset_s(source, again) == 0.0
    assert decode_audio(again).start_s - _picture_start(again) == pytest.approx(
        decode_audio(source).start_s - _picture_start(source), abs=1e-9
    )


@pytest.mark.parametrize("start", [0, 480, 960, 22_944])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_opus_stays_in_place(tmp_path: Path, suffix: str, start: int) -> None:
    source = make_media(tmp_path / f"in.{suffix}", Sound("libopus", noise(SAMPLES), 48_000, start))
    target = tmp_path / f"out.{suffix}"
    copy(source, target)
    assert offset_s(source, target) == 0.0
    assert_same_picture(source, target)


@pytest.mark.parametrize("start", [480, 22_944])
@pytest.mark.parametrize(
    ("first", "second"),
    [("mp4", "mkv"), ("mkv", "mp4"), ("mov", "mp4"), ("mp4", "mov"), ("avi", "mkv")],
)
def test_sound_stays_in_place_across_containers(
    tmp_path: Path, first: str, second: str, start: int
) -> None:
    codec = "libmp3lame" if first == "avi" else "aac"
    source = make_media(tmp_path / f"in.{first}", Sound(codec, noise(SAMPLES), 44_100, start))
    target = tmp_path / f"out.{second}"
    copy(source, target)
    # Matroska rounds to milliseconds, MP4 to samples.
    tolerance_s = MATROSKA_TICK_S if second == "mkv" else 1 / 44_100
    assert abs(offset_s(source, target)) < tolerance_s


@pytest.mark.parametrize("second", ["ts", "mp4", "mkv"])
def test_broadcast_streams_stay_in_step(tmp_path: Path, second: str) -> None:
    source = make_media(
        tmp_path / "in.ts",
        Sound("aac", noise(SAMPLES), 48_000, 9600),
        video="libx264",
        video_options={"bf": "2", "x264-params": "log-level=none"},
        fps=25,
    )
    target = tmp_path / f"out.{second}"
    copy(source, target)
    tolerance_s = MATROSKA_TICK_S if second == "mkv" else MPEGTS_TICK_S + 1 / 48_000
    assert abs(offset_s(source, target)) < tolerance_s
    if second != "ts":
        # The broadcast's own clock starts at 1.4 s; nobody wants an empty start of that length.
        assert _picture_start(target) < Fraction(1, 4)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_b_frames_and_a_variable_rate_keep_every_timestamp(tmp_path: Path, suffix: str) -> None:
    source = make_media(
        tmp_path / f"in.{suffix}",
        Sound("aac", noise(SAMPLES), 48_000, 1000),
        video="libx264",
        video_options={"bf": "3", "x264-params": "log-level=none"},
        vfr=True,
        video_start=3,
        fps=30,
    )
    for second in ("mp4", "mov", "mkv"):
        target = tmp_path / f"out.{second}"
        copy(source, target)
        before, after = packets_of(source)[0], packets_of(target)[0]
        assert before.digest == after.digest
        exact = suffix == second or {suffix, second} == {"mp4", "mov"}
        shift = 0 if exact else after.stamps[0][0] - before.stamps[0][0]
        assert [pts - shift for pts, _, _ in after.stamps] == pytest.approx(
            [pts for pts, _, _ in before.stamps], abs=0 if exact else MATROSKA_TICK_S
        )
        if exact:
            assert before.time_base == after.time_base
            assert [d for _, d, _ in before.stamps] == [d for _, d, _ in after.stamps]


def test_a_container_without_start_times_gets_silence_first(tmp_path: Path) -> None:
    source = make_media(tmp_path / "in.mp4", Sound("aac", noise(SAMPLES), 48_000, 22_944))
    target = tmp_path / "out.wav"
    summary = copy(source, target)
    before, after = decode_audio(source), decode_audio(target)
    lead = after.samples.shape[1] - summary.samples
    assert lead == round(before.start_s * 48_000)
    assert summary.lead_s == pytest.approx(lead / 48_000)
    assert not after.samples[:, :lead].any()
    assert lag_samples(before.samples, after.samples[:, lead:]) == 0
    assert any("was left out" in w for w in summary.warnings)


def test_opus_resamples_what_it_cannot_store(tmp_path: Path) -> None:
    source = make_media(tmp_path / "in.flac", Sound("flac", noise(44_100), 44_100), video=None)
    target = tmp_path / "out.opus"
    summary = copy(source, target)
    after = decode_audio(target)
    assert (after.rate, summary.sample_rate_hz, summary.encoded_sample_rate_hz) == (
        48_000,
        44_100,
        48_000,
    )
    assert after.samples.shape[1] == 48_000
    assert any("resampled" in w for w in summary.warnings)
    # The reference: the same noise, resampled by polyphase filtering.
    expected = resample_poly(decode_audio(source).samples, 160, 147, axis=1)
    assert lag_samples(expected, after.samples) == 0


@pytest.mark.parametrize("start", [0, 22_944])
def test_edit_lists_are_exact_to_the_sample(tmp_path: Path, start: int) -> None:
    source = make_media(
        tmp_path / "in.mov",
        Sound("pcm_s16le", noise(SAMPLES), 44_100, start),
        options={"movie_timescale": "44100"},
    )
    target = tmp_path / "out.mp4"
    copy(source, target, codec="aac")
    edits, movie_ticks = _edit_list(target)
    assert movie_ticks == 44_100
    assert edits[-1] == (SAMPLES, 1024)
    assert edits[:-1] == ([(start, -1)] if start else [])


def _edit_list(path: Path) -> tuple[list[tuple[int, int]], int]:
    """Entries (duration, media time) of the sound track's version 0 list, movie time scale."""
    data = path.read_bytes()
    mvhd = data.index(b"mvhd") + 4
    assert data[mvhd] == 0
    track = data.rindex(b"trak", 0, data.index(b"soun"))
    at = data.index(b"elst", track) + 4
    count = int.from_bytes(data[at + 4 : at + 8], "big")
    entries = []
    for i in range(count):
        entry = data[at + 8 + 12 * i :][:8]
        entries.append(
            (int.from_bytes(entry[:4], "big"), int.from_bytes(entry[4:], "big", signed=True))
        )
    return entries, int.from_bytes(data[mvhd + 12 : mvhd + 16], "big")


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs the ffprobe program")
def test_another_ffmpeg_sees_the_same_start(tmp_path: Path) -> None:
    source = make_media(tmp_path / "in.mov", Sound("pcm_s16le", noise(48_000), 48_000, 22_944))
    target = tmp_path / "out.mp4"
    copy(source, target, codec="aac")
    command = "ffprobe -v error -select_streams a -of csv=p=0 -show_entries stream=start_time"
    shown = subprocess.run(
        [*command.split(), str(target)], capture_output=True, text=True, check=True
    )
    assert float(shown.stdout) == pytest.approx(22_944 / 48_000, abs=1e-6)


def clips() -> list[Path]:
    found = [REPOSITORY / "examples" / "bbb_meadow.mp4"]
    folder = os.environ.get("SEMMIX_TEST_CLIPS")
    return found + (sorted(p for p in Path(folder).iterdir() if p.is_file()) if folder else [])


@pytest.mark.parametrize("clip", clips(), ids=lambda p: p.name)
def test_real_clips(tmp_path: Path, clip: Path) -> None:
    # PyAV does not write these codecs of the nineties into Matroska.
    old = {"cinepak", "msvideo1"} & {s.codec for s in probe(clip).video_streams}
    target = tmp_path / f"out{'.avi' if old else clip.suffix}"
    summary = copy(clip, target)
    before, after = decode_audio(clip), decode_audio(target)
    assert summary.samples == before.samples.shape[1]
    picture = next(c for c in summary.copied if c.kind == "video")
    written = packets_of(target)[picture.output_index]
    assert written.digest == packets_of(clip)[picture.index].digest
    if before.samples.any():
        lag = lag_samples(before.samples, after.samples)
        assert lag + float((after.start_s - before.start_s) * after.rate) == pytest.approx(
            0, abs=0.5
        )
    else:
        assert not after.samples.any()


def test_every_block_size_gives_the_same_file(tmp_path: Path) -> None:
    source = make_media(tmp_path / "in.mp4", Sound("aac", noise(SAMPLES), 48_000))
    first: Decoded | None = None
    for block_s, step in ((0.5, 10**9), (0.01, 10**9), (0.3, 1000), (5.0, 1023)):
        target = tmp_path / "out.mp4"
        with Transfer(source, target, overwrite=True, block_s=block_s) as transfer:
            for block in transfer.blocks():
                for at in range(0, block.shape[1], step):
                    transfer.write(block[:, at : at + step])
            transfer.finish()
        got = decode_audio(target)
        first = first or got
        assert np.array_equal(first.raw, got.raw)
