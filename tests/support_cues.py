"""An extractor that needs no models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from semmix_rt.cues.described import Described
from semmix_rt.cues.keyframes import Keyframe

from semmix.cues.types import Cue, CueType


class ShotCounter:
    """Says which shot it sees, so that a test knows the right answer."""

    deterministic = True

    def __init__(self, identifier: str = "shot-counter/1", same: bool = False) -> None:
        self.identifier = identifier
        self.seen: list[float] = []
        self._same = same

    def read(self, keyframes: Iterator[Keyframe]) -> Iterator[Described]:
        return (Described(keyframe, self.describe(keyframe)) for keyframe in keyframes)

    def doubts(self) -> str:
        return ""

    def describe(self, keyframe: Keyframe) -> Mapping[CueType, Cue]:
        self.seen.append(keyframe.time_s)
        text = "Always the same." if self._same else f"Shot {keyframe.shot} at <{keyframe.time_s}>."
        return {CueType.SCENE: Cue(text, 1 / 3), CueType.TONE: Cue()}
