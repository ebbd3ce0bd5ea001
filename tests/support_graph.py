"""Small ONNX graphs for the tests of precisions, and their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Arrays = Mapping[str, NDArray[np.generic]]
Shapes = Mapping[str, Sequence[int | str]]


def graph_of(
    nodes: Sequence[onnx.NodeProto], inputs: Shapes, outputs: Shapes, constants: Arrays
) -> bytes:
    """ONNX of opset 20 in float32."""

    def values(table: Shapes) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
            for name, shape in table.items()
        ]

    graph = helper.make_graph(
        list(nodes),
        "small",
        values(inputs),
        values(outputs),
        [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
    )
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 20)])
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def products_graph(seed: int = 0) -> tuple[bytes, dict[str, NDArray[np.float32]]]:
    """All shapes of products that the networks are made of, and their weights.

    x [B, 24, 16], its tanh -> plain [16, 32] -> stack [24, 32, 20] on its bands -> left [18, 24]
    on the rest
    """
    rng = np.random.default_rng(seed)
    # Channels of very different size, so that the axis of the scales can be told.
    weights = {
        "plain.weight": rng.standard_normal((16, 32)) * np.geomspace(0.1, 10.0, 32),
        "stack.weight": rng.standard_normal((24, 32, 20)) * np.geomspace(0.1, 10.0, 20),
        "left.weight": rng.standard_normal((18, 24)) * np.geomspace(0.1, 10.0, 18)[:, None],
        "narrow.weight": rng.standard_normal((20, 3)),
    }
    constants = {name: value.astype(np.float32) for name, value in weights.items()}
    node = helper.make_node
    content = graph_of(
        [
            node("Tanh", ["x"], ["t"], name="level"),
            node("MatMul", ["t", "plain.weight"], ["a"], name="plain"),
            node("Relu", ["a"], ["b"], name="bend"),
            node("Transpose", ["b"], ["c"], name="turn", perm=[1, 0, 2]),
            node("MatMul", ["c", "stack.weight"], ["d"], name="stack"),
            node("Transpose", ["d"], ["e"], name="back", perm=[1, 0, 2]),
            node("MatMul", ["left.weight", "e"], ["f"], name="left"),
            node("MatMul", ["f", "narrow.weight"], ["y"], name="narrow"),
        ],
        {"x": ["B", 24, 16]},
        {"y": ["B", 18, 3]},
        constants,
    )
    return content, constants
