"""From the counts of a finished transfer: what to verify, what to report, what to warn of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from semmix_rt.media.codec import AudioPlan
from semmix_rt.media.containers import Container
from semmix_rt.media.layout import Copying
from semmix_rt.media.probe import AudioStreamInfo, MediaInfo
from semmix_rt.media.reader import AudioReader
from semmix_rt.media.summary import TransferSummary
from semmix_rt.media.verify import Expected, Verified
from semmix_rt.media.writer import AudioWriter

_LONGEST_FRAME_SAMPLES = 4608  # FLAC's; AAC has 1024, MP3 1152
# Families that store the same payload; between them start codes become lengths and back.
_LENGTH_PREFIXED = ("mp4", "matroska", "flv")
_REPACKAGED_CODECS = frozenset({"h264", "hevc", "vvc", "aac", "av1", "vp9", "mpeg4"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything known when both threads are done."""

    info: MediaInfo
    audio: AudioStreamInfo
    plan: AudioPlan
    container: Container
    target: Path
    copies: tuple[Copying, ...]
    dropped: tuple[str, ...]
    reader: AudioReader
    writer: AudioWriter
    audio_position: int
    peak: float
    early_end: str

    def expected(self) -> Expected:
        """What the written file must be when it is read back."""
        writer, plan = self.writer, self.plan
        source_rate, rate = self.audio.sample_rate_hz, plan.sample_rate_hz
        start = Fraction(self.reader.start_sample, source_rate)
        size = plan.sample_bytes
        told = self.container.is_mp4 or self.container.is_matroska
        total = writer.samples + writer.lead_samples
        return Expected(
            copies=self.copies,
            repackaged=self._repackaged(),
            audio_output_index=self.audio_position,
            audio_start_s=float(start) if self.container.has_start else None,
            audio_s=writer.samples / source_rate + writer.lead_samples / rate,
            audio_bytes=None if size is None else total * self.audio.channels * size,
            slack_s=0.0 if plan.is_pcm else 2 * _LONGEST_FRAME_SAMPLES / rate,
            skipped_samples=writer.priming if told and start >= 0 else None,
            late_starts=self.container.name != "avi",
            visible_delay_s=writer.priming / rate if self.container.name == "mpegts" else 0.0,
        )

    def summary(self, found: Verified) -> TransferSummary:
        """Plain values for the report."""
        reader, rate = self.reader, self.audio.sample_rate_hz
        return TransferSummary(
            source=str(self.info.path),
            target=str(self.target),
            container=self.container.name,
            copied=tuple(
                c.summary(found.indices.get(c.output_index, c.output_index)) for c in self.copies
            ),
            dropped=self.dropped,
            audio_index=self.audio.index,
            audio_output_index=found.indices.get(self.audio_position, self.audio_position),
            codec=self.plan.codec,
            bit_rate_bps=self.plan.bit_rate_bps,
            sample_rate_hz=rate,
            encoded_sample_rate_hz=self.plan.sample_rate_hz,
            channels=self.audio.channels,
            layout=self.audio.layout,
            samples=reader.samples,
            duration_s=reader.samples / rate,
            start_s=reader.start_sample / rate,
            lead_s=self.writer.lead_samples / self.plan.sample_rate_hz,
            gaps_filled=reader.gaps,
            gap_samples=reader.gap_samples,
            overlaps_trimmed=reader.overlaps,
            overlap_samples=reader.overlap_samples,
            decode_errors=reader.decode_errors,
            clipped_samples=self.writer.clipped,
            peak=self.peak,
            warnings=tuple(self._warnings()),
        )

    def _repackaged(self) -> frozenset[int]:
        was = any(name in self.info.container for name in _LENGTH_PREFIXED)
        now = self.container.is_mp4 or self.container.is_matroska or self.container.name == "flv"
        if was == now:
            return frozenset()
        return frozenset(c.output_index for c in self.copies if c.codec in _REPACKAGED_CODECS)

    def _warnings(self) -> Iterator[str]:
        reader, rate = self.reader, self.audio.sample_rate_hz
        yield from self.dropped
        yield from self.plan.warnings
        if self.early_end:
            yield f"{self.early_end}: the output holds what came before"
        if reader.decode_errors:
            yield (
                f"{reader.decode_errors} of {reader.packets} audio packets could not be decoded "
                "and became silence"
            )
        if reader.gaps and not reader.decode_errors:
            yield (
                f"{reader.gaps} gaps in the sound's timestamps, {reader.gap_samples / rate:.3f} s "
                "in all, were filled with silence"
            )
        if reader.overlaps:
            yield (
                f"{reader.overlaps} overlaps in the sound's timestamps, "
                f"{reader.overlap_samples / rate:.3f} s in all, were trimmed"
            )
        if reader.bad_values:
            yield f"{reader.bad_values} samples were NaN or infinite and became silence"
        declared_s = self.audio.duration_s or self.info.duration_s
        if declared_s is not None and self.audio.duration_s is None:
            # The container's own duration runs to the end of its longest stream.
            declared_s = None if len(self.info.streams) > 1 else declared_s
        if declared_s is not None and reader.samples / rate < declared_s - 0.5:
            yield (
                f"the sound ends after {reader.samples / rate:.1f} s where the file declares "
                f"{declared_s:.1f} s: the file may be truncated"
            )
        if self.writer.clipped:
            yield (
                f"{self.writer.clipped} samples were beyond full scale (peak {self.peak:.2f}) "
                "and were clipped"
            )
