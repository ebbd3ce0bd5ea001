"""Reads a written file once more and compares it with what was meant to be written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition, Stream

from semmix.errors import MediaError, VerificationError
from semmix_rt.media.layout import Copying
from semmix_rt.media.probe import as_fraction, open_input

_CLOCK_S = 0.0005
_EPSILON_S = 1e-6


@dataclass(frozen=True, slots=True)
class Expected:
    """What a written file has to be.

    Attributes:
        copies: the copied streams, as counted while they were copied.
        repackaged: output indices whose payload the muxer rewrites (start codes to lengths).
        audio_output_index: the encoded stream.
        audio_start_s: start of its first sample, on the source's timeline; `None` if the
            container cannot say.
        audio_s: its length.
        audio_bytes: its payload, where that is known exactly (PCM).
        slack_s: what encoder delay and padding may add at either end.
        skipped_samples: encoder delay the file must tell the decoder to skip, `None` where the
            container has no way to tell.
        late_starts: pictures may start later than 0; AVI shows the first frame at 0 always.
        visible_delay_s: encoder delay that the container shows as an earlier start.
    """

    copies: tuple[Copying, ...]
    repackaged: frozenset[int]
    audio_output_index: int
    audio_start_s: float | None
    audio_s: float
    audio_bytes: int | None
    slack_s: float
    skipped_samples: int | None
    late_starts: bool
    visible_delay_s: float


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found in the file.

    Attributes:
        worst_s: the largest deviation between two streams' relative start times.
        indices: stream index in the file of each position that was written: covers and the
            tracks a muxer adds by itself change the order.
    """

    worst_s: float
    indices: dict[int, int]


def verify_transfer(path: str | Path, expected: Expected) -> Verified:
    """Demux `path` once, without decoding, and compare.

    Every copied stream must have the same packets (payload hash and count) at the same times;
    all streams may be shifted together, but not against each other.

    Raises:
        VerificationError: something differs.
    """
    path = Path(path)
    try:
        with open_input(path) as written:
            return _compare(path, written, expected)
    except FFmpegError as exc:
        raise VerificationError(f"{path.name} cannot be read back ({exc.strerror})") from exc
    except VerificationError:
        raise
    except MediaError as exc:
        raise VerificationError(f"the written file cannot be read back: {exc}") from exc


def _compare(path: Path, written: InputContainer, expected: Expected) -> Verified:
    indices = _indices(path, written, expected)
    audio_index = indices.get(expected.audio_output_index)
    audio = None if audio_index is None else written.streams[audio_index]
    copies = {indices[c.output_index]: c for c in expected.copies if c.output_index in indices}
    found = {i: Copying(written.streams[i], i) for i in copies}
    audio_first: int | None = None
    audio_end: int | None = None
    audio_bytes = 0
    for packet in written.demux():
        if packet.dts is None and packet.pts is None and not packet.size:
            continue
        stamp = packet.pts if packet.pts is not None else packet.dts
        index = packet.stream_index
        if index == audio_index:
            audio_bytes += packet.size
            if audio_first is None and expected.skipped_samples is not None:
                _same_skip(path, packet, expected.skipped_samples)
            if stamp is not None:
                end = stamp + (packet.duration or 0)
                audio_first = stamp if audio_first is None else min(audio_first, stamp)
                audio_end = end if audio_end is None else max(audio_end, end)
        elif index in found:
            found[index].note(packet, packet.size, stamp)
    shifts = []
    for index, copy in copies.items():
        seen = found[index]
        _same_packets(path, copy, seen, copy.output_index in expected.repackaged)
        shift = _shift(path, copy, seen, expected.late_starts)
        if shift is not None:
            shifts.append(shift)
    if audio is None:
        pass  # nothing was written, and MP4 keeps no track of nothing
    elif expected.audio_bytes is None:
        _same_length(path, audio, audio_first, audio_end, expected)
    elif audio_bytes != expected.audio_bytes:
        raise VerificationError(
            f"the sound in {path.name} has {audio_bytes} bytes where {expected.audio_bytes} "
            "were written"
        )
    if audio is not None and expected.audio_start_s is not None and audio_first is not None:
        base = as_fraction(audio.time_base)
        start = audio.start_time if audio.start_time is not None else audio_first
        shift_s = float(start * base) - (expected.audio_start_s - expected.visible_delay_s)
        shifts.append((shift_s, float(base)))
    return Verified(_in_step(path, shifts), indices)


def _indices(path: Path, written: InputContainer, expected: Expected) -> dict[int, int]:
    """The n-th stream of a kind was written as the n-th of that kind.

    MP4 keeps no track of a stream without packets, so those may be missing.
    """
    kinds: dict[tuple[str, bool], list[int]] = {}
    for stream in written.streams:
        cover = bool(stream.disposition & Disposition.attached_pic)
        kinds.setdefault((stream.type, cover), []).append(stream.index)
    wanted = {c.output_index: ((c.kind, c.is_cover), c.packets > 0) for c in expected.copies}
    wanted[expected.audio_output_index] = (("audio", False), expected.audio_s > 0)
    indices = {}
    for kind in {kind for kind, _ in wanted.values()}:
        positions = [p for p in sorted(wanted) if wanted[p][0] == kind]
        left = kinds.get(kind, [])
        if len(left) < len(positions):
            positions = [p for p in positions if wanted[p][1]]
        if len(left) < len(positions):
            raise VerificationError(
                f"{path.name} has {len(left)} {kind[0]} streams where {len(positions)} were written"
            )
        indices.update(zip(positions, left, strict=False))
    return indices


def _same_packets(path: Path, copy: Copying, seen: Copying, repackaged: bool) -> None:
    what = f"stream {copy.index} ({copy.kind})"
    if seen.packets != copy.packets:
        raise VerificationError(
            f"{what} has {seen.packets} packets in {path.name} and {copy.packets} in the source"
        )
    if not repackaged and seen.digest.digest() != copy.digest.digest():
        raise VerificationError(f"{what} differs between {path.name} and the source")


def _shift(
    path: Path, copy: Copying, seen: Copying, late_starts: bool
) -> tuple[float, float] | None:
    """How much later the stream starts than in the source, and its rounding, in seconds."""
    if copy.is_cover:
        return None
    if copy.first is None or copy.last is None or seen.first is None or seen.last is None:
        return None
    base_in, base_out = copy.time_base, seen.time_base
    # Timestamps are exact unless they had to be rounded to another clock.
    clock = 0.0 if base_in == base_out else float(base_out)
    shift = float(seen.first * base_out - copy.first * base_in)
    shift_end = float(seen.last * base_out - copy.last * base_in)
    if not late_starts:
        return shift_end, clock
    steady = abs(shift - shift_end) <= clock + _EPSILON_S
    if base_in == base_out and seen.first == copy.first:
        steady = seen.stamps == copy.stamps
    if not steady:
        raise VerificationError(
            f"the timestamps of stream {copy.index} ({copy.kind}) changed in {path.name}"
        )
    return shift, clock


def _same_skip(path: Path, packet: Packet[Stream], expected: int) -> None:
    """Compare what the first packet tells the decoder to skip (FFmpeg's `skip_samples`)."""
    skipped = 0
    if packet.has_sidedata("skip_samples"):
        skipped = int.from_bytes(bytes(packet.get_sidedata("skip_samples"))[:4], "little")
    if abs(skipped - expected) > 1:
        raise VerificationError(
            f"{path.name} skips {skipped} samples of encoder delay where {expected} have to go: "
            "the sound would be out of step"
        )


def _same_length(
    path: Path, audio: Stream, first: int | None, end: int | None, expected: Expected
) -> None:
    base = as_fraction(audio.time_base)
    length = 0.0 if first is None or end is None else float((end - first) * base)
    if abs(length - expected.audio_s) > expected.slack_s + 2 * float(base) + _CLOCK_S:
        raise VerificationError(
            f"the sound in {path.name} lasts {length:.3f} s where {expected.audio_s:.3f} s "
            "were written"
        )


def _in_step(path: Path, shifts: list[tuple[float, float]]) -> float:
    worst = 0.0
    for shift, clock in shifts[1:]:
        first, first_clock = shifts[0]
        deviation = abs(shift - first)
        worst = max(worst, deviation)
        if deviation > (clock + first_clock) / 2 + _CLOCK_S:
            raise VerificationError(
                f"the streams in {path.name} are {1000 * deviation:.1f} ms out of step with "
                "the source"
            )
    return worst
