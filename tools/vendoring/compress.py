"""Weight-only INT8: big FP32 initialisers are stored as INT8 and a scale, computed in FP32.

Activations stay FP32 on purpose. Dynamic activation quantisation gives other numbers on CPUs
with and without VNNI (`vpmaddubsw` saturates), and depends on what else is in the batch; a
weight-only graph agrees on every machine to float rounding. `Cast` and `Mul` are used
instead of `DequantizeLinear`, so that no runtime fuses them back into an integer kernel; a
runtime folds them into FP32 weights when it loads the graph.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LEVELS = 127


def _quantise(weight: np.ndarray, keep_axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric INT8 with one scale for each index of `keep_axis`."""
    axes = tuple(a for a in range(weight.ndim) if a != keep_axis)
    scale = np.abs(weight).max(axis=axes, keepdims=True).astype(np.float64) / LEVELS
    scale[scale == 0.0] = 1.0
    scale = scale.astype(np.float32)
    return np.clip(np.rint(weight / scale), -LEVELS, LEVELS).astype(np.int8), scale


def compress_weights(model: onnx.ModelProto, min_elements: int) -> onnx.ModelProto:
    """Store the weights of MatMul, Gemm, Conv and Gather as INT8, in place.

    Args:
        model: FP32 graph whose weights are initialisers.
        min_elements: smaller tensors stay FP32.

    Returns:
        The same model.
    """
    graph = model.graph
    initialisers = {i.name: i for i in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    added: list[TensorProto] = []
    replaced: set[str] = set()

    def big(name: str) -> bool:
        tensor = initialisers.get(name)
        return (
            tensor is not None
            and tensor.data_type == TensorProto.FLOAT
            and int(np.prod(tensor.dims)) >= min_elements
        )

    def store(name: str, keep_axis: int) -> None:
        if name in replaced:
            return
        stored, scale = _quantise(numpy_helper.to_array(initialisers[name]), keep_axis)
        added.append(numpy_helper.from_array(stored, f"{name}.int8"))
        added.append(numpy_helper.from_array(scale, f"{name}.scale"))
        replaced.add(name)

    for node in graph.node:
        if node.op_type == "Gather" and big(node.input[0]):
            # Rows are looked up as INT8, so that the whole table is never widened in memory.
            table, out = node.input[0], node.output[0]
            store(table, keep_axis=0)
            nodes += [
                helper.make_node("Gather", [f"{table}.int8", node.input[1]], [f"{out}.int8"]),
                helper.make_node("Gather", [f"{table}.scale", node.input[1]], [f"{out}.scale"]),
                helper.make_node("Cast", [f"{out}.int8"], [f"{out}.float"], to=TensorProto.FLOAT),
                helper.make_node("Mul", [f"{out}.float", f"{out}.scale"], [out]),
            ]
            continue
        if node.op_type in ("MatMul", "Gemm", "Conv") and big(node.input[1]):
            weight = node.input[1]
            transposed = any(a.name == "transB" and a.i == 1 for a in node.attribute)
            axis = 0 if node.op_type == "Conv" or transposed else 1
            if weight not in replaced:
                store(weight, keep_axis=axis)
                nodes += [
                    helper.make_node(
                        "Cast", [f"{weight}.int8"], [f"{weight}.float"], to=TensorProto.FLOAT
                    ),
                    helper.make_node(
                        "Mul", [f"{weight}.float", f"{weight}.scale"], [f"{weight}.w"]
                    ),
                ]
            node.input[1] = f"{weight}.w"
        nodes.append(node)

    kept = [i for i in graph.initializer if i.name not in replaced]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.initializer[:]
    graph.initializer.extend([*kept, *added])
    return model
