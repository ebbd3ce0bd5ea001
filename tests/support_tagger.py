"""A seeded audio tagger as an ONNX and as a TFLite file, and the same in NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from scipy.special import softmax as scipy_softmax

CLASSES, WINDOW = 5, 400


def weights() -> np.ndarray:
    return np.random.default_rng(65).standard_normal((WINDOW, CLASSES)).astype(np.float32)


def linear_tagger(path: Path, shape: list[object], **metadata: str) -> Path:
    """Scores that are a linear map of 400 samples, averaged where more come in."""
    nodes = [
        helper.make_node("Reshape", ["wave", "rows"], ["frames"]),
        helper.make_node("MatMul", ["frames", "weights"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tagger",
        [helper.make_tensor_value_info("wave", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, CLASSES])],
        [
            numpy_helper.from_array(weights(), "weights"),
            numpy_helper.from_array(np.array([-1, WINDOW], np.int64), "rows"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    helper.set_model_props(model, metadata)
    onnx.save(model, str(path))
    return path


def expected_distribution(signal: np.ndarray) -> np.ndarray:
    """The same tagger in NumPy: windows of 400, the last one filled up and weighed by length."""
    total = np.zeros(CLASSES)
    for start in range(0, signal.size, WINDOW):
        part = signal[start : start + WINDOW]
        window = np.concatenate([part, np.zeros(WINDOW - part.size)])
        total += part.size * scipy_softmax(window @ weights().astype(np.float64))
    return total / signal.size


def linear_tflite(path: Path) -> Path:
    """The same linear map of `[1, 400]` as a TFLite flatbuffer of one operator."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def buffer(data: bytes | None = None) -> object:
        made = schema.BufferT()
        made.data = None if data is None else np.frombuffer(data, np.uint8)
        return made

    def tensor(name: str, shape: list[int], number: int = 0) -> object:
        made = schema.TensorT()
        made.name, made.shape, made.buffer = name, np.array(shape, np.int32), number
        made.type = schema.TensorType.FLOAT32
        return made

    operator = schema.OperatorT()
    operator.inputs, operator.outputs = np.array([0, 1, 2], np.int32), np.array([3], np.int32)
    operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    operator.builtinOptions = schema.FullyConnectedOptionsT()
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 1
    graph = schema.SubGraphT()
    graph.tensors = [
        tensor("wave", [1, WINDOW]),
        tensor("weights", [CLASSES, WINDOW], 1),
        tensor("bias", [CLASSES], 2),
        tensor("scores", [1, CLASSES]),
    ]
    graph.inputs, graph.outputs = np.array([0], np.int32), np.array([3], np.int32)
    graph.operators = [operator]
    model = schema.ModelT()
    model.version = 3
    model.buffers = [
        buffer(),
        buffer(np.ascontiguousarray(weights().T).tobytes()),
        buffer(np.zeros(CLASSES, np.float32).tobytes()),
    ]
    model.operatorCodes, model.subgraphs = [code], [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path
