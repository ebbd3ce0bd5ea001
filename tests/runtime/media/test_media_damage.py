"""Odd and damaged sound: holes, overlaps, broken packets, cut files, one sample, none."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from semmix_rt.media.summary import TransferSummary
from semmix_rt.media.transfer import Transfer
from support_media import Sound, decode_audio, make_media, noise, packets_of

from semmix.errors import MediaError, VerificationError


def copy(source: Path, target: Path, **options: object) -> TransferSummary:
    with Transfer(source, target, **options) as transfer:  # type: ignore[arg-type]
        for block in transfer.blocks():
            transfer.write(block)
        return transfer.finish()


@pytest.mark.parametrize("suffix", ["mkv", "mov"])
def test_holes_become_silence_of_their_length(tmp_path: Path, suffix: str) -> None:
    sound = Sound("pcm_s16le", noise(48_000), 48_000, holes=((12_288, 9600), (30_000, 480)))
    source = make_media(tmp_path / f"in.{suffix}", sound)
    target = tmp_path / "out.wav"
    summary = copy(source, target)
    back, _ = soundfile.read(target, dtype="int16")
    expected = np.rint(np.clip(sound.samples, -1, 1) * 32768).astype(np.int16).T
    if suffix == "mkv":
        expected[12_288 : 12_288 + 9600] = 0
        expected[30_000:30_480] = 0
        assert (summary.gaps_filled, summary.gap_samples) == (2, 10_080)
        assert summary.samples == 48_000
        assert np.array_equal(back, expected)
        assert any("2 gaps" in w for w in summary.warnings)
    else:
        # QuickTime tables store durations: the sample before a hole lasts longer, PCM has none.
        assert summary.samples in (48_000, 48_000 - 10_080)


def test_overlaps_are_trimmed(tmp_path: Path) -> None:
    plain = make_media(tmp_path / "plain.mkv", Sound("pcm_s16le", noise(48_000, 1), 48_000))
    source = tmp_path / "in.mkv"
    with av.open(str(plain)) as reading, av.open(str(source), "w") as out:
        targets = [out.add_stream_from_template(s, opaque=True) for s in reading.streams]
        count = 0
        for packet in reading.demux():
            if not packet.size:
                continue
            if packet.stream_index == 1:
                count += 1
                if count > 5:
                    packet.pts -= 20
                    packet.dts = packet.pts
            packet.stream = targets[packet.stream_index]
            out.mux(packet)
    summary = copy(source, tmp_path / "out.mkv")
    assert summary.overlaps_trimmed >= 1
    assert summary.overlap_samples == pytest.approx(960, abs=96)
    assert summary.samples == 48_000 - summary.overlap_samples
    assert any("overlap" in w for w in summary.warnings)


def test_broken_packets_become_silence(tmp_path: Path) -> None:
    source = make_media(
        tmp_path / "in.mkv", Sound("flac", noise(96_000, level=0.3), 48_000), frames=50
    )
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        packets = [(p.pos, p.size) for p in container.demux(audio=0) if p.size]
    for position, size in packets[5:8]:
        at = data.index(b"\xff\xf8", position)
        data[at : at + size // 2] = bytes(size // 2)
    source.write_bytes(data)
    before = len(packets)
    target = tmp_path / "out.mkv"
    summary = copy(source, target)
    assert summary.decode_errors == 3
    assert summary.samples == 96_000
    lost = decode_audio(target).samples[:, 5 * 4608 : 8 * 4608]
    assert not lost.any()
    assert np.count_nonzero(decode_audio(target).samples) > 0.8 * 96_000 * 2
    assert any(f"3 of {before} audio packets" in w for w in summary.warnings)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "wav", "mp3", "flac", "ts"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_cut_file_gives_what_is_there(tmp_path: Path, suffix: str, share: float) -> None:
    codec = {"wav": "pcm_s16le", "mp3": "libmp3lame", "flac": "flac"}.get(suffix, "aac")
    options = {"movflags": "+faststart"} if suffix == "mp4" else {}
    source = make_media(
        tmp_path / f"in.{suffix}",
        Sound(codec, noise(144_000), 48_000),
        video=None if suffix in ("wav", "mp3", "flac") else "mpeg4",
        frames=75,
        options=options,
    )
    data = source.read_bytes()
    source.write_bytes(data[: int(len(data) * share)])
    target = tmp_path / f"out.{suffix}"
    summary = copy(source, target)
    assert 0.3 * share * 144_000 < summary.samples < 144_000
    if suffix == "mp4" and share == 0.5:
        assert any("truncated" in w for w in summary.warnings)
    assert decode_audio(target).samples.shape[1] >= summary.samples


def test_nothing_decodable_is_an_error(tmp_path: Path) -> None:
    source = make_media(tmp_path / "in.mkv", Sound("flac", noise(48_000), 48_000))
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        packets = [(p.pos, p.size) for p in container.demux(audio=0) if p.size]
    for position, size in packets:
        at = data.index(b"\xff\xf8", position)
        data[at : at + size] = bytes(size)
    source.write_bytes(data)
    target = tmp_path / "out.mkv"
    with pytest.raises(MediaError, match="nothing of the sound") as caught:
        copy(source, target)
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["in.mkv"]


def test_a_cut_index_is_an_error(tmp_path: Path) -> None:
    source = make_media(tmp_path / "in.mp4", Sound("aac", noise(48_000)))
    data = source.read_bytes()
    source.write_bytes(data[: len(data) - 300])
    with pytest.raises(MediaError, match="is not a media file that can be read"):
        Transfer(source, tmp_path / "out.mp4")


def test_absurd_timestamps_are_refused(tmp_path: Path) -> None:
    sound = Sound("aac", noise(48_000), holes=((8192, 0),))
    plain = make_media(tmp_path / "plain.mkv", sound)
    source = tmp_path / "in.mkv"
    with av.open(str(plain)) as reading, av.open(str(source), "w") as out:
        target = out.add_stream_from_template(reading.streams.audio[0])
        for count, packet in enumerate(reading.demux(reading.streams.audio[0])):
            if packet.size:
                if count > 10:
                    packet.pts += 10_000_000
                    packet.dts = packet.pts
                packet.stream = target
                out.mux(packet)
    with pytest.raises(MediaError, match=r"jump by \+10000\.\d s"):
        copy(source, tmp_path / "out.mkv")
    assert not (tmp_path / "out.mkv").exists()


@pytest.mark.parametrize(
    ("codec", "suffix"), [("aac", "mp4"), ("aac", "mkv"), ("pcm_s16le", "wav"), ("flac", "flac")]
)
@pytest.mark.parametrize("samples", [1, 2, 1023, 1025])
def test_tiny_sounds(tmp_path: Path, codec: str, suffix: str, samples: int) -> None:
    video = "mpeg4" if suffix in ("mp4", "mkv") else None
    options = {"movie_timescale": "48000"} if suffix == "mp4" else {}
    source = tmp_path / f"in.{suffix}"
    make_media(source, Sound(codec, noise(samples)), video=video, options=options)
    target = tmp_path / f"out.{suffix}"
    summary = copy(source, target)
    before = decode_audio(source).samples.shape[1]
    assert summary.samples == before
    if codec != "aac":
        assert before == samples
        assert np.array_equal(decode_audio(source).raw, decode_audio(target).raw)
    if video:
        assert packets_of(source)[0].digest == packets_of(target)[0].digest


@pytest.mark.parametrize(
    ("codec", "suffix"), [("aac", "mkv"), ("flac", "mkv"), ("pcm_s16le", "wav")]
)
@pytest.mark.parametrize("second", ["wav", "mkv", "mp4"])
def test_no_sound_at_all(tmp_path: Path, codec: str, suffix: str, second: str) -> None:
    video = None if suffix == "wav" else "mpeg4"
    source = make_media(tmp_path / f"in.{suffix}", Sound(codec, noise(0)), video=video)
    target = tmp_path / f"out.{second}"
    if suffix == "wav" and second == "mkv":
        # FFmpeg does not open a Matroska file without a single packet.
        with pytest.raises(VerificationError, match="cannot be read back"):
            copy(source, target)
        assert not target.exists()
        return
    summary = copy(source, target)
    assert summary.samples == 0
    assert target.exists()
    if video and second != "wav":
        assert packets_of(source)[0].digest == packets_of(target)[0].digest


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_picture_without_packets(tmp_path: Path, suffix: str) -> None:
    source = make_media(tmp_path / "in.mkv", Sound("aac", noise(9600)), frames=0)
    summary = copy(source, tmp_path / f"out.{suffix}")
    assert summary.samples == decode_audio(source).samples.shape[1]
    assert [c.packets for c in summary.copied] == [0]
    assert decode_audio(tmp_path / f"out.{suffix}").samples.any()


def test_a_sound_within_the_encoder_delay(tmp_path: Path) -> None:
    # The edit list of this file, in milliseconds, leaves nothing of its single sample.
    source = make_media(tmp_path / "in.mp4", Sound("aac", noise(1)))
    summary = copy(source, tmp_path / "out.mp4")
    assert summary.samples == decode_audio(source).samples.shape[1] == 0
    assert packets_of(source)[0].digest == packets_of(tmp_path / "out.mp4")[0].digest


@pytest.mark.parametrize(
    ("rate", "channels", "layout"),
    [
        (8_000, 1, "mono"),
        (11_025, 2, "stereo"),
        (96_000, 2, "stereo"),
        (48_000, 6, "5.1"),
        (48_000, 8, "7.1"),
        (32_000, 3, "3.0"),
    ],
)
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "wav"])
def test_rates_and_layouts_stay(
    tmp_path: Path, suffix: str, rate: int, channels: int, layout: str
) -> None:
    codec = "pcm_s16le" if suffix == "wav" else "aac"
    sound = Sound(codec, noise(rate // 2, channels), rate, layout=layout)
    source = make_media(tmp_path / f"in.{suffix}", sound, video=None)
    target = tmp_path / f"out.{suffix}"
    summary = copy(source, target)
    before, after = decode_audio(source), decode_audio(target)
    assert (after.rate, after.layout) == (rate, before.layout) == (before.rate, before.layout)
    assert suffix == "wav" or after.layout == layout
    assert (summary.channels, summary.layout, summary.sample_rate_hz) == (channels, layout, rate)
    # Every channel stays where it was: it correlates with itself best.
    count = min(before.samples.shape[1], after.samples.shape[1])
    matrix = before.samples[:, :count] @ after.samples[:, :count].T
    full = [
        c for c in range(channels) if not (layout in ("5.1", "7.1") and c == 3)
    ]  # LFE: < 200 Hz
    assert all(int(np.argmax(np.abs(matrix[c]))) == c for c in full)


def test_an_unknown_layout_stays_unknown(tmp_path: Path) -> None:
    source, target = tmp_path / "in.wav", tmp_path / "out.wav"
    values = np.random.default_rng(0).integers(-9999, 9999, (5000, 3)).astype(np.int16)
    soundfile.write(source, values, 48_000, "PCM_16")
    copy(source, target)
    back, _ = soundfile.read(target, dtype="int16")
    assert np.array_equal(back, values)


def test_digital_silence(tmp_path: Path) -> None:
    source = make_media(tmp_path / "in.mp4", Sound("aac", np.zeros((2, 48_000), np.float32)))
    summary = copy(source, tmp_path / "out.mp4")
    assert summary.peak == 0.0
    assert not decode_audio(tmp_path / "out.mp4").samples.any()
