"""Which codec and bit rate the sound gets in which container."""

from __future__ import annotations

from pathlib import Path

import pytest
from semmix_rt.media.codec import default_bit_rate, plan_audio
from semmix_rt.media.containers import container_for, starts_with_index
from semmix_rt.media.probe import AudioStreamInfo, pick_audio_stream, probe
from support_media import Sound, make_media, noise

from semmix.errors import MediaError, UsageError


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("codec")
    made = {}
    for name, codec, suffix, rate in [
        ("aac", "aac", "mp4", 44_100),
        ("s16", "pcm_s16le", "wav", 48_000),
        ("s24", "pcm_s24le", "mov", 48_000),
        ("f32", "pcm_f32le", "wav", 48_000),
        ("flac", "flac", "flac", 48_000),
        ("alac", "alac", "m4a", 48_000),
        ("opus", "libopus", "webm", 48_000),
        ("mp3", "libmp3lame", "mp3", 44_100),
        ("ac3", "ac3", "mkv", 48_000),
        ("ipcm", "pcm_s16le", "mp4", 48_000),
    ]:
        made[name] = make_media(
            folder / f"{name}.{suffix}", Sound(codec, noise(4800), rate), video=None
        )
    return made


@pytest.mark.parametrize(
    ("name", "suffix", "codec"),
    [
        ("aac", ".mp4", "aac"),
        ("aac", ".mkv", "aac"),
        ("aac", ".webm", "libopus"),
        ("aac", ".wav", "pcm_s24le"),
        ("aac", ".flac", "flac"),
        ("aac", ".mp3", "libmp3lame"),
        ("aac", ".avi", "libmp3lame"),
        ("aac", ".ts", "aac"),
        ("aac", ".wmv", "wmav2"),
        ("aac", ".opus", "libopus"),
        ("s16", ".wav", "pcm_s16le"),
        ("s16", ".mov", "pcm_s16le"),
        ("s16", ".mkv", "pcm_s16le"),
        ("s16", ".mp4", "aac"),
        ("s16", ".flac", "flac"),
        ("s16", ".aiff", "pcm_s16be"),
        ("s24", ".mov", "pcm_s24le"),
        ("s24", ".mp4", "aac"),
        ("f32", ".wav", "pcm_f32le"),
        ("f32", ".mov", "pcm_f32le"),
        ("flac", ".flac", "flac"),
        ("flac", ".mp4", "flac"),
        ("flac", ".mov", "pcm_s16le"),
        ("flac", ".wav", "pcm_s16le"),
        ("flac", ".m4a", "aac"),
        ("alac", ".m4a", "alac"),
        ("alac", ".mov", "alac"),
        ("opus", ".webm", "libopus"),
        ("opus", ".mkv", "libopus"),
        ("opus", ".mp4", "libopus"),
        ("mp3", ".mp3", "libmp3lame"),
        ("mp3", ".mkv", "libmp3lame"),
        ("mp3", ".m4a", "aac"),
        ("ac3", ".mkv", "ac3"),
        ("ipcm", ".mp4", "pcm_s16le"),
    ],
)
def test_the_codec_that_keeps_most(
    sources: dict[str, Path], name: str, suffix: str, codec: str
) -> None:
    info = probe(sources[name])
    source = pick_audio_stream(info)
    plan = plan_audio(info, source, container_for(Path(f"out{suffix}")))
    assert plan.codec == codec
    if codec != "libopus":
        assert plan.sample_rate_hz == source.sample_rate_hz
    assert (plan.bit_rate_bps is None) == plan.lossless
    lost = source.bits > 0 and not plan.lossless
    assert any("was lossless" in w for w in plan.warnings) == lost


def test_a_codec_asked_for(sources: dict[str, Path]) -> None:
    info = probe(sources["aac"])
    source = pick_audio_stream(info)
    mkv, mp4, mp3 = (container_for(Path(f"o.{s}")) for s in ("mkv", "mp4", "mp3"))
    assert plan_audio(info, source, mkv, "flac").codec == "flac"
    assert plan_audio(info, source, mkv, "mp3", 128_000).codec == "libmp3lame"
    assert plan_audio(info, source, mp4, "aac", 80_000).bit_rate_bps == 80_000
    with pytest.raises(MediaError, match="no audio encoder 'nonsense'"):
        plan_audio(info, source, mkv, "nonsense")
    with pytest.raises(MediaError, match="is no audio encoder"):
        plan_audio(info, source, mkv, "libx264")
    with pytest.raises(MediaError, match=r"\.mp3 file cannot hold pcm_s16le .* use \.mov"):
        plan_audio(info, source, mp3, "pcm_s16le")


def sound(**values: object) -> AudioStreamInfo:
    base: dict[str, object] = {
        "index": 0,
        "kind": "audio",
        "codec": "aac",
        "time_base": 1,
        "start_s": 0.0,
        "duration_s": 1.0,
        "default": True,
        "language": None,
        "sample_rate_hz": 48_000,
        "channels": 2,
        "layout": "stereo",
    }
    return AudioStreamInfo(**{**base, **values})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("codec", "values", "bps"),
    [
        ("aac", {}, 192_000),
        ("aac", {"bit_rate_bps": 128_000}, 192_000),
        ("aac", {"bit_rate_bps": 320_000}, 320_000),
        ("aac", {"bit_rate_bps": 9_000_000}, 576_000),
        ("aac", {"bit_rate_bps": 1_536_000, "bits": 16}, 192_000),
        ("aac", {"channels": 1, "layout": "mono"}, 96_000),
        ("aac", {"channels": 6, "layout": "5.1"}, 480_000),
        ("aac", {"channels": 1, "layout": "mono", "sample_rate_hz": 8000}, 32_000),
        ("libmp3lame", {"bit_rate_bps": 500_000}, 320_000),
        ("libmp3lame", {"bit_rate_bps": 193_000}, 224_000),
        ("libmp3lame", {"sample_rate_hz": 8000}, 64_000),
        ("ac3", {"channels": 6, "layout": "5.1", "bit_rate_bps": 384_000}, 512_000),
        ("ac3", {"bit_rate_bps": 900_000}, 640_000),
        ("libopus", {}, 128_000),
        ("pcm_s16le", {}, None),
        ("flac", {}, None),
    ],
)
def test_default_bit_rates(codec: str, values: dict[str, object], bps: int | None) -> None:
    source = sound(**values)
    assert default_bit_rate(codec, source, source.sample_rate_hz) == bps


@pytest.mark.parametrize(
    ("name", "muxer"),
    [
        ("a.mp4", "mp4"),
        ("a.M4A", "mp4"),
        ("a.mkv", "matroska"),
        ("a.wav", "wav"),
        ("a.ts", "mpegts"),
    ],
)
def test_containers_by_suffix(name: str, muxer: str) -> None:
    assert container_for(Path(name)).name == muxer


@pytest.mark.parametrize("name", ["a", "a.xyz", "a.txt"])
def test_suffixes_that_name_nothing(name: str) -> None:
    with pytest.raises(UsageError):
        container_for(Path(name))


def test_an_index_is_looked_for_in_bounds(tmp_path: Path) -> None:
    path = tmp_path / "odd.mp4"
    for content in (b"", b"abc", b"\0\0\0\1moov", b"\0\0\0\4free" * 9, b"\0\0\0\0mdat"):
        path.write_bytes(content)
        starts_with_index(path)
    path.write_bytes(b"\0\0\0\x08free\0\0\0\x08moov")
    assert starts_with_index(path)
