"""Layers as TensorRT's engine inspector tells them, in JSON.

TensorRT 10 puts format and type of a tensor in one field, in words (`Thirty-two wide channel
vectorized row major Int8 format`) or as a type alone (`Half`), and the weights of its own kernels
in a field beside. As TensorRT for RTX 1.7 logs them, they are two fields, and constants are
tensors. Both are read.
"""

from __future__ import annotations

import json
import re
from typing import Any

from semmix_rt.engines.trt.library import Library, load
from semmix_rt.engines.trt.runner import deserialise

from semmix.errors import EngineError
from semmix_export.tensorrt.layer import UNKNOWN, Layer, Tensor, onnx_nodes, unknown

_TYPES = {
    **{"fp32": "Float", "float": "Float", "fp16": "Half", "half": "Half"},
    **{"bf16": "BFloat16", "bfloat16": "BFloat16", "fp8": "FP8", "bool": "Bool"},
    **{"int8": "Int8", "uint8": "UInt8", "int4": "Int4", "int32": "Int32", "int64": "Int64"},
}
_TYPE = re.compile(rf"\b(?:{'|'.join(_TYPES)})\b", re.IGNORECASE)


def inspect_plan(library: Library, plan: bytes) -> str:
    """What the library's inspector tells of a plan for this machine's GPU, as JSON.

    Raises:
        EngineError: the plan does not load here, or the inspector fails.
    """
    trt, engine = load(library), deserialise(library, plan)
    try:
        inspector = engine.create_engine_inspector()
        return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
    except (AttributeError, RuntimeError, TypeError) as exc:  # what the bindings raise
        raise EngineError(
            f"{library.title} {trt.__version__} does not tell the layers of an engine ({exc}): use "
            "a version of it that semmix-rt was tried with"
        ) from exc


def inspected_layers(text: str) -> tuple[Layer, ...]:
    """Read an inspector's JSON; a row of another form is `unknown`.

    Raises:
        EngineError: it is no JSON with layers.
    """
    try:
        rows = json.loads(text)["Layers"]
        if not isinstance(rows, list):
            raise TypeError(f"its layers are a {type(rows).__name__}")
    except (ValueError, KeyError, TypeError) as exc:
        raise EngineError(
            f"what the library tells of the engine's layers cannot be read ({exc!r:.100}): use a "
            "version of it that semmix-rt was tried with"
        ) from exc
    return tuple(_layer(row) for row in rows)


def _layer(row: Any) -> Layer:
    """A row; one is a bare name where the library was not asked for details."""
    try:
        return Layer(
            str(row["Name"]),
            str(row["LayerType"]),
            _tensors(row.get("Inputs", ())),
            (*_tensors(row.get("Constants", ())), *_weights(row)),
            _tensors(row.get("Outputs", ())),
            onnx_nodes(str(row.get("Metadata", ""))),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return unknown(row if isinstance(row, str) else json.dumps(row))


def _tensors(rows: Any) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(
            str(row["Name"]),
            tuple(int(n) for n in row["Dimensions"]),
            _type(row["Datatype"] if "Datatype" in row else row["Format/Datatype"]),
        )
        for row in rows
    )


def _weights(row: Any) -> tuple[Tensor, ...]:
    """Weights that a kernel of TensorRT's own carries, told as type and number of elements."""
    weights = row.get("Weights")
    if not isinstance(weights, dict) or not weights.get("Count"):
        return ()
    outputs, count = int(row.get("OutMaps", 1)), int(weights["Count"])
    shape = (outputs, count // outputs) if outputs > 0 and count % outputs == 0 else (1, count)
    return (Tensor("Weights", shape, _type(weights["Type"])),)


def _type(told: Any) -> str:
    found = _TYPE.search(str(told))
    return _TYPES[found[0].lower()] if found else UNKNOWN
