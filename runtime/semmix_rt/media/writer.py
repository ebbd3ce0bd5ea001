"""Encodes the processed stream so that it decodes in sync, to the sample where that is possible.

Every lossy encoder delays: its first packet decodes to `priming` samples of nothing. Matroska
stores that delay; MP4's muxer cuts it by an edit list if the sound starts at 0, and is helped
(`edits.py`) if it starts later; MPEG-TS shows it in its timestamps; where a container knows
neither (AVI, raw streams), whole packets of nothing but delay are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import soxr
from av.audio.stream import AudioStream
from av.codec import CodecContext
from av.packet import Packet

from semmix_rt.media.codec import AudioPlan
from semmix_rt.media.containers import Container
from semmix_rt.media.pcm import Float, from_float
from semmix_rt.media.probe import AudioStreamInfo

_PCM_PACKET_S = 0.1


class AudioWriter:
    """Blocks `[C, n]` in, packets for the muxer out.

    Attributes:
        samples: samples taken in, at the source's rate.
        lead_samples: silence written first, where the container cannot say "starts later".
        clipped: values beyond full scale of an integer format.
        priming: the encoder's delay in samples, known after the first packet.
        edit_priming: delay that the MP4 edit list has yet to cut, 0 where none.
    """

    def __init__(
        self,
        stream: AudioStream,
        plan: AudioPlan,
        container: Container,
        source: AudioStreamInfo,
        *,
        split: bool,
    ) -> None:
        self._stream = stream
        self._plan = plan
        self._container = container
        self._source = source
        self._split = split and plan.is_pcm
        self._base = Fraction(1, plan.sample_rate_hz)
        self._start = 0
        self._encoded = 0
        self._skip = 0
        self._pad = 0
        self._resampler: soxr.ResampleStream | None = None
        self.samples = 0
        self.lead_samples = 0
        self.clipped = 0
        self.priming = 0
        self._primed = False
        self.edit_priming = 0

    def begin(self, start_sample: int, origin_sample: int) -> Iterator[Packet[Any]]:
        """Set the timeline before the first block; may yield packets of leading silence.

        Args:
            start_sample: position of the first sample on the output's timeline, source rate.
            origin_sample: position of the earliest stream there.
        """
        plan, source = self._plan, self._source
        if plan.sample_rate_hz != source.sample_rate_hz:
            self._resampler = soxr.ResampleStream(
                source.sample_rate_hz, plan.sample_rate_hz, source.channels, "float32", "VHQ"
            )
        if not self._container.has_start:
            self.lead_samples = self._to_encoder(max(0, start_sample - origin_sample))
            start_sample = 0
        self._start = self._to_encoder(start_sample)
        head = self.lead_samples
        if not self._container.hides_priming and not plan.is_pcm:
            priming, frame = _measure_priming(plan)
            self._skip = -(-priming // frame)
            self._pad = self._skip * frame - priming
            head += self._pad
            self._start -= self._pad
        if head:
            yield from self._silence(head)

    def encode(self, block: Float) -> Iterator[Packet[Any]]:
        """Encode one block."""
        self.samples += block.shape[1]
        if self._resampler is not None:
            chunk = np.ascontiguousarray(block.T, dtype=np.float32)
            block = np.ascontiguousarray(self._resampler.resample_chunk(chunk).T)
        yield from self._encode(block)

    def finish(self) -> Iterator[Packet[Any]]:
        """Flush resampler and encoder."""
        if self._resampler is not None:
            empty = np.zeros((0, self._source.channels), np.float32)
            tail = self._resampler.resample_chunk(empty, last=True).T
            done = self._encoded - self.lead_samples - self._pad
            want = self._to_encoder(self.samples) - done
            exact = np.zeros((self._source.channels, max(want, 0)), np.float32)
            count = min(want, tail.shape[1])
            exact[:, :count] = tail[:, :count]
            yield from self._encode(exact)
        if self._encoded:
            yield from self._timed(self._stream.encode(None))

    def _to_encoder(self, samples: int) -> int:
        ratio = Fraction(self._plan.sample_rate_hz, self._source.sample_rate_hz)
        return round(samples * ratio)

    def _silence(self, samples: int) -> Iterator[Packet[Any]]:
        step = self._plan.sample_rate_hz
        while samples > 0:
            count = min(samples, step)
            yield from self._encode(np.zeros((self._source.channels, count), np.float32))
            samples -= count

    def _encode(self, block: Float) -> Iterator[Packet[Any]]:
        step = round(self._plan.sample_rate_hz * _PCM_PACKET_S) if self._split else block.shape[1]
        for at in range(0, block.shape[1], max(step, 1)):
            part = block[:, at : at + step]
            plan = self._plan
            frame, clipped = from_float(
                part,
                plan.sample_format,
                plan.bits,
                plan.layout,
                plan.sample_rate_hz,
                self._start + self._encoded,
            )
            self.clipped += clipped
            self._encoded += part.shape[1]
            yield from self._timed(self._stream.encode(frame))

    def _timed(self, packets: list[Packet[Any]]) -> Iterator[Packet[Any]]:
        for packet in packets:
            if not self._primed and packet.pts is not None:
                self._primed = True
                self.priming = max(0, self._start - packet.pts)
                if self._skip:
                    self.priming -= self._skip * self._stream.codec_context.frame_size - self._pad
                elif self._container.is_mp4 and self._start > 0:
                    self.edit_priming = self.priming
            if self._skip:
                self._skip -= 1
                continue
            if packet.pts is not None:
                self._retime(packet)
            yield packet

    def _retime(self, packet: Packet[Any]) -> None:
        assert packet.pts is not None
        if self.edit_priming:
            packet.pts += self.edit_priming
            packet.dts = packet.pts
        elif self._container.is_matroska:
            # Packets are stored `priming` later in whole milliseconds: round the sum, so that
            # the two roundings do not add up.
            milli = Fraction(1, 1000)
            at = round((packet.pts + self.priming) * self._base / milli)
            end = round((packet.pts + (packet.duration or 0) + self.priming) * self._base / milli)
            packet.pts = packet.dts = at - _half_up(self.priming * self._base / milli)
            packet.duration = end - at
            packet.time_base = milli


def _half_up(value: Fraction) -> int:
    return int(value + Fraction(1, 2))


def _measure_priming(plan: AudioPlan) -> tuple[int, int]:
    """The encoder's delay and frame length in samples."""
    context: Any = CodecContext.create(plan.codec, "w")
    context.sample_rate = plan.sample_rate_hz
    context.layout = plan.layout
    context.format = plan.sample_format
    context.options = dict(plan.options)
    if plan.bit_rate_bps:
        context.bit_rate = plan.bit_rate_bps
    context.open()
    frame_samples = context.frame_size
    channels = context.layout.nb_channels
    first = 0
    while True:
        quiet = np.zeros((channels, frame_samples), np.float32)
        frame, _ = from_float(
            quiet, plan.sample_format, plan.bits, plan.layout, plan.sample_rate_hz, first
        )
        packets = context.encode(frame)
        first += frame_samples
        if packets:
            return max(0, -(packets[0].pts or 0)), frame_samples
