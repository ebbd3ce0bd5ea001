"""What an extractor gives for each keyframe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from semmix.cues.answers import Reading
from semmix.cues.types import Cue, CueType
from semmix_rt.cues.keyframes import Keyframe


class Described(NamedTuple):
    """A keyframe with what was read from it.

    Attributes:
        keyframe: the frame and its place in the film.
        cues: one for each type; a missing type is unknown.
        readings: where a model was asked, its answers in order, as they were read: what it said,
            what that rests on, and why some of it does not count.
    """

    keyframe: Keyframe
    cues: Mapping[CueType, Cue]
    readings: tuple[Reading, ...] = ()
