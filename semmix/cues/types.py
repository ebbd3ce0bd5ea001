"""The six visual cue types and the timed sheet that holds them (SemMix, section 3).

A sheet is plain data: extractors make it, people edit it as JSON (`semmix.cues.sheet`), the
text encoder turns its sentences into embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class CueType(StrEnum):
    """The six kinds of visual cues, in the order of the network's context tokens."""

    APPEARANCE = "appearance"
    EMOTION = "emotion"
    CAMERA_FOCUS = "camera_focus"
    TONE = "tone"
    SCENE = "scene"
    SOUND = "sound"


CUE_TYPES: tuple[CueType, ...] = tuple(CueType)


@dataclass(frozen=True, slots=True)
class Cue:
    """One sentence about the picture.

    Attributes:
        text: the sentence, or None where the extractor does not know. Unknown is an answer:
            the network was trained to leave it out.
        confidence: 0 to 1, how far the extractor trusts the sentence; 0 when unknown.
    """

    text: str | None = None
    confidence: float = 0.0

    @property
    def known(self) -> bool:
        """Whether there is a sentence to encode."""
        return self.text is not None


UNKNOWN = Cue()


@dataclass(frozen=True, slots=True)
class CueSegment:
    """A stretch of the picture that shares one set of cues.

    Attributes:
        start_s, end_s: presentation time on the container's timeline, `start_s < end_s`.
        keyframe_s: presentation time of the frame the cues were read from.
        cues: one cue for each type; a missing type is unknown.
    """

    start_s: float
    end_s: float
    keyframe_s: float
    cues: Mapping[CueType, Cue]

    def cue(self, cue_type: CueType) -> Cue:
        """The cue of one type, unknown where there is none."""
        return self.cues.get(cue_type, UNKNOWN)


@dataclass(frozen=True, slots=True)
class CueSheet:
    """Cues of a whole file, in order of time, without overlaps.

    Attributes:
        segments: sorted by `start_s`; gaps are allowed and count as unknown.
        extractor: identifier of what wrote the sheet, such as `embedded/1` or `manual`.
        picture_hash: content hash of the picture it was made from, empty when unknown.
    """

    segments: tuple[CueSegment, ...]
    extractor: str = "manual"
    picture_hash: str = ""
    meta: Mapping[str, str] = field(default_factory=dict)
