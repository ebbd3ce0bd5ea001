"""Facial emotion: mini-XCEPTION on FER2013 (Arriaga et al., 2017)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from semmix.assets import verified_model
from semmix.cues.session import cpu_session
from semmix_rt.cues.vision.resize import resize

SIDE_PX = 64
LABELS = ("angry", "disgusted", "afraid", "happy", "sad", "surprised", "neutral")
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class EmotionReader:
    """Reads the emotion of a face; the network is loaded at the first face."""

    def __init__(self) -> None:
        self._session: Any = None

    def read(self, face: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities of the emotions.

        Args:
            face: RGB `[H, W, 3]`, the face fills it.

        Returns:
            float32 `[7]` in the order of `LABELS`.

        Raises:
            EngineError: ONNX Runtime is not installed.
            ModelFormatError: the bundled weights are missing or damaged.
        """
        if self._session is None:
            self._session = cpu_session(verified_model("vision/emotion.onnx"))
        grey = (resize(face, SIDE_PX, SIDE_PX) * LUMA).sum(axis=-1) / 127.5 - 1.0
        result = self._session.run(None, {"face": grey[None, None]})[0]
        return np.asarray(result[0], np.float32)
