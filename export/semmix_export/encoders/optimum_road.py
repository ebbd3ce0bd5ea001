"""Encoders to ONNX by Hugging Face's optimum, which has an exporter of its own.

What it takes of PyTorch is the exporter of before (TorchScript), so that it reaches models which
the new one does not follow.
"""

from __future__ import annotations

import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

import onnx

from semmix.encoders.manifest import WEIGHTS_NAME, Kind
from semmix.errors import EngineError
from semmix_export.graphs import OPSET, save_graph


def check_optimum() -> None:
    """Refuse where optimum is missing, or does not go with what else is installed.

    Raises:
        EngineError: it does not import.
    """
    try:
        import optimum.exporters.onnx  # noqa: F401
    except ImportError as exc:
        reason = " ".join(str(exc).split())[:160]
        raise EngineError(
            f"the road through optimum needs optimum-onnx 0.1 beside transformers 4.57, and here "
            f"are optimum-onnx {_version('optimum-onnx')} and transformers "
            f"{_version('transformers')} ({reason}): pip install 'semmix-rt[optimum]' in an "
            "environment of its own, or take --road torch"
        ) from exc


def export_with_optimum(model: Any, kind: Kind, length: int, path: Path) -> None:
    """Write an encoder as ONNX; arguments as for `export_with_torch`.

    Raises:
        EngineError: see `check_optimum`.
    """
    check_optimum()
    from optimum.exporters.onnx import export

    config, shapes = _config(model, kind, length)
    with warnings.catch_warnings():
        # Tracing says of each branch on a shape that it was taken; the gate tries other shapes.
        warnings.simplefilter("ignore")
        export(model, config, path, opset=OPSET, input_shapes=shapes)
    graph = onnx.load(str(path), load_external_data=False)
    _move_weights(graph, path)
    save_graph(graph, path)


def _config(model: Any, kind: Kind, length: int) -> tuple[Any, dict[str, int]]:
    """What optimum must know: names, symbolic axes, and how to make up inputs.

    Its own configurations would export token types of BERT, no mask of T5, and of CLIP the text
    half as well.
    """
    from optimum.exporters.onnx.config import TextEncoderOnnxConfig, VisionOnnxConfig
    from optimum.utils import NormalizedTextConfig, NormalizedVisionConfig

    class States(TextEncoderOnnxConfig):  # type: ignore[misc]
        NORMALIZED_CONFIG_CLASS = NormalizedTextConfig
        inputs: ClassVar = {
            name: {0: "batch", 1: "length"} for name in ("input_ids", "attention_mask")
        }
        outputs: ClassVar = {"last_hidden_state": {0: "batch", 1: "length"}}

    class Features(VisionOnnxConfig):  # type: ignore[misc]
        NORMALIZED_CONFIG_CLASS = NormalizedVisionConfig
        inputs: ClassVar = {"pixel_values": {0: "batch"}}
        outputs: ClassVar = {"image_embeds": {0: "batch"}}

    if kind == "text":
        return States(model.config, task="feature-extraction"), {}
    return Features(model.config, task="feature-extraction"), {"height": length, "width": length}


def _move_weights(graph: onnx.ModelProto, path: Path) -> None:
    """Give weights beside the graph the name that an encoder's folder has for them."""
    # Constants of nodes go outside as weights do.
    tensors = [*graph.graph.initializer, *(a.t for n in graph.graph.node for a in n.attribute)]
    entries = [e for t in tensors for e in t.external_data if e.key == "location"]
    for name in {entry.value for entry in entries}:
        (path.parent / name).rename(path.parent / WEIGHTS_NAME)
        # Written as a temporary file is, which others could not read.
        (path.parent / WEIGHTS_NAME).chmod(path.stat().st_mode)
    for entry in entries:
        entry.value = WEIGHTS_NAME


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
