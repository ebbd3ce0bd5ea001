"""What is in a media file, read without decoding more than FFmpeg's own probing does."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from semmix.errors import MediaError

_PCM_BITS = {"alaw": 16, "mulaw": 16, "bluray": 24, "dvd": 24, "vidc": 16}
_LOSSLESS = frozenset({"flac", "alac", "wavpack", "tta", "truehd", "mlp", "ape", "tak", "shorten"})


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One stream of a media file.

    Attributes:
        index: position in the file.
        kind: `video`, `audio`, `subtitle`, `data` or `attachment`.
        codec: FFmpeg's codec name; `unknown` where FFmpeg has none.
        time_base: seconds per timestamp unit.
        start_s: first timestamp on the container's timeline, `None` if unknown.
        duration_s: `None` if the container does not say.
        default: the stream carries the default disposition.
        language: ISO 639 code, `None` if not set.
        decodable: FFmpeg has a decoder for it.
        metadata: tags.
    """

    index: int
    kind: str
    codec: str
    time_base: Fraction
    start_s: float | None
    duration_s: float | None
    default: bool
    language: str | None
    decodable: bool = True
    metadata: dict[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class VideoStreamInfo(StreamInfo):
    """A picture stream.

    Attributes:
        width: pixels.
        height: pixels.
        attached_pic: a cover picture, not a moving one.
        average_rate: frames per second, `None` if unknown.
    """

    width: int = 0
    height: int = 0
    attached_pic: bool = False
    average_rate: Fraction | None = None


@dataclass(frozen=True, slots=True)
class AudioStreamInfo(StreamInfo):
    """A sound stream.

    Attributes:
        sample_rate_hz: samples per second.
        channels: number of channels.
        layout: FFmpeg's name, such as `stereo` or `5.1`; `3 channels` where unknown.
        sample_format: FFmpeg's name of what the decoder yields, such as `fltp`.
        bits: bits of one sample in lossless codecs, 0 for lossy ones.
        bit_rate_bps: `None` if unknown.
    """

    sample_rate_hz: int = 0
    channels: int = 0
    layout: str = ""
    sample_format: str = ""
    bits: int = 0
    bit_rate_bps: int | None = None


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """A media file.

    Attributes:
        path: the file.
        container: FFmpeg's format name, such as `mov,mp4,m4a,3gp,3g2,mj2`.
        start_s: earliest timestamp, `None` if unknown.
        duration_s: `None` if unknown.
        streams: all streams, by index.
        chapters: number of chapters.
        metadata: tags of the file.
    """

    path: Path
    container: str
    start_s: float | None
    duration_s: float | None
    streams: tuple[StreamInfo, ...]
    chapters: int
    metadata: dict[str, str] = field(default_factory=dict, compare=False)

    @property
    def audio_streams(self) -> tuple[AudioStreamInfo, ...]:
        """Sound streams, in file order."""
        return tuple(s for s in self.streams if isinstance(s, AudioStreamInfo))

    @property
    def video_streams(self) -> tuple[VideoStreamInfo, ...]:
        """Moving pictures, in file order; cover pictures are left out."""
        return tuple(
            s for s in self.streams if isinstance(s, VideoStreamInfo) and not s.attached_pic
        )

    @property
    def is_lone_sound(self) -> bool:
        """One sound stream and no moving picture: nothing to stay in sync with."""
        return len(self.audio_streams) == 1 and not self.video_streams


def open_input(path: Path) -> InputContainer:
    """Open a local media file; tags keep undecodable bytes as surrogates.

    Raises:
        MediaError: missing, a folder, empty, unreadable, or not a media file.
    """
    try:
        if not path.exists():
            raise MediaError(f"there is no file {path}: check the name")
        if path.is_dir():
            raise MediaError(f"{path} is a folder: name a media file in it")
        if path.is_file() and path.stat().st_size == 0:
            raise MediaError(f"{path} is empty: copy or download it again")
        # An absolute path cannot be taken for a protocol, and a playlist may open local
        # files only.
        return av.open(
            str(path.absolute()),
            metadata_errors="surrogateescape",
            container_options={"protocol_whitelist": "file"},
        )
    except FFmpegError as exc:
        raise MediaError(
            f"{path} is not a media file that can be read ({exc.strerror}): "
            "play it to check it, or copy it again"
        ) from exc
    except OSError as exc:
        raise MediaError(f"{path} cannot be read ({exc.strerror}): check its permissions") from exc


def probe(path: str | Path) -> MediaInfo:
    """Read what is in a media file.

    Raises:
        MediaError: missing, a folder, empty, unreadable, or not a media file.
    """
    path = Path(path)
    with open_input(path) as source:
        return describe(source, path)


def describe(source: InputContainer, path: Path) -> MediaInfo:
    """`MediaInfo` of an open container."""
    return MediaInfo(
        path=path,
        container=source.format.name,
        start_s=None if source.start_time is None else source.start_time / av.time_base,
        duration_s=None if source.duration is None else source.duration / av.time_base,
        streams=tuple(_describe_stream(s) for s in source.streams),
        chapters=len(source.chapters()),
        metadata=_readable(source.metadata),
    )


def pick_audio_stream(info: MediaInfo, wanted: int | None = None) -> AudioStreamInfo:
    """The n-th audio stream from 0; without a wish the default one, else the first.

    Raises:
        MediaError: no audio stream, a number out of range, or a codec without decoder.
    """
    streams = info.audio_streams
    if not streams:
        raise MediaError(f"{info.path} has no audio stream: there is nothing to process")
    if wanted is None:
        chosen = next((s for s in streams if s.default), streams[0])
    elif 0 <= wanted < len(streams):
        chosen = streams[wanted]
    else:
        count = len(streams)
        what = "one audio stream, number 0" if count == 1 else f"audio streams 0 to {count - 1}"
        raise MediaError(f"{info.path} has no audio stream {wanted}: it has {what}")
    if not chosen.decodable:
        raise MediaError(
            f"the audio codec of {info.path} ({chosen.codec}) is unknown or has no decoder here: "
            "convert the sound to AAC or PCM first"
        )
    if chosen.sample_rate_hz <= 0 or chosen.channels <= 0:
        raise MediaError(
            f"the audio stream of {info.path} ({chosen.codec}) states no sample rate or channels: "
            "the file is damaged, copy it again"
        )
    return chosen


def seconds(stamp: int | None, time_base: Fraction) -> float | None:
    """A timestamp in seconds."""
    return None if stamp is None else float(stamp * time_base)


def as_fraction(value: Any) -> Fraction:
    """PyAV's rational of any version as a `Fraction`; 1/1000000 where it has none."""
    if value is None:
        return Fraction(1, av.time_base)
    return Fraction(value.numerator, value.denominator)


def codec_name(stream: Stream) -> str:
    """FFmpeg's name of the codec, not of the decoder that was picked for it."""
    if stream.codec_context is not None:
        return stream.codec_context.codec.canonical_name
    if stream.type in ("data", "attachment"):
        name = getattr(stream, "mimetype", None) or stream.name
        return str(name) if name else "unknown"
    return "unknown"


def _describe_stream(stream: Stream) -> StreamInfo:
    time_base = as_fraction(stream.time_base)
    common: dict[str, Any] = {
        "index": stream.index,
        "kind": stream.type,
        "codec": codec_name(stream),
        "time_base": time_base,
        "start_s": seconds(stream.start_time, time_base),
        "duration_s": seconds(stream.duration, time_base),
        "default": bool(stream.disposition & Disposition.default),
        "language": stream.language,
        "decodable": stream.codec_context is not None,
        "metadata": _readable(stream.metadata),
    }
    context: Any = stream.codec_context
    if isinstance(stream, VideoStream):
        rate = stream.average_rate
        return VideoStreamInfo(
            **common,
            width=context.width if context is not None else 0,
            height=context.height if context is not None else 0,
            attached_pic=bool(stream.disposition & Disposition.attached_pic),
            average_rate=None if not rate else as_fraction(rate),
        )
    if isinstance(stream, AudioStream):
        if context is None:
            return AudioStreamInfo(**common)
        return AudioStreamInfo(
            **common,
            sample_rate_hz=context.sample_rate,
            channels=context.layout.nb_channels,
            # Plain WAV does not say which channels its one or two are; everybody knows.
            layout={"1 channels": "mono", "2 channels": "stereo"}.get(
                context.layout.name, context.layout.name
            ),
            sample_format=context.format.name if context.format else "",
            bits=_sample_bits(stream),
            bit_rate_bps=context.bit_rate,
        )
    return StreamInfo(**common)


def _sample_bits(stream: AudioStream) -> int:
    """Significant bits of a lossless codec's samples, 0 for a lossy codec."""
    context: Any = stream.codec_context
    codec = codec_name(stream)
    if codec.startswith("pcm_"):
        kind = codec.split("_")[1]
        return _PCM_BITS.get(kind) or int("".join(c for c in kind if c.isdigit()))
    if codec not in _LOSSLESS:
        return 0
    bits = context.format.bits if context.format else 0
    extra = context.extradata or b""
    if codec == "flac" and len(extra) >= 34:
        # STREAMINFO: bits per sample - 1 in 5 bits, behind 20 bits of rate and 3 of channels.
        return (((extra[12] & 1) << 4) | (extra[13] >> 4)) + 1
    if codec == "alac" and len(extra) >= 18:
        # Magic cookie behind its 12-byte atom header: frame length, version, bits.
        return extra[17]
    if codec in ("truehd", "mlp", "tta"):
        return min(bits, 24)
    return bits


def _readable(tags: dict[str, str]) -> dict[str, str]:
    """Tags that can be printed and written as JSON."""
    return {
        key: value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        for key, value in tags.items()
    }
