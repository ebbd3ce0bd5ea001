"""The sound of a file alone, for measurements beside the one pass that copies it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from av.audio.stream import AudioStream
from av.stream import Discard
from numpy.typing import NDArray

from semmix.errors import MediaError
from semmix_rt.media.probe import describe, open_input
from semmix_rt.media.reader import AudioReader

Float = NDArray[np.float32] | NDArray[np.float64]


def audio_blocks(path: Path, index: int, block_samples: int) -> Iterator[tuple[int, Float]]:
    """Decode one stream on its own timeline.

    Args:
        path: media file.
        index: of the audio stream in it.
        block_samples: samples in a block; the last one may be shorter.

    Yields:
        the position of a block's first sample on the container's timeline, in samples, and the
        block `[C, n]`, full scale 1.0.

    Raises:
        MediaError: the file cannot be read, or has no such sound.
    """
    with open_input(path) as source:
        info = describe(source, path)
        audio = next((s for s in info.audio_streams if s.index == index), None)
        if audio is None:
            raise MediaError(f"{path} has no sound in stream {index}: the file has changed")
        for other in source.streams:
            if other.index != index:
                # Where the container allows it, their bytes are not even read.
                other.discard = Discard.all
        stream = source.streams[index]
        assert isinstance(stream, AudioStream)
        reader = AudioReader(stream, audio, block_samples, path)
        position = 0
        for packet in source.demux(stream):
            for block in reader.feed(packet) if packet.size else reader.finish():
                yield reader.start_sample + position, block
                position += block.shape[1]
