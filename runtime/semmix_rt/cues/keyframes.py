"""The frames that cues are read from, at true presentation times.

Times are timestamps of the container, never frame counts, so that variable frame rates, start
offsets and 30000/1001 need no care. See `semmix_rt.cues.sampling` for what is decoded and
`semmix_rt.cues.shots` for what counts as a cut.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semmix.errors import UsageError
from semmix_rt.cues.picture import PictureIndex, index_picture
from semmix_rt.cues.sampling import GAP_SLACK, Sample, iter_samples
from semmix_rt.cues.shots import CUT, difference, luma_change

CHANGE = 0.3
"""Difference from a keyframe at which its shot is worth another one; half way to a cut."""


@dataclass(frozen=True, slots=True)
class KeyframeOptions:
    """What decides which frames become keyframes; part of the cue cache's key.

    Attributes:
        max_interval_s: a keyframe stands for about this long at most: for up to 1.2 times as
            long where the film has no frame that decodes cheaply in time.
        min_interval_s: a keyframe stands for at least this long, unless the film is shorter.
        max_side_px: longer side of the images.
    """

    max_interval_s: float = 5.0
    min_interval_s: float = 0.7
    max_side_px: int = 512

    def check(self) -> None:
        """Refuse options that make no sense.

        Raises:
            UsageError: not finite, not positive, or the minimum above the maximum.
        """
        if not (
            math.isfinite(self.max_interval_s)
            and 0.0 < self.min_interval_s <= self.max_interval_s
            and 16 <= self.max_side_px <= 4096
        ):
            raise UsageError(
                f"keyframes every {self.min_interval_s} to {self.max_interval_s} s with "
                f"{self.max_side_px} px cannot be taken: ask for 0 < minimum <= maximum and "
                "16 to 4096 px"
            )


@dataclass(frozen=True, slots=True)
class Keyframe:
    """A picture that stands for a stretch of the film.

    Attributes:
        time_s: start of the stretch, presentation time on the container's timeline.
        end_s: end of the stretch, the next keyframe's `time_s` or the end of the picture.
        shot: number of the shot it lies in, counted from 0.
        image: uint8 RGB `[H, W, 3]`, longer side at most `max_side_px`.
        motion: how much the picture changes within its shot, 0 (still) to 1: mean absolute
            change of block luma between samples a second or more apart.
    """

    time_s: float
    end_s: float
    shot: int
    image: NDArray[np.uint8]
    motion: float


def iter_keyframes(
    path: str | Path,
    options: KeyframeOptions | None = None,
    *,
    index: PictureIndex | None = None,
    threads: int = 1,
) -> Iterator[Keyframe]:
    """Yield the keyframes of a film in order of time, while it is being decoded.

    They cover the picture without gaps from its first frame to its end. A keyframe starts
    where a shot starts, where the picture has changed, and at least every `max_interval_s`.
    A file without a moving picture yields nothing.

    Args:
        path: media file.
        options: intervals and image size.
        index: result of `index_picture(path)`, made here if not given.
        threads: decoder threads; one, because the remix runs beside.

    Raises:
        MediaError: the file cannot be opened or no frame can be decoded.
        UsageError: options that make no sense.
    """
    options = options or KeyframeOptions()
    options.check()
    index = index or index_picture(path)
    if index is None:
        return
    samples = iter_samples(
        path,
        index,
        max_interval_s=options.max_interval_s,
        max_side_px=options.max_side_px,
        threads=threads,
    )
    yield from _join(samples, index, options)


@dataclass(slots=True)
class _Stretch:
    """A keyframe in the making."""

    start_s: float
    sample: Sample
    shot: int
    last: Sample
    change_sum: float = 0.0
    changes: int = 0

    def add(self, sample: Sample) -> None:
        """Take in another sample of the same shot: only its motion counts."""
        self.change_sum += luma_change(self.last.signature, sample.signature)
        self.changes += 1
        self.last = sample

    def keyframe(self, end_s: float) -> Keyframe:
        """The finished keyframe."""
        motion = self.change_sum / self.changes if self.changes else 0.0
        return Keyframe(self.start_s, end_s, self.shot, self.sample.image, motion)


def _join(
    samples: Iterator[Sample], index: PictureIndex, options: KeyframeOptions
) -> Iterator[Keyframe]:
    """Join samples that show the same, and stretches too short to be heard.

    A stretch is given out when the one after it has proved long enough: a short one gives its
    time to the stretch before it, so that the cut after it keeps its place. A short one at the
    start has none before it and gives its time to the one after.
    """
    ready: _Stretch | None = None
    current: _Stretch | None = None
    upcoming = next(samples, None)
    while upcoming is not None:
        sample, upcoming = upcoming, next(samples, None)
        if current is None:
            current = _Stretch(index.start_s, sample, 0, sample)
            continue
        cut = difference(current.last.signature, sample.signature) >= CUT
        if not cut and not _is_due(current, sample, upcoming, index, options):
            current.add(sample)
            continue
        following = _Stretch(sample.time_s, sample, current.shot + cut, current.last)
        if not cut:
            current.add(sample)
            following.add(sample)
        following.last = sample
        if sample.time_s - current.start_s >= options.min_interval_s:
            if ready is not None:
                yield ready.keyframe(current.start_s)
            ready = current
        elif ready is None:
            following.start_s = current.start_s
        current = following
    if current is None:
        return
    if ready is not None:
        if index.end_s - current.start_s < options.min_interval_s:
            yield ready.keyframe(index.end_s)
            return
        yield ready.keyframe(current.start_s)
    yield current.keyframe(index.end_s)


def _is_due(
    current: _Stretch,
    sample: Sample,
    upcoming: Sample | None,
    index: PictureIndex,
    options: KeyframeOptions,
) -> bool:
    """Whether a sample of the same shot is to become a keyframe of its own."""
    if sample.time_s - current.start_s < options.min_interval_s:
        return False
    if difference(current.sample.signature, sample.signature) >= CHANGE:
        return True
    next_s = index.end_s if upcoming is None else upcoming.time_s
    return next_s - current.start_s > options.max_interval_s * GAP_SLACK
