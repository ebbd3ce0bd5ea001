"""Cover pictures: a stream of one packet in MP4, MP3 and FLAC, an attachment in Matroska."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from semmix_rt.media.probe import VideoStreamInfo, codec_name, open_input

_MIME_TYPES = {
    "png": "image/png",
    "mjpeg": "image/jpeg",
    "bmp": "image/bmp",
    "gif": "image/gif",
    "webp": "image/webp",
}
_SUFFIXES = {"image/jpeg": ".jpg"}
_MAX_COVER_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Cover:
    """A cover picture as an attachment."""

    stream: VideoStreamInfo
    name: str
    mime_type: str
    data: bytes


def read_covers(path: Path, streams: list[VideoStreamInfo]) -> list[Cover]:
    """Read the cover pictures among `streams`, those that an attachment can be.

    Raises:
        MediaError: the file cannot be opened.
    """
    wanted = {s.index: s for s in streams if s.attached_pic}
    if not wanted:
        return []
    found: dict[int, Cover] = {}
    with open_input(path) as source:
        # FFmpeg hands covers out before anything else.
        for packet in source.demux([source.streams[i] for i in wanted]):
            index = packet.stream_index
            if not packet.size or index not in wanted or index in found:
                continue
            mime = _MIME_TYPES.get(codec_name(source.streams[index]))
            if mime is not None and packet.size <= _MAX_COVER_BYTES:
                info = wanted[index]
                suffix = _SUFFIXES.get(mime, f".{mime.partition('/')[2]}")
                name = info.metadata.get("filename") or f"cover{suffix}"
                found[index] = Cover(info, name, mime, bytes(packet))
            if len(found) == len(wanted):
                break
    return [found[i] for i in sorted(found)]
