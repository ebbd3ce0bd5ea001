"""A frame of the picture for every second, by presentation time.

Every frame is decoded, as those between key frames are wanted too. Rotation metadata and anamorphic
pixels are not applied.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from semmix.errors import MediaError
from semmix_rt.cues.picture import MAX_PIXELS, open_container, packets_of, picture_stream

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.stream import VideoStream

STEP_S = 1.0


def iter_seconds(path: Path, side_px: int) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Yield the frame on screen at the first frame's time and at every second after it.

    Args:
        path: media file; without a moving picture it yields nothing.
        side_px: side of the square: the middle of the picture, scaled so that its shorter side
            fits, as CLIP sees pictures.

    Yields:
        the time on the container's timeline, and RGB `[side_px, side_px, 3]`.

    Raises:
        MediaError: the file cannot be opened, its frames are too large, or none decodes.
    """
    with open_container(path) as container:
        stream = picture_stream(container)
        if stream is None:
            return
        if stream.codec_context.width * stream.codec_context.height > MAX_PIXELS:
            raise MediaError(
                f"the picture of {path} claims more than {MAX_PIXELS} pixels: the file is damaged, "
                "or scale it down first"
            )
        shown: VideoFrame | None = None
        start_s = shown_s = math.nan
        count = 0
        for time_s, frame in _frames(stream, packets_of(container, stream)):
            if shown is None:
                start_s = time_s
            else:
                # At every second before this frame, the one before it was on screen.
                while start_s + count * STEP_S < time_s:
                    yield start_s + count * STEP_S, _square(shown, side_px)
                    count += 1
            shown, shown_s = frame, time_s
        if shown is None:
            raise MediaError(
                f"no frame of {path} can be decoded: the picture is damaged, re-create the file"
            )
        if start_s + count * STEP_S <= shown_s:
            yield start_s + count * STEP_S, _square(shown, side_px)


def _frames(stream: VideoStream, packets: Iterator) -> Iterator[tuple[float, VideoFrame]]:  # type: ignore[type-arg]
    """Whole frames with ascending times; damage yields none."""
    from itertools import chain

    import av

    context = stream.codec_context
    context.thread_count = 1
    context.options = {"max_pixels": str(MAX_PIXELS)}
    last_s = -math.inf
    for packet in chain(packets, (None,)):
        try:
            frames = context.decode(packet)
        except av.error.FFmpegError:
            continue
        for frame in frames:
            if frame.pts is None or frame.is_corrupt or stream.time_base is None:
                continue
            time_s = float(frame.pts * stream.time_base)
            if time_s > last_s:
                last_s = time_s
                yield time_s, frame


def _square(frame: VideoFrame, side_px: int) -> NDArray[np.uint8]:
    """The middle of a frame as RGB `[side_px, side_px, 3]`."""
    scale = side_px / min(frame.width, frame.height)
    width = max(side_px, round(frame.width * scale))
    height = max(side_px, round(frame.height * scale))
    small = frame.reformat(width=width, height=height, format="rgb24", interpolation="BICUBIC")
    image = np.asarray(small.to_ndarray(), np.uint8)
    top, left = (height - side_px) // 2, (width - side_px) // 2
    return np.ascontiguousarray(image[top : top + side_px, left : left + side_px])
