"""FP16 as a GPU computes it, on a CPU: a float32 graph that rounds whatever is typed half.

ONNX Runtime has hardly any FP16 kernels for CPUs. It computes neighbouring FP16 nodes in float32,
takes away the casts between them and so sees neither their rounding nor their overflow. Casts that
a graph itself holds stay, at every level of optimisation, where they lose digits. So the typed
graph is written as one in float32 with two casts, to half precision and back, behind each node
that makes new half values: a product sums in float32 and is rounded once, as FP16 kernels with
float32 sums do, and so is every sum of single values. Kernels that a compiler fuses may round less
often than that. Recurrent nodes are rounded at their end, not at every step.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from semmix_calibration.graph import finish, half_tensors, parse, read

MOVING = frozenset(
    {
        *("Slice", "Gather", "Concat", "Transpose", "Reshape", "Unsqueeze", "Squeeze"),
        *("Identity", "Split", "Expand", "Pad"),
    }
)
"""Nodes that move values and compute nothing."""

_EXACT = MOVING | {"DequantizeLinear"}
"""Nodes whose results are not rounded. What Q/DQ pairs feed are INT8 products, which multiply the
integers: no kernel makes half values of these first."""


def rounded(content: bytes) -> bytes:
    """Write a typed graph as one in float32 that rounds; see the top of this file.

    Args:
        content: ONNX whose inputs and outputs are float32. Its tensors keep their names.

    Returns:
        ONNX without FP16 arithmetic; `content` itself where it had none.

    Raises:
        ModelFormatError: the graph is damaged.
    """
    if not _is_typed(read(content)):
        return content
    model = parse(content).model
    half = half_tensors(model)
    for tensor in model.graph.initializer:
        _widen(tensor)
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        for attribute in node.attribute:
            _widen(attribute.t)
            if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
        nodes += [node, *(_roundings(node, half) if node.op_type not in _EXACT else ())]
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return finish(model)


def _is_typed(model: ModelProto) -> bool:
    """Whether a node makes half values: inputs are float32, so one of them is a Cast."""
    casts = (node for node in model.graph.node if node.op_type == "Cast")
    return any(a.i == TensorProto.FLOAT16 for node in casts for a in node.attribute)


def _roundings(node: NodeProto, half: set[str]) -> Iterator[NodeProto]:
    """Casts to half precision and back behind a node that makes half values."""
    for place, name in enumerate(node.output):
        if name not in half:
            continue
        exact, narrow = f"{name}, exact", f"{name}, half"
        node.output[place] = exact
        for source, result, kind in (
            (exact, narrow, TensorProto.FLOAT16),
            (narrow, name, TensorProto.FLOAT),
        ):
            yield helper.make_node("Cast", [source], [result], name=f"Cast to {result}", to=kind)


def _widen(tensor: TensorProto) -> None:
    """Make FP16 constants float32, which holds them all."""
    if tensor.data_type == TensorProto.FLOAT16:
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
