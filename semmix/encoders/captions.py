"""Captions to context vectors, through a text encoder such as T5-XXL's."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semmix.cues.types import CUE_TYPES, CueSegment
from semmix.encoders.exported import ExportedText
from semmix.encoders.local_text import LocalText
from semmix.encoders.manifest import is_exported
from semmix.errors import ModelFormatError

CACHED_CAPTIONS = 1024


class CaptionEmbedder:
    """Embeds each segment's cues as one caption: the mean over its tokens' last states.

    Networks with one vector a second were trained with one caption a frame (VisAH, section 4).
    Weights are loaded when the first caption is embedded.

    Attributes:
        dim: width D of a vector.
        key: names what vectors depend on besides the caption.
        identifier: name and fingerprint of the encoder; an exported one has that of its source.
    """

    def __init__(self, folder: Path, dim: int) -> None:
        """Check an encoder.

        Args:
            folder: of a transformers model, its tokenizer beside it, or what
                `semmix-rt export-encoder` made of one, which needs neither transformers nor
                PyTorch.
            dim: width of the vectors a mask network takes.

        Raises:
            UsageError: no such folder.
            ModelFormatError: it holds no text encoder, or one of another width.
            EngineError: transformers is not installed.
        """
        self._folder = folder
        self._text = ExportedText(folder) if is_exported(folder) else LocalText(folder)
        if self._text.dim != dim:
            raise ModelFormatError(
                f"the text encoder {folder} makes vectors of {self._text.dim} numbers and the "
                f"model takes {dim}: give the encoder that the model was trained with"
            )
        self.dim = dim
        self.identifier = self._text.identifier
        self.key = f"{self.identifier} mean of captions"
        self._encode = lru_cache(maxsize=CACHED_CAPTIONS)(self._encode_anew)

    def sentences(self, segment: CueSegment) -> list[str | None]:
        """A segment's cues as one text, in the order of their types; None where none is known."""
        known = (segment.cue(cue_type).text for cue_type in CUE_TYPES)
        return [" ".join(text for text in known if text is not None) or None]

    def __call__(self, segment: CueSegment) -> NDArray[np.float32]:
        """The vector of a segment's caption, float32 `[1, D]`, zeros where nothing is known.

        Raises:
            ModelFormatError: the encoder's files are damaged.
        """
        (text,) = self.sentences(segment)
        if text is None:
            return np.zeros((1, self.dim), np.float32)
        return self._encode(text)[None]

    def _encode_anew(self, text: str) -> NDArray[np.float32]:
        vector = self._text.mean_state(text).astype(np.float32)
        if vector.shape != (self.dim,) or not np.isfinite(vector).all():
            raise ModelFormatError(
                f"the text encoder {self._folder} gave {list(vector.shape)} numbers, or some that "
                "are none: fetch it again"
            )
        return vector
