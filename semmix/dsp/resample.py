"""Sample-rate conversion of streams (soxr), with exact lengths."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray


class ResampleStream:
    """Blocks `[C, n]` at one rate in, blocks at another out; equal rates pass through.

    Args:
        in_hz, out_hz: rates.
        channels: number of channels C.
    """

    def __init__(self, in_hz: int, out_hz: int, channels: int) -> None:
        self._soxr = (
            None
            if in_hz == out_hz
            else soxr.ResampleStream(in_hz, out_hz, channels, dtype="float32", quality="HQ")
        )

    def push(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take in `[C, n]`, return what is ready."""
        return self._run(block, last=False)

    def finish(self, channels: int) -> NDArray[np.float32]:
        """Return the rest."""
        return self._run(np.zeros((channels, 0), np.float32), last=True)

    def _run(self, block: NDArray[np.float32], last: bool) -> NDArray[np.float32]:
        block = block.astype(np.float32, copy=False)
        if self._soxr is None:
            return block
        interleaved = np.ascontiguousarray(block.T)
        out = self._soxr.resample_chunk(interleaved, last=last)
        return np.ascontiguousarray(np.asarray(out, np.float32).T)
