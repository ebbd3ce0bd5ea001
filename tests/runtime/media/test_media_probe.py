"""Probing: what a file says of itself, and one clear sentence for every bad input."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from semmix_rt.media.probe import pick_audio_stream, probe
from support_media import Sound, make_media, noise

from semmix.errors import MediaError


@pytest.fixture(scope="module")
def two_languages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_media(
        tmp_path_factory.mktemp("probe") / "two.mkv",
        Sound("aac", noise(24000), rate=44100, metadata={"language": "deu"}, disposition=0),
        Sound("flac", noise(24000, 6), start=4800, metadata={"language": "eng"}, disposition=1),
        subtitles="subrip",
        chapters=True,
        metadata={"title": "Two"},
        attachment=b"not a font",
    )


def test_streams_and_numbers(two_languages: Path) -> None:
    info = probe(two_languages)
    assert info.container == "matroska,webm"
    assert [s.kind for s in info.streams] == ["video", "audio", "audio", "subtitle", "attachment"]
    assert info.chapters == 3
    assert info.metadata["title"] == "Two"
    (picture,) = info.video_streams
    assert (picture.codec, picture.width, picture.height) == ("mpeg4", 64, 48)
    assert picture.average_rate == Fraction(25)
    first, second = info.audio_streams
    assert (first.codec, first.sample_rate_hz, first.channels, first.bits) == ("aac", 44100, 2, 0)
    assert (second.codec, second.layout, second.bits) == ("flac", "5.1", 16)
    assert second.start_s == pytest.approx(0.1, abs=1e-3)
    assert (first.language, second.language) == ("deu", "eng")


def test_the_default_stream_is_picked_unless_told_otherwise(two_languages: Path) -> None:
    info = probe(two_languages)
    assert pick_audio_stream(info).language == "eng"
    assert pick_audio_stream(info, 0).language == "deu"
    assert pick_audio_stream(info, 1).language == "eng"


@pytest.mark.parametrize("wanted", [2, -1, 99])
def test_a_stream_number_out_of_range(two_languages: Path, wanted: int) -> None:
    with pytest.raises(MediaError, match=r"no audio stream .*: it has audio streams 0 to 1"):
        pick_audio_stream(probe(two_languages), wanted)


@pytest.mark.parametrize(
    ("codec", "suffix", "bits"),
    [
        ("pcm_u8", "wav", 8),
        ("pcm_s16le", "wav", 16),
        ("pcm_s24le", "wav", 24),
        ("pcm_s32le", "wav", 32),
        ("pcm_f32le", "wav", 32),
        ("pcm_f64le", "wav", 64),
        ("pcm_alaw", "wav", 16),
        ("alac", "m4a", 24),
        ("libmp3lame", "mp3", 0),
        ("libopus", "ogg", 0),
    ],
)
def test_sample_bits(tmp_path: Path, codec: str, suffix: str, bits: int) -> None:
    path = make_media(tmp_path / f"a.{suffix}", Sound(codec, noise(4800)), video=None)
    assert pick_audio_stream(probe(path)).bits == bits


def test_no_audio_stream(tmp_path: Path) -> None:
    path = make_media(tmp_path / "mute.mp4")
    with pytest.raises(MediaError, match="has no audio stream"):
        pick_audio_stream(probe(path))


def test_bad_inputs(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is no film\n" * 50)
    (tmp_path / "random.mkv").write_bytes(bytes(range(256)) * 40)
    for name, words in {
        "missing.mp4": "there is no file",
        ".": "is a folder",
        "empty.mp4": "is empty",
        "text.mp4": "is not a media file",
        "random.mkv": "is not a media file",
    }.items():
        with pytest.raises(MediaError, match=words) as caught:
            probe(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 3


def test_a_playlist_cannot_fetch_from_the_network(tmp_path: Path) -> None:
    path = tmp_path / "list.m3u8"
    path.write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(MediaError):
        pick_audio_stream(probe(path))


def test_an_unknown_codec(tmp_path: Path) -> None:
    path = make_media(tmp_path / "odd.wav", Sound("pcm_s16le", noise(4800)), video=None)
    data = bytearray(path.read_bytes())
    at = data.index(b"fmt ") + 8
    data[at : at + 2] = (0x7A7A).to_bytes(2, "little")
    path.write_bytes(data)
    with pytest.raises(MediaError, match="unknown or has no decoder"):
        pick_audio_stream(probe(path))
