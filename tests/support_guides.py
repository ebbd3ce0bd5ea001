"""Encoders that need no model: what they tell follows from a caption, or a picture, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from semmix.cues.types import CueSegment


class Captions:
    """Instead of a text encoder: a vector of a caption's length."""

    identifier = key = "lengths"

    def __init__(self, folder: Path, dim: int) -> None:
        self.dim = dim

    def sentences(self, segment: CueSegment) -> list[str | None]:
        return [" ".join(c.text for c in segment.cues.values() if c.text) or None]

    def __call__(self, segment: CueSegment) -> np.ndarray:
        (text,) = self.sentences(segment)
        return np.full((1, self.dim), len(text or "") / 20, np.float32)


class Frames:
    """Instead of CLIP: the mean colour of a frame."""

    identifier, side_px = "colours", 16

    def __init__(self, folder: Path, dim: int) -> None:
        self.dim = dim

    def __call__(self, image: np.ndarray) -> np.ndarray:
        assert image.shape == (16, 16, 3)
        return np.resize(image.mean((0, 1)) / 255, self.dim).astype(np.float32)
