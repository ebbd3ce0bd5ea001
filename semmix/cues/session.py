"""ONNX Runtime sessions for the small models: one thread, no spinning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from semmix.errors import EngineError, ModelFormatError


def cpu_session(path: Path) -> Any:
    """Open a small model on the CPU provider.

    One thread: these models run beside the mask network on two cores, and their results must
    not depend on the number of cores. Waiting threads sleep instead of spinning.

    Args:
        path: ONNX file.

    Returns:
        An `onnxruntime.InferenceSession`.

    Raises:
        EngineError: ONNX Runtime is not installed.
        ModelFormatError: the file cannot be loaded.
    """
    try:
        import onnxruntime as ort
    except ImportError as exc:
        raise EngineError(
            "ONNX Runtime is not installed, and small models need it: pip install 'semmix-rt[cpu]'"
        ) from exc
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as exc:  # ONNX Runtime raises a dozen unrelated types here
        raise ModelFormatError(
            f"ONNX Runtime cannot load {path} ({exc}): the file is damaged, install it again"
        ) from exc


def run_graph(session: Any, inputs: dict[str, Any], path: Path) -> Any:
    """The first output of a graph that users brought, which may be any graph.

    Args:
        session: of `cpu_session`.
        inputs: arrays by name.
        path: of the graph, for messages.

    Raises:
        ModelFormatError: it does not run on these inputs.
    """
    try:
        return session.run(None, inputs)[0]
    except Exception as exc:  # ONNX Runtime raises a dozen unrelated types here
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in inputs.items())
        reason = " ".join(str(exc).split())[:200]
        raise ModelFormatError(
            f"ONNX Runtime cannot run {path} on {shapes} ({reason}): install or export it again"
        ) from exc
