"""Which cues rule which frame: tokens and their shares for one chunk at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semmix.cues.types import CueSegment
from semmix.specs import ModelSpec

_log = logging.getLogger(__name__)

Float32 = NDArray[np.float32]
HOLD_S = 1.0
"""Gaps up to this long keep the cues before them."""


def unknown_cues(spec: ModelSpec) -> Float32:
    """Embeddings of a segment about which nothing is known, zeros `[K, E]`."""
    return np.zeros((len(spec.cue_types), spec.embedding_dim), np.float32)


@dataclass
class _Span:
    start_s: float
    end_s: float
    tokens: Float32


class CueTimeline:
    """Pull segments lazily and answer for windows of time in ascending order.

    Args:
        segments: in order of time; a thread may still be making the later ones.
        embed: a segment's cue embeddings `[K, E]`.
        encode_context: `[N, K, E]` to context tokens `[N, K, D]`.
        max_segments: S, tokens of how many segments one chunk can hold.
        ramp_s: length of the cross-fade of cues, centred on each boundary.
        unknown: embeddings `[K, E]` of "nothing is known", zeros.
    """

    def __init__(
        self,
        segments: Iterable[CueSegment],
        embed: Callable[[CueSegment], Float32],
        encode_context: Callable[[Float32], Float32],
        max_segments: int,
        ramp_s: float = 0.2,
        *,
        unknown: Float32,
    ) -> None:
        self._source: Iterator[CueSegment] = iter(segments)
        self._embed = embed
        self._encode = encode_context
        self._max_segments = max_segments
        self._ramp_s = ramp_s
        self._unknown = encode_context(unknown[None])[0]
        self._spans: list[_Span] = []
        self._known_until_s = -np.inf
        self.merged = 0

    def window(self, times_s: NDArray[np.float64]) -> tuple[Float32, Float32]:
        """Tokens and shares for a chunk's output frames.

        Args:
            times_s: ascending times of the frames `[T]`, later than those asked before.

        Returns:
            tokens `[S, K, D]` and weights `[T, S]` whose rows sum to 1.
        """
        first, last = float(times_s[0]), float(times_s[-1])
        self._pull(last + self._ramp_s)
        while len(self._spans) > 1 and self._spans[0].end_s < first - self._ramp_s:
            self._spans.pop(0)
        spans = [
            s
            for s in self._spans
            if s.end_s > first - self._ramp_s and s.start_s < last + self._ramp_s
        ] or [_Span(-np.inf, np.inf, self._unknown)]
        spans = self._fit(spans, first, last)
        tokens = np.repeat(self._unknown[None], self._max_segments, 0)
        weights = np.zeros((len(times_s), self._max_segments), np.float32)
        remaining = np.ones(len(times_s))
        for i, span in enumerate(spans):
            tokens[i] = span.tokens
            if i + 1 < len(spans):
                later = np.clip((times_s - span.end_s) / self._ramp_s + 0.5, 0.0, 1.0)
            else:
                later = np.zeros(len(times_s))
            weights[:, i] = remaining * (1.0 - later)
            remaining = remaining * later
        return tokens, weights

    def _pull(self, until_s: float) -> None:
        """Read segments until the timeline is known up to a time, filling gaps with unknown."""
        while self._known_until_s < until_s:
            segment = next(self._source, None)
            if segment is None:
                end = self._known_until_s
                if self._spans and np.isfinite(end):
                    self._spans[-1].end_s = end + HOLD_S
                    end += HOLD_S
                self._append(_Span(end, np.inf, self._unknown))
                return
            start = segment.start_s
            if not self._spans and start <= HOLD_S:
                # The network hears a look-ahead of silence before the film. It has learnt that
                # as part of the first shot, and remembers it for seconds.
                start = -np.inf
            elif start - self._known_until_s > HOLD_S:
                self._append(_Span(self._known_until_s, start, self._unknown))
            else:
                self._spans[-1].end_s = start
            tokens = self._encode(self._embed(segment)[None])[0]
            self._append(_Span(start, segment.end_s, tokens))

    def _append(self, span: _Span) -> None:
        self._spans.append(span)
        self._known_until_s = span.end_s

    def _fit(self, spans: list[_Span], first: float, last: float) -> list[_Span]:
        """Give the shortest spans to the neighbour before them until S are left."""
        spans = [_Span(s.start_s, s.end_s, s.tokens) for s in spans]
        while len(spans) > self._max_segments:
            inside = [min(s.end_s, last) - max(s.start_s, first) for s in spans]
            shortest = int(np.argmin(inside))
            if shortest:
                spans[shortest - 1].end_s = spans[shortest].end_s
            else:
                spans[1].start_s = spans[0].start_s
            del spans[shortest]
            self.merged += 1
            _log.debug("more than %d cue segments in one chunk: merged one", self._max_segments)
        return spans
