"""Context vectors of a film's frames, one a second, embedded ahead of the sound."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from semmix_rt.ahead import AheadFeed
from semmix_rt.cues.seconds import STEP_S, iter_seconds
from semmix_rt.encoders import FrameEmbedder
from semmix_rt.report import CueReport
from semmix_rt.window_context import Held

# Vectors are small; frames are not kept.
_SECONDS_AHEAD = 4096


class FrameFeed(AheadFeed[Held]):
    """The vectors of one film's picture in order of time, made by a thread of its own.

    Use as a context manager: the thread runs from entering to leaving.

    Attributes:
        doubts: none; features are no claims about the picture.
    """

    doubts = ""

    def __init__(self, path: Path, embedder: FrameEmbedder) -> None:
        """Prepare; nothing is decoded yet.

        Args:
            path: the film; without a moving picture there are no vectors.
            embedder: makes vectors of frames, in the thread.
        """
        self._path, self._embedder = path, embedder
        self._seconds = 0
        super().__init__(self._prepare(), _SECONDS_AHEAD, "semmix-frames")

    def __iter__(self) -> Iterator[Held]:
        """Vectors, each once over all iterators.

        Raises:
            MediaError: the picture cannot be decoded.
            ModelFormatError: the encoder is damaged.
        """
        for held in self._ahead:
            self._seconds += 1
            yield held

    def drain(self) -> None:
        """Nothing: what the sound does not need is of no use to anyone."""

    def preview(self) -> CueReport:
        """Where the vectors would come from; nothing is decoded."""
        return self._report(None)

    def report(self) -> CueReport:
        """Where the vectors came from."""
        return self._report(self._seconds)

    def _report(self, seconds: int | None) -> CueReport:
        return CueReport(
            source="extractor",
            path=None,
            extractor=self._embedder.identifier,
            picture_hash="",
            segments=seconds,
            unknown_share=0.0 if seconds else None,
        )

    def _prepare(self) -> Iterator[Held]:
        """The last vector holds for the rest of the sound."""
        last: Held | None = None
        for time_s, image in iter_seconds(self._path, self._embedder.side_px):
            if last is not None:
                yield last
            last = Held(time_s, time_s + STEP_S, self._embedder(image))
        if last is not None:
            yield Held(last.start_s, float("inf"), last.vector)
