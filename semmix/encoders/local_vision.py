"""CLIP vision encoders as transformers saves them, with PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semmix.encoders.folders import identifier_of, library, load_local, local_config
from semmix.errors import ModelFormatError

_WHAT = "vision encoder"
KINDS = frozenset({"clip", "clip_vision_model"})
"""Types of models that see, as their configurations name them."""


class LocalVision:
    """The CLIP vision encoder in a folder; its weights are loaded when they are first needed.

    Attributes:
        identifier: name and fingerprint of the encoder.
        dim: width D of a feature.
        side_px: side of the square that is looked at.
    """

    def __init__(self, folder: Path) -> None:
        """Check an encoder.

        Args:
            folder: of a transformers CLIP model, or its vision half with the projection.

        Raises:
            UsageError: no such folder.
            ModelFormatError: it holds no CLIP model.
            EngineError: transformers is not installed.
        """
        config = local_config(folder, _WHAT)
        if config.model_type not in KINDS:
            raise ModelFormatError(
                f"the vision encoder {folder} is a {config.model_type!r} model: give a CLIP one"
            )
        self._folder = folder
        self.dim = int(config.projection_dim)
        self.side_px = int(getattr(config, "vision_config", config).image_size)
        self.identifier = identifier_of(folder)
        self._model: Any = None

    @property
    def model(self) -> Any:
        """The model of the library, in float32.

        Raises:
            ModelFormatError: the weights are damaged, or some are missing.
        """
        if self._model is None:
            kind = library().CLIPVisionModelWithProjection
            self._model = load_local(kind, self._folder, _WHAT)
        return self._model

    def features(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features `[B, D]` of normalised pictures `[B, 3, side_px, side_px]`.

        Raises:
            ModelFormatError: the encoder's files are damaged.
        """
        # The library's own tensors take arrays: nothing here needs to import PyTorch.
        batch = library().BatchFeature({"pixel_values": pixels}, tensor_type="pt")
        features: NDArray[np.float32] = self.model(**batch).image_embeds.numpy()
        return features
