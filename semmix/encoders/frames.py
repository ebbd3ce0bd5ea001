"""Frames to context vectors, through a CLIP vision encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semmix.encoders.folders import fingerprint, library, load_local, local_config
from semmix.errors import ModelFormatError

_WHAT = "vision encoder"
_KINDS = frozenset({"clip", "clip_vision_model"})
# Of the pictures that CLIP was trained on, for each of red, green and blue.
_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
_STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


class FrameEmbedder:
    """Embeds frames as CLIP's image features of L2 norm 1 (VisAH, section 4).

    Weights are loaded when the first frame is embedded.

    Attributes:
        dim: width D of a vector.
        side_px: side of the square that is looked at.
        identifier: name and fingerprint of the encoder.
    """

    def __init__(self, folder: Path, dim: int) -> None:
        """Check an encoder.

        Args:
            folder: of a transformers CLIP model, or its vision half with the projection.
            dim: width of the vectors a mask network takes.

        Raises:
            UsageError: no such folder.
            ModelFormatError: it holds no CLIP model, or one of another width.
            EngineError: transformers is not installed.
        """
        config = local_config(folder, _WHAT)
        if config.model_type not in _KINDS:
            raise ModelFormatError(
                f"the vision encoder {folder} is a {config.model_type!r} model: give a CLIP one"
            )
        if config.projection_dim != dim:
            raise ModelFormatError(
                f"the vision encoder {folder} makes vectors of {config.projection_dim} numbers and "
                f"the model takes {dim}: give the encoder that the model was trained with"
            )
        self._folder = folder
        self.dim = dim
        self.side_px = int(getattr(config, "vision_config", config).image_size)
        self.identifier = f"{folder.resolve().name}/{fingerprint(folder)}"
        self._model: Any = None

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The vector of a frame.

        Args:
            image: RGB `[side_px, side_px, 3]`.

        Returns:
            float32 `[D]` of L2 norm 1.

        Raises:
            ModelFormatError: the encoder's files are damaged.
        """
        if self._model is None:
            kind = library().CLIPVisionModelWithProjection
            self._model = load_local(kind, self._folder, _WHAT)
        pixels = (image.astype(np.float32) / 255.0 - _MEAN) / _STD
        # The library's own tensors take arrays: nothing here needs to import PyTorch.
        batch = library().BatchFeature(
            {"pixel_values": pixels.transpose(2, 0, 1)[None]}, tensor_type="pt"
        )
        features = self._model(**batch).image_embeds[0].numpy().astype(np.float64)
        length = float(np.linalg.norm(features))
        if not (np.isfinite(length) and length > 0.0):
            raise ModelFormatError(
                f"the vision encoder {self._folder} gave features that are no numbers: fetch it "
                "again"
            )
        vector: NDArray[np.float32] = (features / length).astype(np.float32)
        return vector
