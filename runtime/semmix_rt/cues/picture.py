"""The picture of a media file: which stream it is, what it hashes to, where its key frames lie.

One demux pass, nothing decoded. The hash names the picture alone, so that a file whose sound
was replaced finds the cues that were read from the same picture before.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from semmix.errors import MediaError

if TYPE_CHECKING:
    from av import Packet
    from av.container import InputContainer
    from av.video.stream import VideoStream

    VideoPacket = Packet[VideoStream]

_LOG = logging.getLogger(__name__)

MAX_PIXELS = 8192 * 8192
"""Largest frame that is decoded. Bounds what a hostile header can allocate."""

HASH_BYTES = 16

# Codecs whose key frame flag is true by construction. Old containers flag every packet of
# codecs such as Cinepak, whose frames still build on each other.
_TRUSTED_KEYS = frozenset(
    [
        "h264",
        "hevc",
        "vvc",
        "av1",
        "vp8",
        "vp9",
        "mpeg1video",
        "mpeg2video",
        "mpeg4",
        "msmpeg4v3",
        "h263",
        "vc1",
        "wmv3",
        "theora",
        "ffv1",
        "png",
    ]
)


@dataclass(frozen=True, slots=True)
class PictureIndex:
    """What one demux pass learns about a picture stream.

    Attributes:
        stream_index: position of the stream in the file.
        hash: blake2b over codec parameters and packets, hex digits.
        start_s: first presentation time on the container's timeline.
        end_s: end of the last frame.
        key_times_s: presentation time of each key packet, in file order; None where the
            packet carries no timestamp.
        jump_times_s: presentation time of packets between key packets that are suddenly as
            large as one: cuts that the encoder gave no key frame.
        independent_keys: key packets can be decoded on their own.
    """

    stream_index: int
    hash: str
    start_s: float
    end_s: float
    key_times_s: tuple[float | None, ...]
    jump_times_s: tuple[float, ...]
    independent_keys: bool


@contextmanager
def open_container(path: str | Path) -> Iterator[InputContainer]:
    """Open a media file with PyAV, local files only.

    Raises:
        MediaError: missing, a folder, or not a media file.
    """
    import av

    path = Path(path)
    if path.is_dir():
        raise MediaError(f"{path} is a folder: give a media file")
    if not path.exists():
        raise MediaError(f"{path} does not exist: check the path")
    try:
        # The protocol is fixed so that neither a name with a colon nor a playlist inside the
        # file can reach the network.
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"})
    except (av.error.FFmpegError, OSError) as exc:
        raise MediaError(
            f"{path} cannot be opened as a media file ({_reason(exc)}): "
            "give a video that FFmpeg can read"
        ) from exc
    with container:
        yield container


def picture_stream(container: InputContainer) -> VideoStream | None:
    """The moving picture: the default video stream, else the first; never a cover picture."""
    from av.stream import Disposition

    stills = Disposition.attached_pic | Disposition.timed_thumbnails
    moving = [s for s in container.streams.video if not s.disposition & stills]
    default = [s for s in moving if s.disposition & Disposition.default]
    return next(iter(default or moving), None)


def index_picture(path: str | Path) -> PictureIndex | None:
    """Hash the picture of a media file and list its key frames, in one demux pass.

    The hash covers codec name, size, extradata, time base and each packet's
    timestamp, size and bytes.

    Returns:
        the index, or None where the file has no moving picture.

    Raises:
        MediaError: the file cannot be opened, or its picture stream holds no packet.
    """
    with open_container(path) as container:
        stream = picture_stream(container)
        if stream is None:
            return None
        base, start_s, end_s = stream.time_base, float("inf"), float("-inf")
        keys: list[float | None] = []
        jumps = _JumpFinder()
        packets = 0
        digest = blake2b(digest_size=HASH_BYTES)
        digest.update(_parameters(stream))
        frame_s = 0.0 if not stream.average_rate else float(1 / stream.average_rate)
        for packet in packets_of(container, stream):
            packets += 1
            digest.update(f"{packet.pts},{packet.size};".encode())
            digest.update(memoryview(packet))
            time_s = packet_time_s(packet, base)
            if time_s is not None and not packet.is_discard:
                start_s = min(start_s, time_s)
                lasts_s = float((packet.duration or 0) * (base or 0))
                end_s = max(end_s, time_s + (lasts_s or frame_s))
            if packet.is_keyframe:
                keys.append(time_s)
            jumps.see(packet, time_s)
        if packets == 0 or start_s >= end_s:
            raise MediaError(
                f"the picture stream of {path} holds no timed frame: the file is damaged or cut "
                "short, re-create it"
            )
        return PictureIndex(
            stream_index=stream.index,
            hash=digest.hexdigest(),
            start_s=start_s,
            end_s=end_s,
            key_times_s=tuple(keys),
            jump_times_s=tuple(jumps.times_s),
            independent_keys=_keys_are_independent(stream, packets, len(keys)),
        )


def picture_hash(path: str | Path) -> str:
    """Content hash of the picture, the same whatever the sound; empty without a picture.

    Raises:
        MediaError: the file cannot be opened, or its picture stream holds no packet.
    """
    index = index_picture(path)
    return "" if index is None else index.hash


def packets_of(container: InputContainer, stream: VideoStream) -> Iterator[VideoPacket]:
    """Packets of one stream in file order; what lies behind damage is left out with a warning."""
    import av

    try:
        for packet in container.demux(stream):
            if packet.size:
                yield packet
    except av.error.FFmpegError as exc:
        _LOG.warning("%s: the picture ends early (%s)", container.name, _reason(exc))


def packet_time_s(packet: VideoPacket, time_base: Fraction | None) -> float | None:
    """Presentation time of a packet in seconds; AVI knows decoding times only."""
    stamp = packet.pts if packet.pts is not None else packet.dts
    return None if stamp is None or time_base is None else float(stamp * time_base)


class _JumpFinder:
    """Looks for single large packets between key packets."""

    _KEY_SHARE = 0.5
    _TIMES_USUAL = 5.0
    _SEEN_LEAST = 3

    def __init__(self) -> None:
        self.times_s: list[float] = []
        self._key_bytes = 0
        self._between_bytes = 0
        self._between = 0

    def see(self, packet: VideoPacket, time_s: float | None) -> None:
        """Take in the next packet in file order."""
        if packet.is_keyframe:
            self._key_bytes, self._between_bytes, self._between = packet.size, 0, 0
            return
        usual = self._between_bytes / max(self._between, 1)
        if (
            time_s is not None
            and self._between >= self._SEEN_LEAST
            and packet.size > self._KEY_SHARE * self._key_bytes
            and packet.size > self._TIMES_USUAL * usual
        ):
            self.times_s.append(time_s)
            self._key_bytes, self._between_bytes, self._between = packet.size, 0, 0
            return
        self._between_bytes += packet.size
        self._between += 1


def _parameters(stream: VideoStream) -> bytes:
    """Codec parameters as bytes, the same in every process."""
    codec = stream.codec_context
    fields = (codec.codec.canonical_name, codec.width, codec.height, stream.time_base)
    return repr(fields).encode() + bytes(codec.extradata or b"")


def _keys_are_independent(stream: VideoStream, packets: int, keys: int) -> bool:
    """Whether a key packet alone gives its picture."""
    codec = stream.codec_context.codec
    if keys == 0:
        return False
    return (
        keys < packets or codec.intra_only or codec.canonical_name in _TRUSTED_KEYS or packets == 1
    )


def _reason(exc: Exception) -> str:
    """FFmpeg's own words, without the file name that PyAV adds."""
    return getattr(exc, "strerror", None) or str(exc)
