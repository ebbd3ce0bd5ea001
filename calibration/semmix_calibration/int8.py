"""INT8 by explicit Q/DQ: which products are quantised, along which axis, and the new graph.

Placement follows what TensorRT fuses: inputs and weights of matrix products and convolutions are
quantised, never their results, so that additions, norms and attention scores keep their precision;
no biases; nothing at transposed convolutions, whose INT8 kernels are slower; nothing that is as
loud as the sound (`placement`). Values are signed and symmetric, weights have a scale for each
output channel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import NodeProto
from onnxruntime.quantization import QuantType, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from semmix_calibration import fp16
from semmix_calibration.graph import Graph, blocks, finish, index, parse, take_instead
from semmix_calibration.placement import exempt

MIN_WIDTH = 16
"""Products with a shorter inner or outer side gain nothing from INT8 on any GPU."""

_OPERATORS = ("MatMul", "Gemm", "Conv")

Axis = int


@dataclass(frozen=True, slots=True)
class Product:
    """A matrix product or convolution with constant weights.

    Attributes:
        node: its name.
        operator: `MatMul`, `Gemm` or `Conv`.
        block: part of the network it belongs to.
        weight: name of its weights.
        axis: axis of the weights along which each output channel has a scale of its own.
        activation: name of its other operand.
        macs: multiplications of one run at batch 1.
    """

    node: str
    operator: str
    block: str
    weight: str
    axis: Axis
    activation: str
    macs: int


def products(content: bytes) -> list[Product]:
    """The products of a float32 graph that INT8 may help, in the order they run."""
    graph = parse(content)
    kept = exempt(graph)
    return [product for product in _products(graph) if product.node not in kept]


def exempt_blocks(content: bytes) -> dict[str, str]:
    """Why parts of the network keep their precision, by block; see `placement`."""
    graph = parse(content)
    why = exempt(graph)
    return {p.block: why[p.node] for p in _products(graph) if p.node in why}


def total_macs(content: bytes) -> int:
    """Multiplications of one run at batch 1 of all products, those without weights included."""
    graph = parse(content)
    shapes = _shapes(graph)
    return sum(_macs(graph, node, shapes) for node in graph.nodes)


def _products(graph: Graph) -> list[Product]:
    shapes = _shapes(graph)
    part = blocks(graph)
    return [p for node in graph.nodes if (p := _product(graph, node, shapes, part[node.name]))]


def _product(
    graph: Graph, node: NodeProto, shapes: dict[str, list[int]], block: str
) -> Product | None:
    """What a node is, None where it stays as it is."""
    if node.op_type not in _OPERATORS:
        return None
    constant = [i for i in (0, 1) if node.input[i] in graph.constants]
    if len(constant) != 1 or (node.op_type != "MatMul" and constant != [1]):
        return None
    place = constant[0]
    weight = node.input[place]
    # One set of weights can have one axis only.
    if len(graph.consumers[weight]) != 1:
        return None
    dims = list(graph.constants[weight].dims)
    inner, outer, axis = _sides(node, dims, place)
    if min(inner, outer) < MIN_WIDTH:
        return None
    macs = _macs(graph, node, shapes)
    return Product(node.name, node.op_type, block, weight, axis, node.input[1 - place], macs)


def _sides(node: NodeProto, dims: list[int], place: int) -> tuple[int, int, Axis]:
    """Inner and outer side of a product's weights, and the axis of the outer side."""
    if node.op_type == "Conv":
        return int(np.prod(dims[1:])), dims[0], 0
    if node.op_type == "Gemm":
        turned = any(a.name == "transB" and a.i for a in node.attribute)
        return (dims[1], dims[0], 0) if turned else (dims[0], dims[1], 1)
    if len(dims) < 2:
        return 0, 0, 0
    rank = len(dims)
    # Weights on the left have their output channels in rows.
    return (dims[-1], dims[-2], rank - 2) if place == 0 else (dims[-2], dims[-1], rank - 1)


def _shapes(graph: Graph) -> dict[str, list[int]]:
    """Shapes of all tensors at batch 1, by name."""
    model = onnx.ModelProto.FromString(graph.model.SerializeToString())
    for value in model.graph.input:
        for axis in value.type.tensor_type.shape.dim:
            if not axis.HasField("dim_value"):
                axis.dim_value = 1
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    typed = [*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input]
    found = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in typed}
    return found | {name: list(t.dims) for name, t in graph.constants.items()}


def _macs(graph: Graph, node: NodeProto, shapes: dict[str, list[int]]) -> int:
    if node.op_type not in (*_OPERATORS, "ConvTranspose"):
        return 0
    result = int(np.prod(shapes.get(node.output[0], [0])))
    dims = shapes[node.input[1]]
    if node.op_type == "MatMul":
        return result * shapes[node.input[0]][-1]
    if node.op_type == "Gemm":
        return result * _sides(node, dims, 1)[0]
    if node.op_type == "Conv":
        return result * int(np.prod(dims[1:]))
    return int(np.prod(shapes[node.input[0]])) * int(np.prod(dims[1:]))


def quantise(
    content: bytes,
    chosen: Iterable[Product],
    ranges: TensorsData,
    *,
    cpu: bool = False,
) -> bytes:
    """Put Q/DQ pairs round the operands of the chosen products of a float32 graph.

    Args:
        content: ONNX in float32.
        chosen: of `products`.
        ranges: of the activations, from `activations.collect`.
        cpu: for ONNX Runtime on CPUs without VNNI: weights of 7 bits, whose sums do not saturate,
            and unsigned activations. Otherwise for TensorRT: 8 bits, signed and symmetric.

    Returns:
        ONNX in float32 with Q/DQ nodes; weights are stored as INT8.

    Raises:
        ModelFormatError: the graph did not come out well formed.
    """
    graph = parse(content)
    picked = list(chosen)
    if not picked:
        return finish(graph.model)
    quantizer = QDQQuantizer(
        graph.model,
        per_channel=True,
        reduce_range=cpu,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8 if cpu else QuantType.QInt8,
        tensors_range=ranges,
        nodes_to_quantize=[p.node for p in picked],
        nodes_to_exclude=[],
        op_types_to_quantize=list(_OPERATORS),
        extra_options={
            "ActivationSymmetric": not cpu,
            "WeightSymmetric": True,
            "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": list(_OPERATORS),
            "TensorQuantOverrides": {p.weight: [_scales(graph, p, cpu)] for p in picked},
        },
    )
    model = quantizer.quantize_model()
    _free_others(index(model), {p.node for p in picked})
    return finish(model)


def _free_others(graph: Graph, picked: set[str]) -> None:
    """Let nodes that were not picked take what they share with picked ones as it was.

    ONNX Runtime's tool puts its pair before all that take a tensor.
    """
    for back in [node for node in graph.nodes if node.op_type == "DequantizeLinear"]:
        others = [node for node in graph.after(back) if node.name not in picked]
        for there in graph.before(back):
            take_instead(others, back.output[0], there.input[0])


def for_tensorrt(
    content: bytes, chosen: Iterable[Product], ranges: TensorsData, float32_nodes: Iterable[str]
) -> bytes:
    """The precision `int8`: `quantise`d for TensorRT, and all else typed FP16.

    Args:
        content, chosen, ranges: see `quantise`.
        float32_nodes: that stay in float32, from `fp16.delicate_nodes`. Of these, too, the chosen
            products multiply INT8; what they take and give is float32.

    Raises:
        ModelFormatError: the graph did not come out well formed.
    """
    return fp16.convert(parse(quantise(content, chosen, ranges)).model, float32_nodes)


def _scales(graph: Graph, product: Product, cpu: bool) -> dict[str, int]:
    """How a product's weights are scaled, in the words of ONNX Runtime's tool.

    The tool's own choice for matrix products is the second axis, which for weights on the left
    and for stacks of weights is the one that is summed over.
    """
    dims = graph.constants[product.weight].dims
    if cpu and product.operator == "MatMul" and (len(dims) > 2 or product.axis == 0):
        # ONNX Runtime's CPU kernels refuse scales for each channel there, when they run.
        return {}
    return {"axis": product.axis}


def activation_names(chosen: Iterable[Product]) -> Iterator[str]:
    """Tensors whose ranges the chosen products need, each once."""
    yield from dict.fromkeys(p.activation for p in chosen)
