"""ONNX Runtime with IO binding, which hands arrays over by reference."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort

from semmix_rt.engines.base import Float32, State
from semmix_rt.engines.ort import OrtEngine


class OrtBoundEngine(OrtEngine):
    """The CPU engine through `run_with_iobinding`, to see by measurement what that brings."""

    engine_name = "ort-bound"

    def run(
        self, spectrum: Float32, tokens: Float32, weights: Float32, state: State
    ) -> tuple[Float32, State]:
        """Mask one chunk; see `OrtEngine.run`."""
        feeds = self.feeds(spectrum, tokens, weights, state)
        binding = self._highlighter.io_binding()
        for name, array in feeds.items():
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
        for name in self._output_names:
            binding.bind_output(name)
        self._highlighter.run_with_iobinding(binding)
        mask, *following = (np.asarray(value.numpy()) for value in binding.get_outputs())
        return mask, tuple(following)
