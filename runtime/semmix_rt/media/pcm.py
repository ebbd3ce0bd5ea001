"""Samples as the codecs hold them, to and from float blocks `[C, n]` with full scale 1.0.

Integer samples of up to 24 bits become float32 and come back bit for bit; 32-bit integers
and doubles travel as float64.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, cast

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
        planes = [_view(p, source, count) for p in frame.planes[:channels]]
        raw = np.stack(planes)
    else:
        flat = _view(frame.planes[0], source, count * channels)
        raw = np.ascontiguousarray(flat.reshape(count, channels).T)
    block: Any = raw.astype(dtype, copy=source.kind != "f")
    if source.kind == "f":
        return cast(Float, block)
    if kind == "u8":
        block -= 128.0
    block *= 2.0 ** (1 - 8 * source.itemsize)
    return cast(Float, block)


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
        wide: Any = block.astype(np.float64 if bits > 24 else block.dtype)
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
    frame = _frame(data, sample_format, layout)
    frame.sample_rate = sample_rate_hz
    frame.time_base = Fraction(1, sample_rate_hz)
    frame.pts = first
    return frame, clipped


def silence(like: AudioFrame, channels: int, samples: int) -> AudioFrame:
    """A silent frame in the format, layout and rate of `like`."""
    kind = _kind(like.format.name)
    rows = np.full((channels, samples), 128 if kind == "u8" else 0, _DTYPES[kind])
    return _alike(rows, like)


def without_head(frame: AudioFrame, channels: int, samples: int) -> AudioFrame:
    """`frame` without its first `samples`."""
    dtype = np.dtype(_DTYPES[_kind(frame.format.name)])
    if frame.format.is_planar:
        rows = np.stack([_view(p, dtype, frame.samples) for p in frame.planes[:channels]])
    else:
        rows = _view(frame.planes[0], dtype, frame.samples * channels).reshape(-1, channels).T
    return _alike(rows[:, samples:], frame)


def _alike(rows: NDArray[Any], like: AudioFrame) -> AudioFrame:
    frame = _frame(rows, like.format.name, like.layout)
    frame.sample_rate = like.sample_rate
    return frame


def _frame(rows: NDArray[Any], sample_format: str, layout: Any) -> AudioFrame:
    """A frame of the raw samples `rows` `[C, n]`."""
    frame = AudioFrame(format=sample_format, layout=layout, samples=rows.shape[1])
    if frame.format.is_planar:
        # `planes` may list more than there are channels (8 and more): stop at the last row.
        for plane, row in zip(frame.planes, rows, strict=False):
            _fill(plane, row)
    else:
        _fill(frame.planes[0], rows.T)
    return frame


def _fill(plane: Any, samples: NDArray[Any]) -> None:
    plane.update(np.ascontiguousarray(samples))


def _view(plane: Any, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    return np.frombuffer(plane, dtype, count)


def _kind(sample_format: str) -> str:
    kind = sample_format.removesuffix("p")
    if kind not in _DTYPES:
        raise MediaError(
            f"the audio decoder yields samples of the unknown format {sample_format!r}: "
            "convert the sound to PCM or AAC first"
        )
    return kind
