"""Decode as few frames as tell what a film shows, in order of presentation time.

Key frames cost one decoded frame each and encoders place them on cuts, so they are the samples.
Between key frames that lie far apart the stream is decoded forward, as little as closes the gap,
and so it is up to a packet large enough to be a cut without a key frame, which is then found to
within the few frames that the encoder put before that packet.
Where key frames are dense (intra-only codecs) most are skipped; they are kept, undecoded, until
the next sample is known to lie in the same shot, so that a cut among them can still be found.

Rotation metadata and anamorphic pixels are not applied: cues are read from the coded picture.
"""

from __future__ import annotations

import logging
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from semmix.errors import MediaError
from semmix_rt.cues.picture import (
    MAX_PIXELS,
    PictureIndex,
    open_container,
    packet_time_s,
    packets_of,
)
from semmix_rt.cues.shots import CUT, Signature, difference, signature

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.video.stream import VideoStream

    VideoPacket = Packet[VideoStream]

_LOG = logging.getLogger(__name__)

STEP_S = 1.0
"""Samples lie at least this far apart, except where a cut is looked for between them."""

GAP_SLACK = 1.2
"""A gap may exceed the asked interval by this factor before frames between key frames are
decoded: usual key frame intervals of 250 frames would otherwise cost half of a full decode."""

_HELD_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class Sample:
    """One decoded frame.

    Attributes:
        time_s: presentation time on the container's timeline.
        image: uint8 RGB `[H, W, 3]`.
        signature: what it is compared by.
    """

    time_s: float
    image: NDArray[np.uint8]
    signature: Signature


@dataclass(frozen=True, slots=True)
class Visit:
    """One key frame to decode, and the times after it to decode on to."""

    key: int
    wanted_s: tuple[float, ...] = ()


def plan_visits(index: PictureIndex, max_interval_s: float) -> list[Visit]:
    """Choose key frames, and times between them: cuts, and where key frames lie too far apart.

    Decoding forward ends as early as the longest allowed gap before the next key frame lets it.
    """
    keys: list[tuple[int, float]] = []
    for number, time_s in enumerate(index.key_times_s):
        if time_s is not None and (not keys or time_s > keys[-1][1]):
            keys.append((number, time_s))
    times_s = [time_s for _, time_s in keys] + [index.end_s]
    jumps_after: dict[int, list[float]] = {}
    for jump_s in index.jump_times_s:
        place = bisect_right(times_s, jump_s, hi=len(keys)) - 1
        near_s = times_s[place + 1] - jump_s if place + 1 < len(keys) else STEP_S
        if place >= 0 and near_s >= STEP_S:
            jumps_after.setdefault(place, []).append(jump_s)
    chosen: list[int] = []
    for place in range(len(keys)):
        since_s = times_s[place] - times_s[chosen[-1]] if chosen else STEP_S
        skipping_s = since_s + times_s[place + 1] - times_s[place]
        if since_s >= STEP_S or skipping_s > max_interval_s or place in jumps_after:
            chosen.append(place)
    visits = []
    for place, after in pairwise([*chosen, len(keys)]):
        jumps_s = jumps_after.get(place, [])
        wanted_s = _stops(times_s[place], times_s[after], jumps_s, max_interval_s * GAP_SLACK)
        visits.append(Visit(keys[place][0], wanted_s))
    return visits


def _stops(
    start_s: float, end_s: float, jumps_s: list[float], longest_s: float
) -> tuple[float, ...]:
    """Times between two key frames to decode on to, none closer together than the step."""
    stops: list[float] = []
    last_s = start_s
    for jump_s in [*jumps_s, end_s]:
        count = math.ceil((jump_s - last_s) / longest_s) - 1
        if count > 0:
            step_s = max(STEP_S, (jump_s - last_s - longest_s) / count)
            stops += [last_s + step_s * (i + 1) for i in range(count)]
        if jump_s < end_s and jump_s - (stops[-1] if stops else start_s) >= STEP_S:
            stops.append(jump_s)
            last_s = jump_s
    return tuple(stops)


def iter_samples(
    path: str | Path,
    index: PictureIndex,
    *,
    max_interval_s: float,
    max_side_px: int,
    threads: int = 1,
) -> Iterator[Sample]:
    """Yield sampled frames with strictly increasing times.

    Raises:
        MediaError: the file cannot be opened, its frames are too large, or none decodes.
    """
    with open_container(path) as container:
        stream = container.streams[index.stream_index]
        decoder = _Decoder(path, stream, max_side_px, threads)  # type: ignore[arg-type]
        packets = packets_of(container, decoder.stream)
        if index.independent_keys:
            found = _visit_keys(decoder, packets, plan_visits(index, max_interval_s))
        else:
            found = _decode_all(decoder, packets)
        last_s = float("-inf")
        for sample in found:
            if sample.time_s > last_s:
                last_s = sample.time_s
                yield sample
        if last_s == float("-inf"):
            raise MediaError(
                f"no frame of {path} can be decoded: the picture is damaged, re-create the file "
                "or pass a cue sheet"
            )


class _Decoder:
    """Turns packets into samples; keeps the scaler's tables between frames."""

    def __init__(
        self, path: str | Path, stream: VideoStream, max_side_px: int, threads: int
    ) -> None:
        from av.video.reformatter import VideoReformatter

        self.stream = stream
        self._max_side_px = max_side_px
        self._scaler = VideoReformatter()
        context = stream.codec_context
        if context.width * context.height > MAX_PIXELS:
            raise MediaError(
                f"the picture of {path} claims {context.width} x {context.height} pixels, more "
                f"than {MAX_PIXELS}: the file is damaged, or scale it down first"
            )
        context.thread_count = threads
        # Frames nothing refers to, and deblocking of frames between key frames, are not worth
        # their time here: a classifier does not see the difference.
        context.skip_frame = "NONREF"
        context.options = {"max_pixels": str(MAX_PIXELS), "skip_loop_filter": "nokey"}

    def feed(self, packet: VideoPacket | None) -> list[VideoFrame]:
        """Frames that one more packet yields; None asks for the rest. Damage yields none."""
        import av

        try:
            frames = self.stream.codec_context.decode(packet)
        except EOFError:
            return []
        except av.error.FFmpegError as exc:
            _LOG.debug("a packet of the picture does not decode (%s)", exc)
            return []
        return [f for f in frames if not f.is_corrupt and f.pts is not None]

    def reset(self) -> None:
        """Forget what was fed, ready for the next key frame."""
        self.stream.codec_context.flush_buffers()

    def time_s(self, frame: VideoFrame) -> float:
        """Presentation time; drained frames carry the stream's time base only implicitly."""
        assert frame.pts is not None
        return float(frame.pts * self.stream.time_base)  # type: ignore[operator]

    def sample(self, frame: VideoFrame) -> Sample:
        """Shrink a frame to at most the asked side and read it as RGB."""
        scale = min(1.0, self._max_side_px / max(frame.width, frame.height))
        small = self._scaler.reformat(
            frame,
            width=max(1, round(frame.width * scale)),
            height=max(1, round(frame.height * scale)),
            format="rgb24",
            interpolation="BILINEAR",
        )
        image = np.asarray(small.to_ndarray(), np.uint8)
        return Sample(self.time_s(frame), image, signature(image))

    def alone(self, packet: VideoPacket) -> Sample | None:
        """Decode one key packet by itself; None if it is damaged or does not stand alone."""
        frames = self.feed(packet) + self.feed(None)
        self.reset()
        return self.sample(frames[0]) if frames else None


@dataclass(slots=True)
class _Held:
    """Frames passed over since the last sample, decoded only if a cut lies among them."""

    items: list[tuple[int, Callable[[], Sample | None]]]
    size_bytes: int = 0

    def add(self, size_bytes: int, decode: Callable[[], Sample | None]) -> None:
        """Keep one more; past the limit every second one goes."""
        self.items.append((size_bytes, decode))
        self.size_bytes += size_bytes
        if self.size_bytes > _HELD_BYTES:
            self.items = self.items[1::2]
            self.size_bytes = sum(size for size, _ in self.items)

    def first_after_cut(self, before: Sample, after: Sample) -> Sample | None:
        """Bisect for the first held frame of the new shot; None if `after` is the first."""
        items, self.items, self.size_bytes = self.items, [], 0
        if not items or difference(before.signature, after.signature) < CUT:
            return None
        found = None
        low, high = 0, len(items)
        while low < high:
            middle = (low + high) // 2
            sample = items[middle][1]()
            if sample is None or difference(before.signature, sample.signature) < CUT:
                low = middle + 1
            else:
                found, high = sample, middle
        return found


def _visit_keys(
    decoder: _Decoder, packets: Iterator[VideoPacket], visits: list[Visit]
) -> Iterator[Sample]:
    """Decode the planned key frames, and forward from those that ask for it."""
    wanted_at = {visit.key: visit.wanted_s for visit in visits}
    held = _Held([])
    last: Sample | None = None
    wanted: list[float] = []
    key = -1
    for packet in chain(packets, (None,)):
        key += packet is not None and packet.is_keyframe
        unmet = bool(wanted)
        if unmet:
            # A key packet, or the end, closes the group of pictures being decoded.
            closes = packet is None or packet.is_keyframe
            for sample in _reached(decoder, decoder.feed(None if closes else packet), wanted):
                last = sample
                yield sample
            if closes or not wanted:
                decoder.reset()
                wanted = []
        if packet is None or not packet.is_keyframe:
            continue
        if key not in wanted_at and not unmet:
            held.add(packet.size, partial(decoder.alone, packet))
            continue
        alone = decoder.alone(packet)
        if alone is not None:
            first = held.first_after_cut(last, alone) if last is not None else None
            if first is not None:
                yield first
            last = alone
            yield alone
        wanted = list(wanted_at.get(key, ()))
        time_s = packet_time_s(packet, decoder.stream.time_base)
        if alone is None and time_s is not None:
            # Intra refresh, or frames an edit list hides: the picture is whole later on.
            wanted.insert(0, time_s)
        if wanted:
            for sample in _reached(decoder, decoder.feed(packet), wanted):
                last = sample
                yield sample


def _decode_all(decoder: _Decoder, packets: Iterator[VideoPacket]) -> Iterator[Sample]:
    """Decode every packet, where key flags cannot be trusted; sample at the usual step."""
    held = _Held([])
    last: Sample | None = None
    for packet in chain(packets, (None,)):
        for frame in decoder.feed(packet):
            if last is not None and decoder.time_s(frame) - last.time_s < STEP_S:
                size_bytes = sum(plane.buffer_size for plane in frame.planes)
                held.add(size_bytes, partial(decoder.sample, frame))
                continue
            sample = decoder.sample(frame)
            first = held.first_after_cut(last, sample) if last is not None else None
            if first is not None:
                yield first
            last = sample
            yield sample


def _reached(decoder: _Decoder, frames: list[VideoFrame], wanted: list[float]) -> Iterator[Sample]:
    """Samples of the frames that reach the next wanted time; met times leave the list."""
    for frame in frames:
        time_s = decoder.time_s(frame)
        if wanted and time_s >= wanted[0]:
            while wanted and time_s >= wanted[0]:
                wanted.pop(0)
            yield decoder.sample(frame)
