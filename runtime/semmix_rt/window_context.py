"""Which context vector holds when, for networks that take one at each of a window's seconds."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semmix.cues.types import CueSegment
from semmix.errors import UsageError
from semmix_rt.timeline import HOLD_S

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Held:
    """A vector and the stretch of time it speaks for, unless a later one begins within it.

    Attributes:
        start_s, end_s: on the container's timeline.
        vector: float32 `[D]`.
    """

    start_s: float
    end_s: float
    vector: Float32


class HeldVectors:
    """Pulls vectors lazily and answers for windows of time; zeros where none speaks.

    Args:
        source: in order of `start_s`; a thread may still be making the later ones.
        dim: width D of a vector.
    """

    def __init__(self, source: Iterable[Held], dim: int) -> None:
        self._source = iter(source)
        self._held: deque[Held] = deque()
        self._ended = False
        self._dim = dim

    def at(self, times_s: NDArray[np.float64]) -> Float32:
        """Vectors `[K, D]` at ascending times `[K]`, none before the first of an earlier call."""
        # One that begins later proves that all up to the last time are here.
        while not self._ended and (not self._held or self._held[-1].start_s <= times_s[-1]):
            following = next(self._source, None)
            self._ended = following is None
            if following is not None:
                self._held.append(following)
        while len(self._held) > 1 and self._held[1].start_s <= times_s[0]:
            self._held.popleft()
        vectors = np.zeros((len(times_s), self._dim), np.float32)
        for row, time_s in zip(vectors, times_s, strict=True):
            begun = [held for held in self._held if held.start_s <= time_s]
            if begun and time_s < begun[-1].end_s:
                row[:] = begun[-1].vector
        return vectors


def check_vectors(vectors: Sequence[Held], dim: int) -> None:
    """Refuse vectors that nobody could answer with.

    Args:
        vectors: what will be held.
        dim: width D that the network takes.

    Raises:
        UsageError: one of another shape or type, with NaN or infinity, out of order of time, or
            with times that are no numbers.
    """
    before_s = -math.inf
    for number, held in enumerate(vectors):
        vector = np.asarray(held.vector)
        if vector.shape != (dim,) or vector.dtype.kind != "f":
            raise UsageError(
                f"context vector {number} has the shape {list(vector.shape)} of {vector.dtype}: "
                f"the model takes floats [{dim}]"
            )
        if not np.isfinite(vector).all():
            raise UsageError(f"context vector {number} holds NaN or infinity: repair it")
        if not (math.isfinite(held.start_s) and before_s <= held.start_s < held.end_s):
            raise UsageError(
                f"context vector {number} speaks for {held.start_s} to {held.end_s} s after one "
                f"from {before_s} s on: give them in the order of time, none of them empty"
            )
        before_s = held.start_s


def held_segments(
    segments: Iterable[CueSegment], embed: Callable[[CueSegment], Float32]
) -> Iterator[Held]:
    """A vector for each cue segment, which a short gap after it keeps.

    Args:
        segments: in order of time.
        embed: a segment's one embedding, `[1, D]`.
    """
    for segment in segments:
        yield Held(segment.start_s, segment.end_s + HOLD_S, embed(segment)[0])
