"""The extractor that comes with the package: what can be told of a picture without a large model.

It reads tone (light, colour, motion) from statistics. What it has no means to see it calls
unknown, and the network was trained to do without.
"""

from __future__ import annotations

from semmix.cues.sentences import Observation, compose
from semmix.cues.types import CUE_TYPES, Cue, CueType
from semmix_rt.cues.keyframes import Keyframe
from semmix_rt.cues.vision.tone import tone

TONE_CONFIDENCE = 0.7
"""The words are cut from continuous measures: near the cuts they could be their neighbours."""


class EmbeddedExtractor:
    """Describe keyframes.

    Attributes:
        identifier: changes whenever the sentences for a picture may change.
    """

    identifier = "embedded-tone/1"

    @classmethod
    def default(cls) -> EmbeddedExtractor:
        """The extractor with the bundled means."""
        return cls()

    def describe(self, keyframe: Keyframe) -> dict[CueType, Cue]:
        """A cue for every type; unknown where nothing can be told."""
        seen = tone(keyframe.image, keyframe.motion)
        sentences = compose(Observation(light=seen.light, colour=seen.colour, motion=seen.motion))
        return {
            cue_type: Cue() if text is None else Cue(text, TONE_CONFIDENCE)
            for cue_type, text in ((c, sentences[c]) for c in CUE_TYPES)
        }
