"""Small made films with known cuts, written with PyAV alone."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition

SIZE = (96, 160)


def scene(number: int, phase: float = 0.0) -> np.ndarray:
    """A picture uint8 [96, 160, 3] of its own colours and layout; `phase` moves a bar in it."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 256, (6, 10, 3)).astype(np.float64)
    tint = rng.integers(0, 256, 3)
    # Texture makes encoders notice the cut: flat blocks are cheap to predict from anything.
    texture = rng.normal(0, 30, (*SIZE, 1))
    image = np.kron(coarse, np.ones((16, 16, 1))) * 0.5 + tint * 0.5 + texture
    column = int(phase * 20) % 150
    image[40:56, column : column + 10] = 255
    return image.clip(0, 255).astype(np.uint8)


def write_film(
    path: Path,
    frames: Sequence[tuple[int, np.ndarray]],
    *,
    codec: str = "libx264",
    time_base: Fraction = Fraction(1, 24),
    options: dict[str, str] | None = None,
    tone_hz: float | None = None,
    cover: bytes | None = None,
    muxer: dict[str, str] | None = None,
) -> Path:
    """Write frames, each with its timestamp in `time_base`, and optionally a sine tone."""
    with av.open(str(path), "w", options=muxer or {}) as out:
        cover_stream = None
        if cover is not None:
            cover_stream = out.add_stream("png", rate=1)
            cover_stream.width, cover_stream.height, cover_stream.pix_fmt = 16, 16, "rgb24"
            cover_stream.disposition = Disposition.attached_pic
        if frames:
            rate = 24 if time_base.numerator == 1 else 1 / time_base
            video = out.add_stream(codec, rate=rate, options=options or {})
            height, width = frames[0][1].shape[:2]
            video.width, video.height = width, height
            video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            video.codec_context.time_base = time_base
            video.codec_context.thread_count = 1
        if tone_hz is not None:
            audio = out.add_stream("aac", rate=48_000, layout="mono")
        if cover_stream is not None:
            out.start_encoding()
            packet = av.Packet(cover)
            packet.stream, packet.pts, packet.dts = cover_stream, 0, 0
            packet.time_base = Fraction(1, 1)
            packet.is_keyframe = True
            out.mux(packet)
        for pts, image in frames:
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=video.pix_fmt)
            frame.pts, frame.time_base = pts, time_base
            out.mux(video.encode(frame))
        if frames:
            out.mux(video.encode(None))
        if tone_hz is not None:
            wave = 0.2 * np.sin(2 * np.pi * tone_hz * np.arange(48_000) / 48_000)
            sound = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), "fltp", "mono")
            sound.sample_rate, sound.pts = 48_000, 0
            out.mux(audio.encode(sound))
            out.mux(audio.encode(None))
    return path


def film_frames(
    cuts: Sequence[int], length: int, *, first: int = 0, step: int = 1, seed: int = 0
) -> list[tuple[int, np.ndarray]]:
    """Frames 0 to `length` with a new scene at each cut; `first` and `step` make timestamps."""
    frames = []
    for number in range(length):
        shot = sum(number >= cut for cut in cuts)
        frames.append((first + step * number, scene(seed + shot, number / 24)))
    return frames
