"""What the picture says: timed visual cues and their text embeddings."""

from semmix.cues.types import CUE_TYPES, Cue, CueSegment, CueSheet, CueType

__all__ = ["CUE_TYPES", "Cue", "CueSegment", "CueSheet", "CueType"]
