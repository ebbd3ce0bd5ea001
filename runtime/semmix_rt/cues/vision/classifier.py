"""What is in the picture: EfficientNet-Lite0 (Tan and Le, 2019), 1000 ImageNet classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from semmix.assets import verified_model
from semmix.cues.session import cpu_session
from semmix_rt.cues.vision.resize import resize

SIDE_PX = 224
CLASSES = 1000


class Classifier:
    """Classifies pictures; the network is loaded at the first one."""

    def __init__(self) -> None:
        self._session: Any = None

    def classify(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities of the 1000 classes of ILSVRC-2012.

        Args:
            image: RGB `[H, W, 3]`; it is stretched to a square, as in training.

        Returns:
            float32 `[1000]`, sums to 1.

        Raises:
            EngineError: ONNX Runtime is not installed.
            ModelFormatError: the bundled weights are missing or damaged.
        """
        if self._session is None:
            self._session = cpu_session(verified_model("vision/classifier.onnx"))
        feed = ((resize(image, SIDE_PX, SIDE_PX) - 127.0) / 128.0).transpose(2, 0, 1)[None]
        result = self._session.run(None, {"image": feed})[0]
        return np.asarray(result[0], np.float32)
