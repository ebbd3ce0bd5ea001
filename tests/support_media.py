"""Small media files for the tests, made with PyAV, and ways to look at media independently."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
_DTYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}


@dataclass
class Sound:
    """One sound stream to be made: `samples` `[C, n]` float, full scale 1.0."""

    codec: str
    samples: NDArray[np.floating]
    rate: int = 48000
    start: int = 0
    layout: str | None = None
    holes: tuple[tuple[int, int], ...] = ()
    bit_rate: int | None = None
    options: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    disposition: int | None = None


def noise(
    samples: int, channels: int = 2, seed: int = 0, level: float = 0.1
) -> NDArray[np.float32]:
    """White noise `[C, n]`, different in every channel: its autocorrelation is one peak."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((channels, samples)) * level).astype(np.float32)


def raw_samples(samples: NDArray[np.floating], kind: str, bits: int) -> NDArray[np.generic]:
    """Integer samples in FFmpeg's alignment (left-justified), floats as they are."""
    dtype = np.dtype(_DTYPES[kind])
    if dtype.kind == "f":
        return samples.astype(dtype)
    top = 2.0 ** (bits - 1)
    ints = np.clip(np.rint(np.asarray(samples, np.float64) * top), -top, top - 1).astype(np.int64)
    if kind == "u8":
        return (ints + 128).astype(dtype)
    return (ints << (8 * dtype.itemsize - bits)).astype(dtype)


def audio_frame(
    raw: NDArray[np.generic], fmt: str, layout: str, rate: int, pts: int
) -> av.AudioFrame:
    frame = av.AudioFrame(format=fmt, layout=layout, samples=raw.shape[1])
    if frame.format.is_planar:
        for plane, row in zip(frame.planes, raw, strict=False):
            plane.update(np.ascontiguousarray(row))
    else:
        frame.planes[0].update(np.ascontiguousarray(raw.T))
    frame.sample_rate, frame.pts, frame.time_base = rate, pts, Fraction(1, rate)
    return frame


def make_media(
    path: Path,
    *sounds: Sound,
    video: str | None = "mpeg4",
    frames: int = 50,
    fps: int = 25,
    video_start: int = 0,
    vfr: bool = False,
    subtitles: str | None = None,
    chapters: bool = False,
    metadata: dict[str, str] | None = None,
    attachment: bytes | None = None,
    options: dict[str, str] | None = None,
    audio_first: bool = False,
    video_options: dict[str, str] | None = None,
    size: tuple[int, int] = (64, 48),
) -> Path:
    """Write a small file: one optional picture, any sounds, optional subtitles and the rest."""
    out = av.open(str(path), "w", container_options=options or {})
    out.metadata.update(metadata or {})
    picture = None
    tracks = []

    def add_sounds() -> None:
        for sound in sounds:
            layout = sound.layout or LAYOUTS[sound.samples.shape[0]]
            extra = {"bit_rate": sound.bit_rate} if sound.bit_rate else {}
            stream = out.add_stream(
                sound.codec, rate=sound.rate, layout=layout, options=sound.options, **extra
            )
            stream.metadata.update(sound.metadata)
            if sound.disposition is not None:
                stream.disposition = sound.disposition
            tracks.append((sound, stream, layout))

    if audio_first:
        add_sounds()
    if video:
        picture = out.add_stream(video, rate=fps, width=size[0], height=size[1])
        picture.pix_fmt = "yuv420p"
        picture.codec_context.options = dict(video_options or {})
    if not audio_first:
        add_sounds()
    text = out.add_mux_stream(subtitles) if subtitles else None
    if attachment is not None:
        out.add_attachment("font.ttf", "application/x-truetype-font", attachment)
    if chapters:
        out.set_chapters(
            [
                {
                    "id": i,
                    "start": i * 500,
                    "end": (i + 1) * 500,
                    "time_base": Fraction(1, 1000),
                    "metadata": {"title": f"Part {i}"},
                }
                for i in range(3)
            ]
        )
    out.start_encoding()
    packets: list[tuple[float, int, av.Packet]] = []

    def keep(new: list[av.Packet]) -> None:
        for packet in new:
            stamp = packet.dts if packet.dts is not None else packet.pts
            packets.append((float((stamp or 0) * packet.time_base), len(packets), packet))

    if picture is not None:
        rng = np.random.default_rng(1)
        for i in range(frames):
            image = rng.integers(0, 255, (size[1] * 3 // 2, size[0]), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="yuv420p")
            step = i + (i // 3 if vfr else 0)
            frame.pts, frame.time_base = video_start + step, Fraction(1, fps)
            keep(picture.encode(frame))
        keep(picture.encode(None))
    for sound, stream, layout in tracks:
        fmt = stream.codec_context.format.name
        kind = fmt.removesuffix("p")
        bits = 24 if "24" in sound.codec else {"u8": 8, "s16": 16, "s32": 32}.get(kind, 0)
        if sound.codec in ("flac", "alac") and kind == "s32":
            bits = 24
        raw = raw_samples(sound.samples, kind, bits)
        at, pieces = 0, []
        for where, length in (*sound.holes, (raw.shape[1], 0)):
            pieces.append((at, raw[:, at:where]))
            at = where + length
        for first, piece in pieces:
            step = 4096
            for k in range(0, piece.shape[1], step):
                part = piece[:, k : k + step]
                keep(
                    stream.encode(
                        audio_frame(part, fmt, layout, sound.rate, sound.start + first + k)
                    )
                )
        if raw.shape[1]:
            keep(stream.encode(None))
    if text is not None:
        for i in range(3):
            payload = f"Line {i}".encode()
            if subtitles == "mov_text":
                payload = len(payload).to_bytes(2, "big") + payload
            packet = av.Packet(payload)
            packet.stream, packet.time_base = text, Fraction(1, 1000)
            packet.pts = packet.dts = 100 + 500 * i
            packet.duration = 300
            keep([packet])
    for _, _, packet in sorted(packets, key=lambda p: p[:2]):
        out.mux(packet)
    out.close()
    return path


def repeat_media(path: Path, target: Path, piece_s: int, times: int) -> Path:
    """Write a file's packets again and again, `piece_s` later each time."""
    with av.open(str(path)) as source, av.open(str(target), "w") as out:
        streams = {s.index: out.add_stream_from_template(s, opaque=True) for s in source.streams}
        packets = [(p, bytes(p), p.pts, p.dts) for p in source.demux() if p.size]
        for turn in range(times):
            for like, payload, pts, dts in packets:
                assert pts is not None
                assert dts is not None
                packet, later = av.Packet(payload), round(turn * piece_s / like.time_base)
                packet.pts, packet.dts, packet.duration = pts + later, dts + later, like.duration
                packet.time_base, packet.is_keyframe = like.time_base, like.is_keyframe
                packet.stream = streams[like.stream_index]
                out.mux_one(packet)
    return target


@dataclass
class Decoded:
    """A decoded sound: `samples` `[C, n]` float64, `start_s` of the first one."""

    samples: NDArray[np.float64]
    raw: NDArray[np.generic]
    start_s: Fraction
    rate: int
    layout: str


def decode_audio(path: Path, n: int = 0) -> Decoded:
    """Decode the n-th sound with nothing of the product in between."""
    with av.open(str(path)) as source:
        stream = source.streams.audio[n]
        rows, start = [], Fraction(0)
        for frame in source.decode(stream):
            channels = frame.layout.nb_channels
            dtype = np.dtype(_DTYPES[frame.format.name.removesuffix("p")])
            if frame.format.is_planar:
                data = np.stack(
                    [np.frombuffer(p, dtype, frame.samples) for p in frame.planes[:channels]]
                )
            else:
                data = np.frombuffer(frame.planes[0], dtype, frame.samples * channels)
                data = data.reshape(-1, channels).T
            if not rows and frame.pts is not None:
                base = stream.time_base
                start = frame.pts * Fraction(base.numerator, base.denominator)
            rows.append(data.copy())
        context = stream.codec_context
        raw = (
            np.concatenate(rows, axis=1)
            if rows
            else np.zeros((context.layout.nb_channels, 0), np.float32)
        )
        samples = raw.astype(np.float64)
        if raw.dtype.kind in "iu":
            samples = (samples - (128 if raw.dtype == np.uint8 else 0)) / 2.0 ** (
                8 * raw.dtype.itemsize - 1
            )
        return Decoded(samples, raw, start, context.sample_rate, context.layout.name)


def lag_samples(reference: NDArray[np.floating], other: NDArray[np.floating]) -> int:
    """Samples by which `other` is late against `reference` (first channel), by FFT correlation."""
    a, b = np.asarray(reference[0], np.float64), np.asarray(other[0], np.float64)
    size = 1 << (len(a) + len(b) - 1).bit_length()
    product = np.fft.irfft(np.fft.rfft(b, size) * np.conj(np.fft.rfft(a, size)), size)
    peak = int(np.argmax(product))
    return peak if peak < len(b) else peak - size


@dataclass
class Packets:
    """What a stream's packets are: hash of all payloads, and every (pts, dts, size)."""

    kind: str
    digest: str
    stamps: list[tuple[Fraction | None, Fraction | None, int]]
    time_base: Fraction


def packets_of(path: Path) -> list[Packets]:
    """All packets of all streams, by demuxing."""
    with av.open(str(path)) as source:
        hashes = [hashlib.sha256() for _ in source.streams]
        stamps: list[list[tuple[Fraction | None, Fraction | None, int]]] = [
            [] for _ in source.streams
        ]
        for packet in source.demux():
            if packet.pts is None and packet.dts is None and not packet.size:
                continue
            base = Fraction(packet.time_base.numerator, packet.time_base.denominator)
            index = packet.stream_index
            hashes[index].update(bytes(packet))
            stamps[index].append(
                (
                    None if packet.pts is None else packet.pts * base,
                    None if packet.dts is None else packet.dts * base,
                    packet.size,
                )
            )
        return [
            Packets(
                s.type,
                hashes[s.index].hexdigest(),
                stamps[s.index],
                Fraction(s.time_base.numerator, s.time_base.denominator),
            )
            for s in source.streams
        ]
