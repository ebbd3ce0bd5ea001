"""What one transfer did, in plain values that go into the run's report."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class CopiedStream:
    """One packet-copied stream.

    Attributes:
        index: stream index in the source.
        output_index: stream index in the target.
        kind: `video`, `audio`, `subtitle`, `data` or `attachment`.
        codec: FFmpeg's codec name, `unknown` where FFmpeg has none.
        packets: number of packets.
        bytes: payload bytes.
        blake2b: hash over the payload of all packets, in file order, as hex digits.
        first_s: earliest presentation time, `None` without timestamps.
        last_s: latest presentation time.
    """

    index: int
    output_index: int
    kind: str
    codec: str
    packets: int
    bytes: int
    blake2b: str
    first_s: float | None
    last_s: float | None


@dataclass(frozen=True, slots=True)
class TransferSummary:
    """The result of a finished, verified transfer.

    Attributes:
        source: input path.
        target: output path.
        container: FFmpeg's name of the output format.
        copied: the packet-copied streams.
        dropped: one sentence for each stream the output container cannot hold.
        audio_index: index of the processed stream in the source.
        audio_output_index: its index in the target.
        codec: codec the processed stream was encoded with.
        bit_rate_bps: bit rate asked of the encoder, `None` for lossless codecs.
        sample_rate_hz: rate of the processed stream.
        encoded_sample_rate_hz: rate it is stored with; another one for Opus only.
        channels: channels of the processed stream, in and out.
        layout: channel layout of the processed stream.
        samples: samples per channel, read and written.
        duration_s: `samples / sample_rate_hz`.
        start_s: where the processed stream starts on the source's timeline.
        lead_s: silence written before it, where the target cannot say that sound starts later.
        gaps_filled: gaps in the source's timestamps that were filled with silence.
        gap_samples: silence inserted for them.
        overlaps_trimmed: places where timestamps overlapped.
        overlap_samples: samples removed for them.
        decode_errors: packets the decoder refused.
        clipped_samples: values beyond full scale that were clipped to it (0 for float codecs).
        peak: largest absolute value written, 1.0 is full scale.
        warnings: sentences for the user.
    """

    source: str
    target: str
    container: str
    copied: tuple[CopiedStream, ...]
    dropped: tuple[str, ...]
    audio_index: int
    audio_output_index: int
    codec: str
    bit_rate_bps: int | None
    sample_rate_hz: int
    encoded_sample_rate_hz: int
    channels: int
    layout: str
    samples: int
    duration_s: float
    start_s: float
    lead_s: float
    gaps_filled: int
    gap_samples: int
    overlaps_trimmed: int
    overlap_samples: int
    decode_errors: int
    clipped_samples: int
    peak: float
    warnings: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
