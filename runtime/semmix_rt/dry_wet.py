"""The untouched stream, kept until the change that belongs to it is known."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from semmix.dsp.mask import dry_wet

Float32 = NDArray[np.float32]
Block = NDArray[np.floating]

_RESAMPLER_HELD = 3_000
"""Upper bound of what the two soxr HQ filters hold back, in samples of the lower rate: measured at
2700 and less between rates from 1 to 384 kHz."""


def stream_latency(model_samples: int, model_rate_hz: int, sample_rate_hz: int) -> int:
    """Most samples a stream holds back, at its own rate.

    Args:
        model_samples: what is held back at the model's rate.
        model_rate_hz, sample_rate_hz: of the model and of the stream.
    """
    held = 0.0
    if sample_rate_hz != model_rate_hz:
        held = _RESAMPLER_HELD * model_rate_hz / min(sample_rate_hz, model_rate_hz)
    return math.ceil((model_samples + held) * sample_rate_hz / model_rate_hz)


class DryWet:
    """Mixes a stream with its change, which comes later and in other pieces.

    Args:
        channels: number of channels C.
        amount: share of the change, 0 to 1.
    """

    def __init__(self, channels: int, amount: float) -> None:
        self._channels, self._amount = channels, amount
        self._dtype: np.dtype[np.floating] = np.dtype(np.float32)
        self._dry: list[Block] = []
        self._dry_held = 0
        self._change: list[Block] = []
        self._change_held = 0

    @property
    def waiting(self) -> bool:
        """Whether samples wait for their change."""
        return self._dry_held > 0

    def push(self, block: Block) -> None:
        """Take in the untouched `[C, n]`, whose dtype the output has; keeps the array."""
        self._dtype = block.dtype
        if block.shape[1]:
            self._dry.append(block)
            self._dry_held += block.shape[1]

    def push_change(self, change: Float32) -> None:
        """Take in what is to be added, `[C, n]`; keeps the array."""
        if change.shape[1]:
            self._change.append(change)
            self._change_held += change.shape[1]

    def ready(self) -> Block:
        """Samples `[C, m]` of which both the dry signal and the change are known."""
        count = min(self._dry_held, self._change_held)
        dry, self._dry = _cut(self._dry, count)
        change, self._change = _cut(self._change, count)
        self._dry_held -= count
        self._change_held -= count
        if dry is None or change is None:
            return np.zeros((self._channels, 0), self._dtype)
        return dry_wet(dry, change.astype(np.float32, copy=False), self._amount)

    def finish(self) -> Block:
        """All that is left; what the resamplers swallowed of the change's end is none."""
        short = self._dry_held - self._change_held
        if short > 0:
            self.push_change(np.zeros((self._channels, short), np.float32))
        return self.ready()


def _cut(queue: list[Block], count: int) -> tuple[Block | None, list[Block]]:
    """The first `count` samples of a queue of blocks, and the queue of the rest."""
    if count == 0:
        return None, queue
    taken: list[Block] = []
    while count:
        block = queue[0]
        if block.shape[1] <= count:
            taken.append(queue.pop(0))
            count -= block.shape[1]
        else:
            taken.append(block[:, :count])
            queue[0] = block[:, count:]
            count = 0
    return np.concatenate(taken, axis=1), queue
