"""What is in a media file, read without decoding."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One stream of a media file.

    Attributes:
        index: position in the file.
        kind: `video`, `audio`, `subtitle`, `data` or `attachment`.
        codec: FFmpeg's codec name; `unknown` where FFmpeg has no decoder for it.
        time_base: seconds per timestamp unit.
        start_s: first timestamp on the container's timeline, `None` if unknown.
        duration_s: `None` if the container does not say.
        default: the stream carries the default disposition.
        language: ISO 639 code, `None` if not set.
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


def probe(path: str | Path) -> MediaInfo:
    """Read what is in a media file.

    Raises:
        MediaError: missing, a folder, empty, or not a media file.
    """
    raise NotImplementedError


def pick_audio_stream(info: MediaInfo, wanted: int | None = None) -> AudioStreamInfo:
    """The n-th audio stream from 0; without a wish the default one, else the first.

    Raises:
        MediaError: no audio stream, a number out of range, or a codec without decoder.
    """
    raise NotImplementedError
