"""Graphs run as they are written: what a precision costs, not what a kernel makes of it.

ONNX Runtime's x86 kernels without VNNI saturate sums of 8-bit products at 16 bits: a network bound
for TensorRT would look 10 to 20 dB worse than it is. And optimisers have been seen to change
results. So accuracy is measured with every Q/DQ pair computed as a pair, FP16 rounded where the
graph says so (`rounding`), and nothing fused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from semmix_rt.engines.ort import open_session

from semmix_calibration.rounding import rounded

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_CPU = "CPUExecutionProvider"


def exact_session(content: bytes, threads: int = 1) -> InferenceSession:
    """A session over ONNX bytes on the CPU that rounds as the graph says and optimises nothing.

    Raises:
        EngineError: ONNX Runtime does not take the graph.
        ModelFormatError: the graph is damaged.
    """
    return open_session(rounded(content), _CPU, threads, exact=True)
