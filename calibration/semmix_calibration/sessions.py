"""Graphs run as they are written: what a precision costs, not what a kernel makes of it.

ONNX Runtime's x86 kernels without VNNI saturate sums of 8-bit products at 16 bits: a network bound
for TensorRT would look 10 to 20 dB worse than it is. And optimisers have been seen to change
results. So accuracy is measured with every Q/DQ pair computed as a pair, and nothing fused.
"""

from __future__ import annotations

import onnxruntime

from semmix.errors import EngineError

_CPU = "CPUExecutionProvider"
_ERRORS_ONLY = 3


def exact_session(content: bytes, threads: int = 1) -> onnxruntime.InferenceSession:
    """A session over ONNX bytes on the CPU that optimises nothing.

    Raises:
        EngineError: ONNX Runtime does not take the graph.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Without optimisation nothing is fused; this says so to whoever raises the level.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(content, options, providers=[_CPU])
    except Exception as exc:  # onnxruntime's errors share no other base class
        reason = (str(exc).strip().splitlines() or [type(exc).__name__])[0][:300]
        raise EngineError(
            f"onnxruntime {onnxruntime.__version__} cannot run the graph ({reason}): "
            "update onnxruntime, or report it with the model's name"
        ) from exc
