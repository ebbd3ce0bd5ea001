"""One pass over a media file: copy everything, hand one audio stream out and back in.

    with Transfer("in.mp4", "out.mp4") as transfer:
        for block in transfer.blocks():
            transfer.write(process(block))
        summary = transfer.finish()
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from semmix_rt.media.probe import AudioStreamInfo, MediaInfo
from semmix_rt.media.summary import TransferSummary

Block = NDArray[np.float32] | NDArray[np.float64]


class Transfer:
    """Copies a media file in one pass while one audio stream makes a detour through the caller.

    Every stream but the chosen one is packet-copied. The chosen one is decoded on its own
    timeline, handed out by `blocks()`, taken back by `write()`, encoded and muxed. The target
    appears only when `finish()` has re-read and verified it. Leaving the `with` block without
    `finish()` removes the temporary file; so does `abort()`.

    Attributes:
        info: the probed source.
        audio: the chosen stream.
        sample_rate_hz: its rate, in and out.
        channels: its channel count, in and out.
        dtype: of the blocks handed out: float32, or float64 for sources float32 cannot hold.
        expected_samples: samples the stream's duration promises (for progress), `None` if
            the container does not say.
    """

    info: MediaInfo
    audio: AudioStreamInfo
    sample_rate_hz: int
    channels: int
    dtype: np.dtype[np.float32] | np.dtype[np.float64]
    expected_samples: int | None

    def __init__(
        self,
        source: str | Path,
        target: str | Path,
        *,
        audio_stream: int | None = None,
        codec: str | None = None,
        bit_rate_bps: int | None = None,
        overwrite: bool = False,
        block_s: float = 0.5,
    ) -> None:
        """Check everything that can be checked before work starts; opens no thread yet.

        Args:
            source: media file to read.
            target: file to write; its suffix chooses the container.
            audio_stream: n-th audio stream, from 0; `None` takes the default one.
            codec: FFmpeg encoder name; `None` keeps what fits the container.
            bit_rate_bps: for lossy codecs; `None` chooses by the source.
            overwrite: replace an existing target (only once the new one is verified).
            block_s: length of the blocks handed out.

        Raises:
            MediaError: the source cannot be read, or the container cannot hold the result.
            UsageError: the target exists, is the source, or is a folder.
        """
        raise NotImplementedError

    def blocks(self) -> Iterator[Block]:
        """Yield the chosen stream as blocks `[C, n]`, full scale 1.0, in order, each once.

        Raises:
            MediaError: nothing can be decoded, or copying failed.
        """
        raise NotImplementedError

    def write(self, block: Block) -> None:
        """Take back processed audio `[C, n]`, any `n`; the total must equal what was read.

        Blocks while the encoder is behind. The block must not be changed afterwards.

        Raises:
            MediaError: encoding or muxing failed.
            ValueError: a wrong shape, NaN or infinity.
        """
        raise NotImplementedError

    def finish(self) -> TransferSummary:
        """Flush the encoder, verify the temporary file and move it to the target.

        Raises:
            MediaError: encoding or muxing failed, or not as much was written as read.
            VerificationError: the written file is not what was meant to be written.
        """
        raise NotImplementedError

    def abort(self) -> None:
        """Stop the threads and remove the temporary file; may be called at any time."""
        raise NotImplementedError

    def __enter__(self) -> Transfer:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.abort()
