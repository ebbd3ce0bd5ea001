"""ONNX Runtime with IO binding for networks that hear whole windows."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort

from semmix_rt.engines.base import Float32
from semmix_rt.engines.inputs import graph_shapes, window_inputs
from semmix_rt.engines.ort import feed
from semmix_rt.engines.ort_windows import OrtWindowEngine

_OUTPUTS = ("mask", "wave")


class OrtBoundWindowEngine(OrtWindowEngine):
    """The CPU engine through `run_with_iobinding`, to see by measurement what that brings."""

    engine_name = "ort-bound"

    def run(
        self, magnitude: Float32, waveform: Float32, tokens: Float32 | None
    ) -> tuple[Float32, Float32]:
        """Mask windows; see `OrtWindowEngine.run`."""
        inputs = window_inputs(self.spec, magnitude, waveform, tokens)
        shapes = graph_shapes(self.spec, "highlighter", magnitude.shape[0])
        binding = self._highlighter.io_binding()
        for name, array in inputs.items():
            value = ort.OrtValue.ortvalue_from_numpy(feed(name, array, shapes[name]))
            binding.bind_ortvalue_input(name, value)
        for name in _OUTPUTS:
            binding.bind_output(name)
        self._highlighter.run_with_iobinding(binding)
        mask, wave = (np.asarray(value.numpy()) for value in binding.get_outputs())
        return mask, wave
