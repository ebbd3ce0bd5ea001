"""What output containers can and cannot say, as far as it matters for sync.

Measured with FFmpeg 8 (the muxers of PyAV's wheel), see the tests of this room.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import av
from av.container import OutputContainer

from semmix.errors import UsageError

MP4_FAMILY = frozenset({"mp4", "mov", "ipod", "3gp", "3g2", "psp", "f4v"})
MATROSKA_FAMILY = frozenset({"matroska", "webm"})
_AUDIO_ONLY = frozenset(
    [
        "wav",
        "w64",
        "flac",
        "mp3",
        "adts",
        "aiff",
        "caf",
        "au",
        "oga",
        "opus",
        "spx",
        "tta",
        "wv",
        "ac3",
        "eac3",
        "mp2",
        "latm",
        "alaw",
        "mulaw",
    ]
)
_NO_START = _AUDIO_ONLY | {"avi", "ogg"}
_NO_PRIMING = frozenset({"avi", "adts", "ac3", "eac3", "mp2", "latm", "asf", "flv"})
_BRANDS = {".m4a": "M4A ", ".m4b": "M4B ", ".m4v": "M4V "}
_METADATA_OF_THE_FILE = frozenset(
    {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}
)


@dataclass(frozen=True, slots=True)
class Container:
    """An output container.

    Attributes:
        name: FFmpeg's muxer name.
        suffix: of the file to be written, with its dot.
    """

    name: str
    suffix: str

    @property
    def is_mp4(self) -> bool:
        """MP4, MOV and their relatives: edit lists, one time scale for the movie."""
        return self.name in MP4_FAMILY

    @property
    def is_matroska(self) -> bool:
        """Matroska and WebM: timestamps in milliseconds, codec delay as a field."""
        return self.name in MATROSKA_FAMILY

    @property
    def audio_only(self) -> bool:
        """Nobody expects a picture in it."""
        return self.name in _AUDIO_ONLY

    @property
    def has_start(self) -> bool:
        """Sound may start later than the picture; where not, silence has to lead in."""
        return self.name not in _NO_START

    @property
    def hides_priming(self) -> bool:
        """Encoder delay is either marked or visible in timestamps, so sync survives it."""
        return self.name not in _NO_PRIMING


def container_for(target: Path) -> Container:
    """The container a file name asks for.

    Raises:
        UsageError: the suffix names no container.
    """
    suffix = target.suffix.lower()
    if not suffix:
        raise UsageError(
            f"the output {target} has no suffix to name its container: add .mp4, .mov, .mkv or .wav"
        )
    if suffix in _BRANDS:
        # FFmpeg's own muxer for these names differs by the brand, and refuses covers.
        return Container("mp4", suffix)
    try:
        # Nothing is created on disk before a header is written.
        out = av.open(f"container{suffix}", "w")
    except ValueError as exc:
        raise UsageError(
            f"the suffix {suffix} of {target} names no container that can be written: "
            "use .mp4, .mov, .mkv or .wav"
        ) from exc
    return Container(out.format.name, suffix)


def open_trial(container: Container) -> OutputContainer:
    """A muxer of this kind that writes into memory, to ask it what it can hold."""
    return av.open(io.BytesIO(), "w", format=container.name)


def muxer_options(
    container: Container,
    *,
    sample_rate_hz: int,
    video_timescale: int | None,
    metadata: dict[str, str],
    faststart: bool,
) -> dict[str, str]:
    """Options that keep time exact and tags complete."""
    options: dict[str, str] = {}
    if container.is_mp4:
        # Edit lists count in the movie's time scale; the default (1000) would cut the sound's
        # start and end to whole milliseconds.
        options["movie_timescale"] = str(sample_rate_hz)
        if video_timescale is not None:
            options["video_track_timescale"] = str(video_timescale)
        if container.suffix in _BRANDS:
            options["brand"] = _BRANDS[container.suffix]
        flags = []
        if faststart:
            flags.append("+faststart")
        if any(key.startswith("com.") for key in metadata):
            flags.append("+use_metadata_tags")
        if flags:
            options["movflags"] = "".join(flags)
    elif container.name == "wav":
        options["rf64"] = "auto"
        if {"originator", "time_reference", "coding_history", "umid"} & set(metadata):
            options["write_bext"] = "1"
    return options


def file_metadata(metadata: dict[str, str]) -> dict[str, str]:
    """Tags worth copying: all but those that describe the old file's own bytes."""
    return {k: v for k, v in metadata.items() if k.lower() not in _METADATA_OF_THE_FILE}


def starts_with_index(path: Path) -> bool:
    """Whether an MP4 or MOV file carries its index (`moov`) before its data (`mdat`)."""
    with path.open("rb") as file:
        for _ in range(64):
            header = file.read(16)
            if len(header) < 8:
                return False
            size, kind = int.from_bytes(header[:4], "big"), header[4:8]
            if kind == b"moov":
                return True
            if kind == b"mdat" or size == 0:
                return False
            if size == 1 and len(header) == 16:
                size = int.from_bytes(header[8:16], "big")
            if size < 8:
                return False
            file.seek(size - len(header), 1)
    return False
