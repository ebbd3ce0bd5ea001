"""Which streams go into the output, in which order, and their templates."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.stream import Disposition, Stream

from semmix.errors import MediaError
from semmix_rt.media.codec import AudioPlan, add_audio, plan_audio
from semmix_rt.media.containers import (
    Container,
    container_for,
    file_metadata,
    muxer_options,
    open_trial,
    starts_with_index,
)
from semmix_rt.media.covers import Cover, read_covers
from semmix_rt.media.probe import MediaInfo, VideoStreamInfo, as_fraction, codec_name
from semmix_rt.media.summary import CopiedStream

_STALE_TAGS = ("BPS", "NUMBER_OF_", "_STATISTICS", "DURATION", "ENCODER")


class Copying:
    """A stream being copied: what it is, where it goes, and what went through it.

    Nothing here points into a container, which may be closed earlier.
    """

    def __init__(self, stream: Stream, output_index: int) -> None:
        self.index = stream.index
        self.output_index = output_index
        self.kind = stream.type
        self.codec = codec_name(stream)
        self.time_base = as_fraction(stream.time_base)
        self.is_cover = bool(stream.disposition & Disposition.attached_pic)
        self.packets = 0
        self.payload_bytes = 0
        self.first: int | None = None
        self.last: int | None = None
        self.stamps = 0
        self.digest = hashlib.blake2b(digest_size=32)

    def note(self, payload: Any, size: int, stamp: int | None) -> None:
        """Count one packet; `stamp` in the stream's own time base."""
        self.packets += 1
        self.payload_bytes += size
        if size:
            self.digest.update(payload)
        if stamp is not None:
            # A running mix of all timestamps: order and value of each count.
            self.stamps = (self.stamps * 1_000_003 + stamp) & 0xFFFF_FFFF_FFFF_FFFF
            if self.first is None or stamp < self.first:
                self.first = stamp
            if self.last is None or stamp > self.last:
                self.last = stamp

    def summary(self, output_index: int) -> CopiedStream:
        """What went through, in plain values, and where it is in the written file."""
        return CopiedStream(
            index=self.index,
            output_index=output_index,
            kind=self.kind,
            codec=self.codec,
            packets=self.packets,
            bytes=self.payload_bytes,
            blake2b=self.digest.hexdigest(),
            first_s=None if self.first is None else float(self.first * self.time_base),
            last_s=None if self.last is None else float(self.last * self.time_base),
        )


@dataclass(slots=True)
class Output:
    """The streams of a muxer: the encoded one, the copies by source index, their targets.

    A cover that became an attachment has a copy and no target.
    """

    audio: AudioStream
    audio_position: int
    copies: dict[int, Copying]
    targets: dict[int, Stream]


@dataclass(frozen=True, slots=True)
class Layout:
    """What goes into the output.

    Attributes:
        streams: source streams to write as streams, in order, the processed one among them.
        covers: cover pictures to write as attachments.
        dropped: a sentence for each stream the container cannot hold.
    """

    streams: list[Stream]
    covers: list[Cover]
    dropped: list[str]


def choose_streams(
    source: InputContainer, info: MediaInfo, audio_index: int, container: Container, plan: AudioPlan
) -> Layout:
    """The streams the container can hold.

    Every combination is put to the muxer itself: a header is written into memory.

    Raises:
        MediaError: the picture would be lost in a container made for pictures.
    """
    covers: list[Cover] = []
    if container.is_matroska and container.name != "webm":
        pictures = [s for s in info.streams if isinstance(s, VideoStreamInfo)]
        covers = read_covers(info.path, pictures)
    elsewhere = {c.stream.index for c in covers} | _rewritten_tracks(source, info, container)
    candidates = [s for s in source.streams if s.index not in elsewhere]
    if _refusal(source, candidates, audio_index, container, plan) is None:
        return Layout(candidates, covers, [])
    kept = [s for s in candidates if s.index == audio_index]
    dropped = []
    for stream in candidates:
        if stream.index == audio_index:
            continue
        trial = sorted([*kept, stream], key=lambda s: s.index)
        reason = _refusal(source, trial, audio_index, container, plan)
        if reason is None:
            kept = trial
            continue
        moving = stream.type == "video" and not stream.disposition & Disposition.attached_pic
        if moving and not container.audio_only:
            raise MediaError(
                f"a {container.suffix} file cannot hold the {codec_name(stream)} picture of "
                f"{info.path} ({reason}): {_picture_home(source, stream, info, container)}"
            )
        dropped.append(
            f"stream {stream.index} ({stream.type}, {codec_name(stream)}) was left out: a "
            f"{container.suffix} file cannot hold it{_home_of(stream, container)}"
        )
    return Layout(kept, covers, dropped)


def build_output(
    out: OutputContainer,
    layout: Layout,
    audio_index: int,
    plan: AudioPlan,
    container: Container,
    source: InputContainer,
) -> Output:
    """Add all streams in order to a muxer that has not written its header yet.

    Raises:
        ValueError, FFmpegError: the container refuses a stream.
    """
    audio: AudioStream | None = None
    audio_position = 0
    target: Stream
    copies: dict[int, Copying] = {}
    targets: dict[int, Stream] = {}
    same_family = container.is_mp4 and "mp4" in source.format.name
    for position, stream in enumerate(layout.streams):
        tags = dict(stream.metadata)
        if stream.index == audio_index:
            target = audio = add_audio(out, plan)
            audio_position = position
            tags = {k: v for k, v in tags.items() if not k.upper().startswith(_STALE_TAGS)}
        else:
            target = out.add_stream_from_template(stream, opaque=True)
            if same_family and stream.codec_context is not None:
                _keep_tag(stream, target)
            copies[stream.index] = Copying(stream, position)
            targets[stream.index] = target
        target.disposition = stream.disposition
        target.metadata.clear()
        target.metadata.update(tags)
    for cover in layout.covers:
        added = out.add_attachment(cover.name, cover.mime_type, cover.data)
        copy = Copying(source.streams[cover.stream.index], added.index)
        copy.note(cover.data, len(cover.data), None)
        copies[cover.stream.index] = copy
    if audio is None:
        raise ValueError(f"stream {audio_index} is not among the streams to write")
    return Output(audio, audio_position, copies, targets)


def open_output(
    path: Path,
    source: InputContainer,
    info: MediaInfo,
    container: Container,
    plan: AudioPlan,
    shift: Fraction,
) -> OutputContainer:
    """A muxer for `path` with the source's tags and chapters; nothing is written yet."""
    tags = file_metadata(source.metadata)
    same_family = container.is_mp4 and "mp4" in info.container
    options = muxer_options(
        container,
        sample_rate_hz=plan.sample_rate_hz,
        video_timescale=video_timescale(source),
        metadata=tags,
        faststart=same_family and starts_with_index(info.path),
    )
    out = av.open(
        str(path.absolute()),
        "w",
        format=container.name,
        metadata_errors="surrogateescape",
        container_options=options,
    )
    out.metadata.update(tags)
    chapters = source.chapters()
    for chapter in chapters:
        ticks = round(shift / as_fraction(chapter["time_base"]))
        chapter["start"] -= ticks
        chapter["end"] -= ticks
    out.set_chapters(chapters)
    return out


def common_shift(info: MediaInfo, container: Container) -> Fraction:
    """Seconds to subtract from all timestamps: a broadcast clock means nothing elsewhere.

    0 between files of one family. A multiple of every coarse time base, so that no stream is
    rounded against another.
    """
    start_s = info.start_s or 0.0
    families = ((container.is_mp4, "mp4"), (container.is_matroska, "matroska"))
    same = any(mine and name in info.container for mine, name in families)
    if same or container.name == info.container or start_s <= 0.0:
        return Fraction(0)
    if info.is_lone_sound:
        return Fraction(info.audio_streams[0].start_s or 0.0)
    step = Fraction(1, 1000)
    for stream in info.streams:
        if stream.time_base > step and stream.kind in ("audio", "video"):
            base = stream.time_base
            step = Fraction(
                lcm(step.numerator * base.denominator, base.numerator * step.denominator),
                step.denominator * base.denominator,
            )
    return int(Fraction(start_s) / step) * step


def video_timescale(source: InputContainer) -> int | None:
    """Ticks per second all moving pictures share, `None` if they do not."""
    bases = {
        as_fraction(s.time_base)
        for s in source.streams
        if s.type == "video" and not s.disposition & Disposition.attached_pic
    }
    base = bases.pop() if len(bases) == 1 else Fraction(0)
    return base.denominator if base.numerator == 1 and base.denominator <= 1_000_000 else None


def _rewritten_tracks(source: InputContainer, info: MediaInfo, container: Container) -> set[int]:
    """Data tracks the muxer makes anew from chapters and from the picture's time code tag."""
    tagged = any(s.type == "video" and "timecode" in s.metadata for s in source.streams)
    found = set()
    for stream in source.streams:
        if stream.type != "data":
            continue
        chapters = info.chapters > 0 and codec_name(stream) == "bin_data"
        if chapters or (tagged and "timecode" in stream.metadata):
            found.add(stream.index)
    return found


def _refusal(
    source: InputContainer,
    streams: list[Stream],
    audio_index: int,
    container: Container,
    plan: AudioPlan,
) -> str | None:
    if container.is_mp4 and any(s.type == "attachment" for s in streams):
        return "no attachments"
    start_codes = container.name != "avi" or source.format.name == "avi"
    if not start_codes and any(codec_name(s) in ("h264", "hevc") for s in streams):
        return "H.264 and HEVC need start codes there"
    out = open_trial(container)
    try:
        out.set_chapters(source.chapters())
        build_output(out, Layout(streams, [], []), audio_index, plan, container, source)
        out.start_encoding()
    except (FFmpegError, ValueError) as exc:
        return str(getattr(exc, "strerror", None) or exc)
    return None


def _keep_tag(source: Stream, target: Stream) -> None:
    """Keep the four-character code: `hvc1` plays on Apple's players, the default `hev1` not."""
    try:
        tag = source.codec_context.codec_tag
    except UnicodeDecodeError:
        return
    if tag.strip("\0"):
        target.codec_context.codec_tag = tag


def _picture_home(
    source: InputContainer, stream: Stream, info: MediaInfo, container: Container
) -> str:
    """Which containers hold this picture together with some sound."""
    fitting = []
    for suffix in (".mkv", ".mov", ".avi", ".ts"):
        other = container_for(Path(f"any{suffix}"))
        sound = next(s for s in info.audio_streams if s.decodable)
        try:
            plan = plan_audio(info, sound, other)
        except MediaError:
            continue
        streams = sorted([stream, source.streams[sound.index]], key=lambda s: s.index)
        if other != container and _refusal(source, streams, sound.index, other, plan) is None:
            fitting.append(suffix)
    return f"write {' or '.join(fitting)}" if fitting else "convert the picture first"


def _home_of(stream: Stream, container: Container) -> str:
    if stream.type in ("subtitle", "attachment") and not container.is_matroska:
        return ", write .mkv to keep it"
    if container.audio_only:
        return ", write .mkv or .mov to keep it"
    return ""
