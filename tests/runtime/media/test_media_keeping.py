"""All that is not the chosen sound stays: streams, order, tags, chapters, covers, rotation."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from semmix_rt.media.probe import probe
from semmix_rt.media.summary import TransferSummary
from semmix_rt.media.transfer import Transfer
from support_media import Sound, make_media, noise, packets_of

from semmix.errors import MediaError


def copy(source: Path, target: Path, **options: object) -> TransferSummary:
    with Transfer(source, target, **options) as transfer:  # type: ignore[arg-type]
        for block in transfer.blocks():
            transfer.write(block)
        return transfer.finish()


def everything(path: Path, **more: object) -> Path:
    return make_media(
        path,
        Sound("aac", noise(48_000), 44_100, metadata={"language": "deu", "title": "Deutsch"}),
        Sound("aac", noise(48_000, 6, seed=1), metadata={"language": "eng"}, disposition=1),
        Sound("libmp3lame", noise(48_000, 1, seed=2), start=480, metadata={"language": "fra"}),
        subtitles="subrip" if path.suffix == ".mkv" else "mov_text",
        chapters=True,
        metadata={"title": "Everything", "artist": "Nobody", "comment": "äöü"},
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov"])
@pytest.mark.parametrize("chosen", [None, 0, 2])
def test_all_other_streams_are_the_same_packets(
    tmp_path: Path, suffix: str, chosen: int | None
) -> None:
    more = {"attachment": b"font" * 1000} if suffix == "mkv" else {}
    source = everything(tmp_path / f"in.{suffix}", **more)
    target = tmp_path / f"out.{suffix}"
    summary = copy(source, target, audio_stream=chosen)
    before, after = packets_of(source), packets_of(target)
    assert [p.kind for p in before] == [p.kind for p in after]
    processed = probe(source).audio_streams[1 if chosen is None else chosen].index
    assert summary.audio_index == summary.audio_output_index == processed
    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        if index == processed:
            assert old.digest != new.digest
            continue
        assert (old.digest, len(old.stamps)) == (new.digest, len(new.stamps))
        assert [p for p, _, _ in old.stamps] == [p for p, _, _ in new.stamps]
        assert old.time_base == new.time_base or not old.stamps
    assert {c.index for c in summary.copied} >= {0, 1, 2, 3, 4} - {processed}
    assert summary.dropped == summary.warnings == ()
    old_info, new_info = probe(source), probe(target)
    assert old_info.chapters == new_info.chapters == 3
    for key in ("title", "artist", "comment"):
        assert (
            new_info.metadata[key.upper() if key not in new_info.metadata else key]
            == (old_info.metadata[key.upper() if key not in old_info.metadata else key])
        )
    for old_stream, new_stream in zip(old_info.streams, new_info.streams, strict=True):
        assert old_stream.language == new_stream.language
        assert old_stream.default == new_stream.default
        assert old_stream.codec == new_stream.codec


def test_attachments_and_chapter_titles_are_kept(tmp_path: Path) -> None:
    source = everything(tmp_path / "in.mkv", attachment=b"font" * 1000)
    target = tmp_path / "out.mkv"
    copy(source, target)
    with av.open(str(target)) as written:
        (font,) = [s for s in written.streams if s.type == "attachment"]
        assert font.data == b"font" * 1000
        assert [c["metadata"]["title"] for c in written.chapters()] == [
            "Part 0",
            "Part 1",
            "Part 2",
        ]
        assert [c["start"] for c in written.chapters()] == [0, 500_000_000, 1_000_000_000]


def test_what_a_container_cannot_hold_is_named(tmp_path: Path) -> None:
    source = everything(tmp_path / "in.mkv", attachment=b"font")
    summary = copy(source, tmp_path / "out.mp4")
    assert len(summary.dropped) == 2
    assert summary.dropped[0].startswith("stream 4 (subtitle, subrip) was left out")
    assert summary.dropped[1].startswith("stream 5 (attachment")
    assert all(d in summary.warnings and ".mkv" in d for d in summary.dropped)
    assert [s.kind for s in probe(tmp_path / "out.mp4").streams][:4] == ["video"] + ["audio"] * 3


def test_a_picture_is_never_left_out_of_a_film(tmp_path: Path) -> None:
    source = make_media(tmp_path / "in.mp4", Sound("aac", noise(9600)))
    with pytest.raises(MediaError, match=r"cannot hold the mpeg4 picture .*: write \.mkv or \.mov"):
        Transfer(source, tmp_path / "out.webm")
    summary = copy(source, tmp_path / "out.wav")
    assert summary.copied == ()
    assert "stream 0 (video, mpeg4) was left out" in summary.dropped[0]


def cover_bytes() -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="image2pipe") as muxer:
        stream = muxer.add_stream("png", width=16, height=16)
        stream.pix_fmt = "rgb24"
        image = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
        muxer.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        muxer.mux(stream.encode(None))
    return out.getvalue()


def with_cover(path: Path, codec: str) -> Path:
    """A song with a cover picture, of which FFmpeg makes a stream of one packet."""
    plain = make_media(
        path.with_name(f"plain{path.suffix}"), Sound(codec, noise(48_000)), video=None
    )
    with av.open(str(plain)) as source, av.open(str(path), "w") as out:
        sound = out.add_stream_from_template(source.streams.audio[0])
        cover = out.add_stream("png", width=16, height=16)
        cover.pix_fmt = "rgb24"
        cover.disposition = Disposition.attached_pic
        out.start_encoding()
        picture = av.Packet(cover_bytes())
        picture.stream, picture.pts, picture.dts, picture.is_keyframe = cover, 0, 0, True
        out.mux(picture)
        for packet in source.demux(source.streams.audio[0]):
            if packet.size:
                packet.stream = sound
                out.mux(packet)
    return path


@pytest.mark.parametrize(
    ("codec", "first", "second"),
    [
        ("libmp3lame", "mp3", "mp3"),
        ("flac", "flac", "flac"),
        ("aac", "mp4", "mp4"),
        ("aac", "mp4", "m4a"),
        ("aac", "mp4", "mkv"),
        ("libmp3lame", "mp3", "m4a"),
        ("flac", "flac", "mka"),
    ],
)
def test_covers_are_kept(tmp_path: Path, codec: str, first: str, second: str) -> None:
    source = with_cover(tmp_path / f"in.{first}", codec)
    target = tmp_path / f"out.{second}"
    summary = copy(source, target)
    assert summary.dropped == ()
    (cover,) = [s for s in probe(target).streams if getattr(s, "attached_pic", False)]
    packets = packets_of(target)[cover.index]
    assert packets.digest == next(p for p in packets_of(source) if p.kind == "video").digest
    assert next(c for c in summary.copied if c.kind == "video").output_index == cover.index


def test_the_apple_tag_of_hevc_and_the_rotation_stay(tmp_path: Path) -> None:
    source = make_media(
        tmp_path / "in.mp4",
        Sound("aac", noise(9600)),
        video="libx265",
        video_options={"x265-params": "log-level=none"},
    )
    data = bytearray(source.read_bytes())
    data = data.replace(b"hev1", b"hvc1")
    at = data.index(b"tkhd", data.rindex(b"trak", 0, data.index(b"vide"))) + 4 + 40
    turned = [0, 0x10000, 0, -0x10000, 0, 0, 48 << 16, 0, 0x40000000]
    data[at : at + 36] = b"".join(v.to_bytes(4, "big", signed=True) for v in turned)
    source.write_bytes(data)
    target = tmp_path / "out.mp4"
    copy(source, target)
    seen = []
    for path in (source, target):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            frame = next(container.decode(stream))
            seen.append((stream.codec_context.codec_tag, frame.rotation))
    assert seen[0] == seen[1]
    assert seen[1][0] == "hvc1"
    assert abs(seen[1][1]) == 90


@pytest.mark.parametrize("faststart", [True, False])
def test_the_index_stays_where_it_was(tmp_path: Path, faststart: bool) -> None:
    options = {"movflags": "+faststart"} if faststart else {}
    source = make_media(tmp_path / "in.mp4", Sound("aac", noise(9600)), options=options)
    target = tmp_path / "out.mp4"
    copy(source, target)
    data = target.read_bytes()
    assert (data.index(b"moov") < data.index(b"mdat")) is faststart


@pytest.mark.parametrize("suffix", ["mov", "mp4"])
def test_time_code_is_kept(tmp_path: Path, suffix: str) -> None:
    plain = make_media(tmp_path / "plain.mov", Sound("aac", noise(9600)))
    source = tmp_path / "in.mov"
    with av.open(str(plain)) as reading, av.open(str(source), "w") as out:
        out.metadata["timecode"] = "01:00:00:00"
        targets = [out.add_stream_from_template(s, opaque=True) for s in reading.streams]
        for packet in reading.demux():
            if packet.size:
                packet.stream = targets[packet.stream_index]
                out.mux(packet)
    assert probe(source).streams[-1].metadata["timecode"] == "01:00:00:00"
    summary = copy(source, tmp_path / f"out.{suffix}")
    info = probe(tmp_path / f"out.{suffix}")
    assert info.streams[-1].kind == "data"
    assert info.streams[-1].metadata["timecode"] == "01:00:00:00"
    assert summary.dropped == ()
