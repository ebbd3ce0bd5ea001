"""Encoders that users have on their disk, found by name without importing what runs them.

They announce themselves in the entry-point group `semmix_rt.encoders`; each is called with a folder
and the width of the vectors that a model takes. So the runtime never imports PyTorch.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from semmix.errors import EngineError
from semmix_rt.cue_feed import SegmentEmbedder

GROUP = "semmix_rt.encoders"


class CaptionEmbedder(SegmentEmbedder, Protocol):
    """Embeds a segment's cues as one caption.

    Attributes:
        identifier: name and fingerprint of the encoder.
    """

    identifier: str


class FrameEmbedder(Protocol):
    """Embeds frames.

    Attributes:
        identifier: name and fingerprint of the encoder.
        side_px: side of the square it looks at.
    """

    identifier: str
    side_px: int

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The vector `[D]` of an RGB frame `[side_px, side_px, 3]`."""
        ...


def open_captions(folder: Path, dim: int) -> CaptionEmbedder:
    """A text encoder whose vectors are `dim` wide; its weights load at the first caption.

    Raises:
        UsageError: no such folder.
        ModelFormatError: it holds no text encoder, or one of another width.
        EngineError: a package is missing.
    """
    embedder: CaptionEmbedder = _open("text", folder, dim)
    return embedder


def open_frames(folder: Path, dim: int) -> FrameEmbedder:
    """A vision encoder whose vectors are `dim` wide; its weights load at the first frame.

    Raises:
        UsageError: no such folder.
        ModelFormatError: it holds no CLIP model, or one of another width.
        EngineError: a package is missing.
    """
    embedder: FrameEmbedder = _open("vision", folder, dim)
    return embedder


def _open(name: str, folder: Path, dim: int) -> Any:
    entry = next(iter(entry_points(group=GROUP, name=name)), None)
    if entry is None:
        raise EngineError(f"this installation announces no {name} encoder: install semmix-rt again")
    return entry.load()(folder, dim)
