"""Samples as the codecs hold them, to and from float blocks `[C, n]` with full scale 1.0.

Integer samples of up to 24 bits become float32 and come back bit for bit; 32-bit integers
and doubles travel as float64.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from numpy.typing import NDArray

from semmix.errors import MediaError

Float = NDArray[np.float32] | NDArray[np.float64]
FloatDtype = np.dtype[np.float32] | np.dtype[np.float64]

_DTYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}


def block_dtype(sample_format: str, bits: int) -> FloatDtype:
    """The float type that holds a source's samples: float64 beyond 24 significant bits.

    Raises:
        MediaError: an unknown sample format.
    """
    kind = _kind(sample_format)
    if kind in ("dbl", "s64") or (kind == "s32" and not 0 < bits <= 24):
        return np.dtype(np.float64)
    return np.dtype(np.float32)


def to_float(frame: AudioFrame, channels: int, dtype: FloatDtype) -> Float:
    """A decoded frame as a new array `[C, n]` of `dtype`."""
    name = frame.format.name
    kind = _kind(name)
    source = np.dtype(_DTYPES[kind])
    count = frame.samples
    if frame.format.is_planar:
        # `planes` may list more than there are channels (8 and more), hence the slice.
        planes = [np.frombuffer(p, source, count) for p in frame.planes[:channels]]
        raw = np.stack(planes)
    else:
        flat = np.frombuffer(frame.planes[0], source, count * channels)
        raw = np.ascontiguousarray(flat.reshape(count, channels).T)
    if source.kind == "f":
        return raw.astype(dtype, copy=False)
    block: Float = raw.astype(dtype)
    if kind == "u8":
        block -= 128.0
    block *= 2.0 ** (1 - 8 * source.itemsize)
    return block


def from_float(
    block: Float, sample_format: str, bits: int, layout: str, sample_rate_hz: int, first: int
) -> tuple[AudioFrame, int]:
    """A frame for the encoder, and how many values had to be clipped.

    Args:
        block: `[C, n]`, full scale 1.0.
        sample_format: FFmpeg's name of what the encoder takes.
        bits: significant bits of an integer format; rounding is half to even.
        layout: channel layout.
        sample_rate_hz: samples per second.
        first: position of the first sample, in samples.
    """
    kind = _kind(sample_format)
    target = np.dtype(_DTYPES[kind])
    clipped = 0
    if target.kind == "f":
        data: NDArray[Any] = np.asarray(block, dtype=target)
    else:
        # 32-bit values exceed float32's 24-bit significand: round and clip in float64.
        wide = block.astype(np.float64 if bits > 24 else block.dtype)
        wide *= 2.0 ** (bits - 1)
        np.rint(wide, out=wide)
        low, high = -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1.0
        clipped = int(np.count_nonzero(wide < low) + np.count_nonzero(wide > high))
        np.clip(wide, low, high, out=wide)
        if kind == "u8":
            data = (wide + 128.0).astype(target)
        else:
            data = wide.astype(target)
            data <<= 8 * target.itemsize - bits
    count = block.shape[1]
    frame = av.AudioFrame(format=sample_format, layout=layout, samples=count)
    if frame.format.is_planar:
        for plane, row in zip(frame.planes, data, strict=False):
            plane.update(np.ascontiguousarray(row))
    else:
        frame.planes[0].update(np.ascontiguousarray(data.T))
    frame.sample_rate = sample_rate_hz
    frame.time_base = Fraction(1, sample_rate_hz)
    frame.pts = first
    return frame, clipped


def silence(like: AudioFrame, channels: int, samples: int) -> AudioFrame:
    """A silent frame in the format, layout and rate of `like`."""
    rows = _raw(like, channels)
    value = 128 if _kind(like.format.name) == "u8" else 0
    return _frame(np.full((channels, samples), value, rows.dtype), like)


def without_head(frame: AudioFrame, channels: int, samples: int) -> AudioFrame:
    """`frame` without its first `samples`."""
    return _frame(_raw(frame, channels)[:, samples:], frame)


def _raw(frame: AudioFrame, channels: int) -> NDArray[Any]:
    dtype = np.dtype(_DTYPES[_kind(frame.format.name)])
    if frame.format.is_planar:
        planes = frame.planes[:channels]
        return np.stack([np.frombuffer(p, dtype, frame.samples) for p in planes])
    flat = np.frombuffer(frame.planes[0], dtype, frame.samples * channels)
    return flat.reshape(-1, channels).T


def _frame(rows: NDArray[Any], like: AudioFrame) -> AudioFrame:
    frame = av.AudioFrame(format=like.format.name, layout=like.layout, samples=rows.shape[1])
    if frame.format.is_planar:
        for plane, row in zip(frame.planes, rows, strict=False):
            plane.update(np.ascontiguousarray(row))
    else:
        frame.planes[0].update(np.ascontiguousarray(rows.T))
    frame.sample_rate = like.sample_rate
    return frame


def _kind(sample_format: str) -> str:
    kind = sample_format.removesuffix("p")
    if kind not in _DTYPES:
        raise MediaError(
            f"the audio decoder yields samples of the unknown format {sample_format!r}: "
            "convert the sound to PCM or AAC first"
        )
    return kind
