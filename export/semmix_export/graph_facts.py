"""What an ONNX graph is made of: operators, parameters, and how much arithmetic one run takes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import onnx

from semmix.errors import ModelFormatError

Shape = tuple[int, ...]

_TYPE_NAMES = {number: n.lower() for n, number in onnx.TensorProto.DataType.items()}
_NO_WEIGHTS = frozenset({"bool", "int64"})


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """One ONNX graph.

    Attributes:
        bytes: its length.
        sha256: of its bytes.
        opset: version of ONNX's operators.
        nodes: how many there are of each operator, the most frequent first.
        parameters: elements of its weights, of whatever precision; shapes and flags count not.
        weight_types: elements of all constants by type, such as `float` or `int8`.
        macs: multiply-accumulate operations of one run with a batch of 1, in products of matrices,
            convolutions and LSTMs; None where a shape among them is not known beforehand.
    """

    bytes: int
    sha256: str
    opset: int
    nodes: dict[str, int]
    parameters: int
    weight_types: dict[str, int]
    macs: int | None


def graph_facts(content: bytes, sha256: str, where: str) -> GraphFacts:
    """Read a graph.

    Args:
        content: ONNX.
        sha256: of the content.
        where: what messages call it.

    Raises:
        ModelFormatError: it is no ONNX graph, or its weights have types or shapes that cannot be.
    """
    try:
        model = onnx.load_from_string(content)
        opset = max(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    except Exception as exc:  # protobuf's errors share no other base class
        raise ModelFormatError(
            f"{where} is not an ONNX graph ({exc}): export the model again"
        ) from exc
    graph = model.graph
    types: Counter[str] = Counter()
    for weight in graph.initializer:
        if weight.data_type not in _TYPE_NAMES or any(n < 0 for n in weight.dims):
            raise ModelFormatError(
                f"{where} holds a weight of type {weight.data_type} and shape "
                f"{list(weight.dims)[:8]}, which cannot be: export the model again"
            )
        types[_TYPE_NAMES[weight.data_type]] += math.prod(weight.dims)
    nodes = Counter(node.op_type for node in graph.node)
    return GraphFacts(
        bytes=len(content),
        sha256=sha256,
        opset=opset,
        nodes=dict(nodes.most_common()),
        parameters=sum(count for kind, count in types.items() if kind not in _NO_WEIGHTS),
        weight_types=dict(types.most_common()),
        macs=_macs(model),
    )


def _macs(model: onnx.ModelProto) -> int | None:
    """Operations of one run, None where ONNX cannot tell the shapes."""
    for tensor in (*model.graph.input, *model.graph.output):
        for dim in tensor.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_value = 1
    try:
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        return None
    shapes: dict[str, Shape] = {w.name: tuple(w.dims) for w in graph.initializer}
    for tensor in (*graph.input, *graph.value_info, *graph.output):
        dims = tensor.type.tensor_type.shape.dim
        if all(dim.HasField("dim_value") for dim in dims):
            shapes[tensor.name] = tuple(dim.dim_value for dim in dims)
    total = 0
    for node in graph.node:
        count = _COUNTS.get(node.op_type)
        if count is None:
            continue
        try:
            total += count(node, [shapes[name] for name in node.input[:3] if name], shapes)
        except (LookupError, ValueError):
            # An operator without its inputs, or with others than it can have: the graph would not
            # run either, but that is for the engine to say.
            return None
    return total


def _product(node: onnx.NodeProto, inputs: Sequence[Shape], shapes: Mapping[str, Shape]) -> int:
    """Each value of the result is a sum along the first factor's last axis."""
    inner = inputs[0][-1]
    if any(a.name == "transA" and a.i for a in node.attribute):
        inner = inputs[0][0]
    return math.prod(shapes[node.output[0]]) * inner


def _einsum(node: onnx.NodeProto, inputs: Sequence[Shape], shapes: Mapping[str, Shape]) -> int:
    """All letters of the equation together."""
    (equation,) = (a.s.decode() for a in node.attribute if a.name == "equation")
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, inputs, strict=True):
        sizes |= zip(term, shape, strict=True)
    return math.prod(sizes.values())


def _convolution(node: onnx.NodeProto, inputs: Sequence[Shape], shapes: Mapping[str, Shape]) -> int:
    """Each value of the result is a sum over a kernel and the channels of its group."""
    return math.prod(shapes[node.output[0]]) * math.prod(inputs[1][1:])


def _transposed(node: onnx.NodeProto, inputs: Sequence[Shape], shapes: Mapping[str, Shape]) -> int:
    """Each value of the input is spread by a kernel over the channels of its group."""
    return math.prod(inputs[0]) * math.prod(inputs[1][1:])


def _lstm(node: onnx.NodeProto, inputs: Sequence[Shape], shapes: Mapping[str, Shape]) -> int:
    """Every step multiplies its input and its state by the weights of four gates, each way."""
    steps, batch, _ = inputs[0]
    return steps * batch * (math.prod(inputs[1]) + math.prod(inputs[2]))


_COUNTS: dict[str, Callable[[onnx.NodeProto, Sequence[Shape], Mapping[str, Shape]], int]] = {
    "MatMul": _product,
    "Gemm": _product,
    "Einsum": _einsum,
    "Conv": _convolution,
    "ConvTranspose": _transposed,
    "LSTM": _lstm,
}
