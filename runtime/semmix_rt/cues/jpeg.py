"""Pictures as JPEG files, for pages that hold thousands of them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

_QUALITY_SCALE = 3
"""On FFmpeg's scale of 2, the best, to 31: no blocks to be seen, at a sixth of a PNG."""


def jpeg_bytes(image: NDArray[np.uint8]) -> bytes:
    """Encode uint8 RGB `[H, W, 3]` as baseline JPEG, by PyAV."""
    import av
    from av.video.reformatter import ColorRange

    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.height, encoder.width, _ = image.shape
    encoder.pix_fmt = "yuvj420p"
    encoder.color_range = ColorRange.JPEG
    encoder.time_base = Fraction(1, 1)
    encoder.options = {"qmin": str(_QUALITY_SCALE), "qmax": str(_QUALITY_SCALE)}
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuvj420p")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))
