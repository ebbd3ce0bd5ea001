"""Decodes one audio stream onto its own timeline, in large blocks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.error import FFmpegError
from av.packet import Packet

from semmix.errors import MediaError
from semmix_rt.media.pcm import Float, block_dtype, silence, to_float, without_head
from semmix_rt.media.probe import AudioStreamInfo, as_fraction

_TOLERANCE_S = 0.001
_MAX_BACKWARD_S = 10.0
_MAX_GAP_S = 600.0


class AudioReader:
    """Packets in, blocks `[C, n]` out, one sample for each sampling instant of the timeline.

    Timestamps that leave a hole of more than about 1 ms are answered with silence, overlaps
    are trimmed, a packet that cannot be decoded becomes a hole. Smaller deviations are the
    rounding of coarse time bases and are ignored.

    Attributes:
        start_sample: position of the first sample on the container's timeline, in samples;
            0 until it is known.
        samples: samples handed out so far.
        gaps, gap_samples, overlaps, overlap_samples, decode_errors, packets, bad_values: counts.
    """

    def __init__(
        self, stream: AudioStream, info: AudioStreamInfo, block_samples: int, path: Path
    ) -> None:
        self._stream = stream
        self._info = info
        self._path = path
        self._block_samples = block_samples
        self._channels = info.channels
        self.dtype = block_dtype(info.sample_format, info.bits)
        stream.codec_context.thread_count = 1
        base = as_fraction(stream.time_base)
        self._to_samples = base * info.sample_rate_hz
        # Rounding to the time base can be off by one tick at the start and one here.
        self._tolerance = round(info.sample_rate_hz * _TOLERANCE_S) + 2 * round(
            float(self._to_samples) / 2 + 0.5
        )
        self._fifo = AudioFifo()
        self._template: AudioFrame | None = None
        self._position = 0
        self._lost_until: int | None = None
        self.start_sample = 0
        self.samples = 0
        self.packets = 0
        self.decode_errors = 0
        self.first_error = ""
        self.gaps = self.gap_samples = 0
        self.overlaps = self.overlap_samples = 0
        self.bad_values = 0

    def feed(self, packet: Packet[Any] | None) -> Iterator[Float]:
        """Decode one packet, or with `None` flush the decoder, and yield the full blocks.

        Raises:
            MediaError: the stream changes its format, or its timestamps jump.
        """
        if packet is not None:
            self.packets += 1
        try:
            frames = self._stream.codec_context.decode(packet)
        except (FFmpegError, EOFError) as exc:
            self.decode_errors += 1
            self.first_error = self.first_error or str(exc)
            if packet is not None and packet.pts is not None and packet.duration:
                self._lost_until = self._at(packet.pts + packet.duration)
            return
        for frame in frames:
            if frame.samples:
                yield from self._place(frame)

    def finish(self) -> Iterator[Float]:
        """Flush the decoder and yield what is left, the last block being shorter."""
        yield from self.feed(None)
        if self._lost_until is not None and self._template is not None:
            yield from self._fill(self._lost_until - self._position)
        rest = self._fifo.read(0, partial=True)
        if rest is not None:
            yield self._block(rest)

    def _at(self, stamp: int) -> int:
        return round(stamp * self._to_samples)

    def _place(self, frame: AudioFrame) -> Iterator[Float]:
        self._check(frame)
        if self._template is None:
            self._template = frame
            if frame.pts is not None:
                self.start_sample = self._position = self._at(frame.pts)
        self._lost_until = None
        gap = 0 if frame.pts is None else self._at(frame.pts) - self._position
        if gap > self._tolerance:
            yield from self._fill(gap)
        elif gap < -self._tolerance:
            cut = min(-gap, frame.samples)
            if -gap > _MAX_BACKWARD_S * self._info.sample_rate_hz:
                raise self._jump(gap)
            self.overlaps += 1
            self.overlap_samples += cut
            if cut == frame.samples:
                return
            frame = without_head(frame, self._channels, cut)
        frame.pts = None
        self._fifo.write(frame)
        self._position += frame.samples
        yield from self._full_blocks()

    def _fill(self, gap: int) -> Iterator[Float]:
        if gap <= 0 or self._template is None:
            return
        if gap > _MAX_GAP_S * self._info.sample_rate_hz:
            raise self._jump(gap)
        self.gaps += 1
        self.gap_samples += gap
        while gap:
            count = min(gap, self._block_samples)
            self._fifo.write(silence(self._template, self._channels, count))
            self._position += count
            gap -= count
            yield from self._full_blocks()

    def _full_blocks(self) -> Iterator[Float]:
        while self._fifo.samples >= self._block_samples:
            frame = self._fifo.read(self._block_samples)
            if frame is not None:
                yield self._block(frame)

    def _block(self, frame: AudioFrame) -> Float:
        block = to_float(frame, self._channels, self.dtype)
        if frame.format.name.startswith(("flt", "dbl")) and not np.isfinite(block).all():
            self.bad_values += int(np.count_nonzero(~np.isfinite(block)))
            np.nan_to_num(block, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        self.samples += block.shape[1]
        return block

    def _check(self, frame: AudioFrame) -> None:
        info = self._info
        same = (
            frame.sample_rate == info.sample_rate_hz
            and frame.layout.nb_channels == info.channels
            and (self._template is None or frame.format.name == self._template.format.name)
        )
        if not same:
            at_s = self._position / info.sample_rate_hz
            raise MediaError(
                f"the sound of {self._path} changes at {at_s:.3f} s from {info.channels} channels "
                f"at {info.sample_rate_hz} Hz to {frame.layout.nb_channels} at "
                f"{frame.sample_rate} Hz: cut the file there and process the parts"
            )

    def _jump(self, samples: int) -> MediaError:
        rate = self._info.sample_rate_hz
        return MediaError(
            f"the sound's timestamps in {self._path} jump by {samples / rate:+.1f} s at "
            f"{self._position / rate:.3f} s: the file is damaged or was joined wrongly, remux it"
        )
