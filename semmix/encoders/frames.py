"""Frames to context vectors, through a CLIP vision encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semmix.encoders.exported import ExportedVision
from semmix.encoders.local_vision import LocalVision
from semmix.encoders.manifest import is_exported
from semmix.errors import ModelFormatError

# Of the pictures that CLIP was trained on, for each of red, green and blue.
_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
_STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


class FrameEmbedder:
    """Embeds frames as CLIP's image features of L2 norm 1 (VisAH, section 4).

    Weights are loaded when the first frame is embedded.

    Attributes:
        dim: width D of a vector.
        side_px: side of the square that is looked at.
        identifier: name and fingerprint of the encoder; an exported one has that of its source.
    """

    def __init__(self, folder: Path, dim: int) -> None:
        """Check an encoder.

        Args:
            folder: of a transformers CLIP model, or its vision half with the projection, or what
                `semmix-rt export-encoder` made of one, which needs neither transformers nor
                PyTorch.
            dim: width of the vectors a mask network takes.

        Raises:
            UsageError: no such folder.
            ModelFormatError: it holds no CLIP model, or one of another width.
            EngineError: transformers is not installed.
        """
        self._folder = folder
        self._vision = ExportedVision(folder) if is_exported(folder) else LocalVision(folder)
        if self._vision.dim != dim:
            raise ModelFormatError(
                f"the vision encoder {folder} makes vectors of {self._vision.dim} numbers and the "
                f"model takes {dim}: give the encoder that the model was trained with"
            )
        self.dim = dim
        self.side_px = self._vision.side_px
        self.identifier = self._vision.identifier

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The vector of a frame.

        Args:
            image: RGB `[side_px, side_px, 3]`.

        Returns:
            float32 `[D]` of L2 norm 1.

        Raises:
            ModelFormatError: the encoder's files are damaged.
        """
        features = self._vision.features(pixels_of(image)[None])[0].astype(np.float64)
        length = float(np.linalg.norm(features))
        if not (features.shape == (self.dim,) and np.isfinite(length) and length > 0.0):
            raise ModelFormatError(
                f"the vision encoder {self._folder} gave {list(features.shape)} numbers, or some "
                "that are none: fetch it again"
            )
        vector: NDArray[np.float32] = (features / length).astype(np.float32)
        return vector


def pixels_of(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A picture `[side_px, side_px, 3]` as CLIP takes it, `[3, side_px, side_px]`."""
    pixels: NDArray[np.float32] = (image.astype(np.float32) / 255.0 - _MEAN) / _STD
    return pixels.transpose(2, 0, 1)
